"""Slots that come with the program: read like all others, never written, hidden by one's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import SlotStore, checkpoints, slot_listing
from mltetris_server.storage.slots import REFERENCES
from support.checkpoints import a_checkpoint, flip_bit

NAMES = ["bcts", "dellacherie", "dt10", "random"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "slots"


@pytest.fixture
def store(root: Path) -> SlotStore:
    return SlotStore(root, REFERENCES)


def old_slot(root: Path, name: str, placements: int = 7) -> None:
    """A slot as an older version left it in the data directory."""
    SlotStore(root).save(name, a_checkpoint(placements), notes="mine")


def test_they_stand_among_the_others(store: SlotStore) -> None:
    store.save("better", a_checkpoint(1, mean_lines=9000))
    store.save("worse", a_checkpoint(2, mean_lines=10))
    assert store.names() == sorted([*NAMES, "better", "worse"])
    listed = store.list_slots()
    assert listed[0].name == "better"
    assert [slot.name for slot in listed][-2:] == ["worse", "random"]
    assert {slot.name for slot in listed if slot.reference} == set(NAMES)
    for name in NAMES:
        slot = store.get(name)
        assert slot in listed
        assert slot.algorithm == run_pb2.ALGORITHM_UNSPECIFIED
        assert (slot.placements, slot.resumable, slot.source_run) == (0, False, "")
        assert slot.evaluation.games == 100


@pytest.mark.parametrize("order", ["score", "name", "create_time"])
def test_pages_join_to_the_whole_list(store: SlotStore, order: str) -> None:
    for number in range(3):
        store.save(f"s{number}", a_checkpoint(number, mean_lines=number * 2400))
    whole = [slot.name for slot in store.list_slots(order)]
    seen: list[str] = []
    token = ""
    while True:
        page, token = slot_listing.page(store.list_slots(), order, 2, token)
        seen += [slot.name for slot in page]
        if not token:
            break
    assert seen == whole
    assert len(seen) == len(NAMES) + 3


def test_they_are_read_copied_and_bundled_like_all_others(store: SlotStore) -> None:
    checkpoint = store.read("dt10")
    copy = store.save("mine", checkpoint, source_slot="dt10")
    assert copy.sha256 == store.get("dt10").sha256 == checkpoint.sha256
    assert (copy.reference, copy.source_slot) == (False, "dt10")
    again = store.from_bundle("again", store.to_bundle("dt10"))
    assert (again.sha256, again.reference) == (copy.sha256, False)
    store.delete("mine")
    assert store.get("dt10").reference


def test_one_may_be_active(store: SlotStore, root: Path) -> None:
    assert store.active() is None
    assert store.activate("random").active
    again = SlotStore(root, REFERENCES)
    assert again.active() == "random"
    assert [slot.name for slot in again.list_slots() if slot.active] == ["random"]
    # A program without them knows no such slot, and says so by having none.
    assert SlotStore(root).active() is None


def test_nothing_changes_them(store: SlotStore, root: Path) -> None:
    store.save("mine", a_checkpoint())
    bundle = store.to_bundle("mine")
    before = sorted(root.rglob("*"))
    for attempt in (
        lambda: store.update("bcts", notes="x"),
        lambda: store.update("bcts", tags=["x"]),
        lambda: store.update("bcts", new_name="other"),
        lambda: store.delete("bcts"),
        lambda: store.delete("bcts", force=True),
    ):
        with pytest.raises(errors.WrongState, match="bcts is a reference player"):
            attempt()
    for name in ("bcts", "BCTS"):
        for attempt in (
            lambda name=name: store.save(name, a_checkpoint()),
            lambda name=name: store.save(name, a_checkpoint(), overwrite=True),
            lambda name=name: store.from_bundle(name, bundle, overwrite=True),
            lambda name=name: store.update("mine", new_name=name),
        ):
            with pytest.raises(errors.AlreadyExists, match="bcts is a reference player"):
                attempt()
    assert sorted(root.rglob("*")) == before


def test_a_slot_of_that_name_that_is_there_already_wins(root: Path) -> None:
    old_slot(root, "bcts")
    SlotStore(root).activate("bcts")
    store = SlotStore(root, REFERENCES)
    assert store.active() == "bcts"
    assert store.names().count("bcts") == 1
    slot = store.get("bcts")
    assert (slot.reference, slot.placements, slot.notes) == (False, 7, "mine")
    assert slot in store.list_slots()
    assert store.read("bcts").manifest.placements == 7
    assert store.save("bcts", a_checkpoint(8), overwrite=True).placements == 8
    with pytest.raises(errors.AlreadyExists):
        store.save("bcts", a_checkpoint(9))
    assert store.update("bcts", notes="still mine").notes == "still mine"

    assert store.update("bcts", new_name="kept").active
    assert store.active() == "kept"
    assert store.get("bcts").reference
    with pytest.raises(errors.AlreadyExists, match="reference"):
        store.update("kept", new_name="bcts")


def test_a_slot_that_hides_one_may_be_deleted(root: Path) -> None:
    old_slot(root, "random")
    store = SlotStore(root, REFERENCES)
    store.activate("random")
    store.delete("random", force=True)
    assert store.active() is None, "the reference player was not asked for"
    assert store.get("random").reference


def test_a_damaged_slot_that_hides_one_is_not_taken_for_it(root: Path) -> None:
    old_slot(root, "bcts")
    flip_bit(root / "bcts" / "manifest.json")
    store = SlotStore(root, REFERENCES)
    with pytest.raises(errors.DataLoss):
        store.get("bcts")
    assert "bcts" not in {slot.name for slot in store.list_slots()}
    store.delete("bcts")
    assert store.get("bcts").reference


def test_damage_to_the_program_itself_is_found(root: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copytree(REFERENCES, program)
    flip_bit(program / "dt10" / "policy.safetensors")
    store = SlotStore(root, program)
    with pytest.raises(errors.DataLoss, match=r"policy\.safetensors"):
        store.read("dt10")
    assert store.get("bcts").reference


@pytest.mark.parametrize("name", NAMES)
def test_their_documents_are_as_storage_writes_them(name: str, tmp_path: Path) -> None:
    folder = REFERENCES / name
    checkpoint = checkpoints.read(folder)
    assert checkpoint.manifest.to_bytes() == checkpoint.manifest_bytes
    checkpoints.write(tmp_path, checkpoint)
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (folder / file.name).read_bytes()
    assert {path.name for path in folder.iterdir()} == {
        "slot.json",
        *(path.name for path in tmp_path.iterdir()),
    }
