"""Slots: kept, named, ordered, changed, and never half there."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import SlotStore, durable, slot_listing
from support.checkpoints import ILLEGAL_SLOT_NAMES, a_checkpoint, flip_bit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "slots"


@pytest.fixture
def store(root: Path) -> SlotStore:
    return SlotStore(root)


def test_a_saved_slot_says_everything_of_its_model(store: SlotStore, root: Path) -> None:
    checkpoint = a_checkpoint(5000, mean_lines=77.5)
    saved = store.save("best-1", checkpoint, notes="hello\nworld", tags=["fast", "10x20"])
    assert saved == store.get("best-1") == store.list_slots()[0]
    assert (saved.name, saved.active, saved.notes) == ("best-1", False, "hello\nworld")
    assert list(saved.tags) == ["fast", "10x20"]
    assert saved.algorithm == run_pb2.ALGORITHM_TD
    assert saved.features == run_pb2.FEATURE_SET_BCTS
    assert (saved.game.width, saved.game.height) == (10, 20)
    assert (saved.placements, saved.evaluation.mean_lines) == (5000, 77.5)
    assert saved.source_run == "train-abc123"
    assert saved.source_checkpoint == run_pb2.CHECKPOINT_KIND_BEST
    assert saved.source_slot == ""
    assert saved.command == "mltetris train --seed 1"
    assert saved.sha256 == checkpoint.sha256
    assert saved.resumable
    weights = sum(path.stat().st_size for path in (root / "best-1").glob("*.safetensors"))
    assert saved.size_bytes == weights + (root / "best-1" / "manifest.json").stat().st_size
    assert saved.create_time == saved.update_time
    read = store.read("best-1")
    assert dict(read.files) == dict(checkpoint.files)
    assert read.manifest_bytes == checkpoint.manifest_bytes


def test_slots_survive_a_restart(store: SlotStore, root: Path) -> None:
    saved = store.save("one", a_checkpoint(), notes="n")
    store.activate("one")
    again = SlotStore(root)
    saved.active = True
    assert again.get("one") == saved
    assert again.active() == "one"


def test_a_taken_name_is_refused_unless_it_may_be_overwritten(store: SlotStore) -> None:
    store.save("one", a_checkpoint(1), notes="old")
    with pytest.raises(errors.AlreadyExists, match="one"):
        store.save("one", a_checkpoint(2))
    assert store.get("one").placements == 1
    replaced = store.save("one", a_checkpoint(2), overwrite=True)
    assert (replaced.placements, replaced.notes) == (2, "")
    assert store.names() == ["one"]


def test_a_name_that_differs_in_case_only_is_refused(store: SlotStore) -> None:
    store.save("one", a_checkpoint())
    store.save("two", a_checkpoint())
    for attempt in (
        lambda: store.save("ONE", a_checkpoint(2)),
        lambda: store.save("ONE", a_checkpoint(2), overwrite=True),
        lambda: store.update("two", new_name="One"),
        lambda: store.from_bundle("oNe", store.to_bundle("two")),
    ):
        with pytest.raises(errors.AlreadyExists, match="one"):
            attempt()
    with pytest.raises(errors.NotFound):
        store.get("ONE")
    assert store.names() == ["one", "two"]
    # Its own name in another case is a change like any other.
    assert store.update("one", new_name="One").name == "One"
    assert store.names() == ["One", "two"]


@pytest.mark.parametrize("name", ILLEGAL_SLOT_NAMES)
def test_an_illegal_name_is_refused_everywhere_and_changes_nothing(
    store: SlotStore, root: Path, name: str
) -> None:
    store.save("one", a_checkpoint())
    before = sorted(root.rglob("*"))
    for attempt in (
        lambda: store.save(name, a_checkpoint()),
        lambda: store.get(name),
        lambda: store.read(name),
        lambda: store.update(name, notes="x"),
        lambda: store.update("one", new_name=name),
        lambda: store.delete(name, force=True),
        lambda: store.activate(name),
        lambda: store.to_bundle(name),
        lambda: store.from_bundle(name, store.to_bundle("one")),
    ):
        with pytest.raises(errors.InvalidArgument):
            attempt()
    assert sorted(root.rglob("*")) == before


def test_an_unknown_slot_is_not_found_everywhere(store: SlotStore) -> None:
    for attempt in (
        lambda: store.get("none"),
        lambda: store.read("none"),
        lambda: store.update("none", notes="x"),
        lambda: store.delete("none"),
        lambda: store.activate("none"),
        lambda: store.to_bundle("none"),
    ):
        with pytest.raises(errors.NotFound, match="none"):
            attempt()


def test_the_leaderboard_is_ordered_by_score(store: SlotStore) -> None:
    store.save("b", a_checkpoint(1, mean_lines=10))
    store.save("never", a_checkpoint(2, mean_lines=None))
    store.save("a", a_checkpoint(3, mean_lines=10))
    store.save("zero", a_checkpoint(4, mean_lines=0))
    store.save("top", a_checkpoint(5, mean_lines=5000))
    score = [slot.name for slot in store.list_slots()]
    assert score == ["top", "a", "b", "zero", "never"]
    assert [slot.name for slot in store.list_slots("name")] == sorted(score)
    newest = [slot.name for slot in store.list_slots("create_time")]
    assert newest == ["top", "zero", "a", "never", "b"]
    with pytest.raises(errors.InvalidArgument):
        store.list_slots("age")


@pytest.mark.parametrize("order", ["", "score", "name", "create_time"])
def test_pages_join_to_the_whole_list_also_while_it_changes(store: SlotStore, order: str) -> None:
    for number in range(7):
        store.save(f"s{number}", a_checkpoint(number, mean_lines=number % 3))
    whole = [slot.name for slot in store.list_slots(order)]
    seen: list[str] = []
    token = ""
    while True:
        page, token = slot_listing.page(store.list_slots(), order, 2, token)
        seen += [slot.name for slot in page]
        if not token:
            break
        assert len(token) <= 200
        if len(seen) == 4:
            store.delete(seen[0])
    assert seen == whole


@pytest.mark.parametrize("token", ["x", "!!!", "AAAA", "W10", "WyJuYW1lIixbMCwieCJdXQ", "é"])
def test_a_token_of_something_else_is_refused(store: SlotStore, token: str) -> None:
    store.save("one", a_checkpoint())
    with pytest.raises(errors.InvalidArgument) as caught:
        slot_listing.page(store.list_slots(), "score", 1, token)
    assert caught.value.fields[0].field == "page_token"


def test_notes_tags_and_name_change_and_the_model_does_not(store: SlotStore) -> None:
    saved = store.save("one", a_checkpoint(), notes="old", tags=["t"])
    changed = store.update("one", notes="new")
    assert (changed.notes, list(changed.tags)) == ("new", ["t"])
    assert changed.update_time.ToNanoseconds() > saved.update_time.ToNanoseconds()
    assert changed.create_time == saved.create_time
    changed = store.update("one", new_name="two", tags=[])
    assert (changed.name, changed.notes, list(changed.tags)) == ("two", "new", [])
    assert changed.sha256 == saved.sha256
    assert store.names() == ["two"]


def test_a_taken_new_name_is_refused_and_nothing_changes(store: SlotStore) -> None:
    store.save("one", a_checkpoint(1))
    store.save("two", a_checkpoint(2))
    with pytest.raises(errors.AlreadyExists):
        store.update("one", new_name="two", notes="changed")
    assert store.get("one").notes == ""
    assert store.get("two").placements == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("notes", "x" * 4001),
        ("notes", "\x1b[31m"),
        ("notes", "\ud800"),
        ("tags", ["a", "a"]),
        ("tags", [""]),
        ("tags", ["x" * 33]),
        ("tags", ["a\nb"]),
        ("tags", [str(number) for number in range(17)]),
    ],
)
def test_notes_and_tags_out_of_range_are_refused(
    store: SlotStore, field: str, value: object
) -> None:
    store.save("one", a_checkpoint())
    with pytest.raises(errors.InvalidArgument) as caught:
        store.update("one", **{field: value})  # type: ignore[arg-type]
    assert caught.value.fields[0].field.startswith(field)
    with pytest.raises(errors.InvalidArgument):
        store.save("two", a_checkpoint(), **{field: value})  # type: ignore[arg-type]
    assert store.names() == ["one"]


def test_the_starter_is_active_until_another_is_activated(store: SlotStore) -> None:
    assert store.active() is None
    store.save("one", a_checkpoint())
    assert store.active() is None
    store.save("starter", a_checkpoint())
    assert store.active() == "starter"
    assert store.get("starter").active
    assert store.activate("one").active
    assert not store.get("starter").active
    assert [slot.name for slot in store.list_slots() if slot.active] == ["one"]


def test_the_active_slot_stays_active_under_its_new_name(store: SlotStore) -> None:
    store.save("starter", a_checkpoint())
    assert store.update("starter", new_name="renamed").active
    assert store.active() == "renamed"
    store.save("starter", a_checkpoint())
    assert store.active() == "renamed"


def test_the_active_slot_is_deleted_only_with_force(store: SlotStore) -> None:
    store.save("starter", a_checkpoint())
    store.save("one", a_checkpoint())
    store.activate("one")
    with pytest.raises(errors.WrongState, match="active"):
        store.delete("one")
    assert store.active() == "one"
    store.delete("one", force=True)
    assert store.active() == "starter"
    assert not store.save("one", a_checkpoint()).active, "another slot of that name is another slot"
    with pytest.raises(errors.WrongState):
        store.delete("starter")
    store.delete("starter", force=True)
    assert store.active() is None
    assert store.names() == ["one"]


@pytest.mark.parametrize(
    ("candidates", "active"),
    [(["two", "one"], "two"), (["gone", "one"], "one"), (["gone"], "starter"), ([], "starter")],
)
def test_the_pointer_is_settled_on_opening(
    store: SlotStore, root: Path, candidates: list[str], active: str
) -> None:
    for name in ("one", "two", "starter"):
        store.save(name, a_checkpoint())
    (root / "active.json").write_text(json.dumps({"active": candidates}))
    assert store.active() == active
    again = SlotStore(root)
    assert again.active() == active
    again.save("gone", a_checkpoint())
    assert again.active() == active


def test_a_damaged_pointer_is_said_and_mended_by_activating(store: SlotStore, root: Path) -> None:
    store.save("one", a_checkpoint())
    for damage in (b"", b"[]", b'{"active": [1]}', b"\xff"):
        (root / "active.json").write_bytes(damage)
        with pytest.raises(errors.DataLoss, match=r"active\.json"):
            store.active()
        # All else goes on.
        assert [(slot.name, slot.active) for slot in store.list_slots()] == [("one", False)]
        assert store.known_active() is None
        store.activate("one")
        assert store.active() == "one"


@pytest.mark.parametrize(
    "name", ["manifest.json", "manifest.sha256", "policy.safetensors", "training.safetensors"]
)
def test_a_damaged_slot_is_refused_by_name_and_can_be_replaced(
    store: SlotStore, root: Path, name: str
) -> None:
    store.save("good", a_checkpoint())
    store.save("bad", a_checkpoint())
    path = root / "bad" / name
    path.write_bytes(path.read_bytes()[3:])
    for attempt in (
        lambda: store.get("bad"),
        lambda: store.read("bad"),
        lambda: store.to_bundle("bad"),
        lambda: store.activate("bad"),
    ):
        with pytest.raises(errors.DataLoss) as caught:
            attempt()
        assert name in caught.value.message
        assert "slots/bad/" in caught.value.message
        assert str(root) not in caught.value.message
    assert [slot.name for slot in store.list_slots()] == ["good"]
    assert store.names() == ["bad", "good"]
    with pytest.raises(errors.AlreadyExists):
        store.save("bad", a_checkpoint())
    store.save("bad", a_checkpoint(), overwrite=True)
    assert store.get("bad").name == "bad"


@pytest.mark.parametrize("name", ["manifest.json", "policy.safetensors", "training.safetensors"])
def test_a_flipped_bit_is_found_when_the_slot_is_asked_for(
    store: SlotStore, root: Path, name: str
) -> None:
    store.save("one", a_checkpoint())
    flip_bit(root / "one" / name)
    with pytest.raises(errors.DataLoss, match="SHA-256"):
        store.get("one")
    store.delete("one")
    assert store.names() == []


def test_a_damaged_record_is_named_and_the_model_still_loads(store: SlotStore, root: Path) -> None:
    store.save("one", a_checkpoint(), notes="n")
    path = root / "one" / "slot.json"
    record = json.loads(path.read_bytes())
    for damage in (
        b"{}",
        b"\0",
        json.dumps(record | {"notes": 1}).encode(),
        json.dumps(record | {"tags": "abc"}).encode(),
        json.dumps(record | {"source_slot": "../x"}).encode(),
        json.dumps(record | {"imported": 1}).encode(),
        json.dumps(record | {"extra": 1}).encode(),
        json.dumps(record | {"update_time": ""}).encode(),
    ):
        path.write_bytes(damage)
        with pytest.raises(errors.DataLoss, match=r"slot\.json is damaged"):
            store.get("one")
        assert store.read("one").manifest.placements == 1000
    path.unlink()
    assert store.get("one").notes == ""


def test_a_slot_put_there_by_hand_is_a_slot(store: SlotStore, root: Path) -> None:
    store.save("one", a_checkpoint())
    shutil.copytree(root / "one", root / "copied")
    (root / "copied" / "slot.json").unlink()
    (root / "no slot.txt").write_text("x")
    (root / "not a slot").mkdir()
    copied = store.get("copied")
    assert copied.sha256 == store.get("one").sha256
    assert copied.create_time == copied.update_time
    assert store.names() == ["copied", "one"]


def test_copies_and_imports_keep_the_fingerprint(store: SlotStore, tmp_path: Path) -> None:
    saved = store.save("one", a_checkpoint())
    copy = store.save("copy", store.read("one"), source_slot="one")
    assert (copy.sha256, copy.source_slot, copy.source_run) == (saved.sha256, "one", "train-abc123")
    elsewhere = SlotStore(tmp_path / "elsewhere")
    imported = elsewhere.from_bundle("there", store.to_bundle("copy"))
    assert imported.sha256 == saved.sha256
    assert imported.resumable
    assert elsewhere.to_bundle("there") == store.to_bundle("one")


def test_a_bundle_of_weights_only_is_smaller_and_a_slot(store: SlotStore) -> None:
    store.save("one", a_checkpoint())
    light = store.to_bundle("one", weights_only=True)
    assert len(light) < len(store.to_bundle("one"))
    assert light == store.to_bundle("one", weights_only=True)
    imported = store.from_bundle("light", light)
    assert not imported.resumable
    assert (imported.placements, imported.evaluation.mean_lines) == (1000, 12.5)
    assert imported.sha256 != store.get("one").sha256


def test_a_bad_bundle_leaves_the_slot_that_was_there(store: SlotStore, root: Path) -> None:
    store.save("one", a_checkpoint(1), notes="kept")
    bundle = bytearray(store.to_bundle("one"))
    bundle[len(bundle) // 2] ^= 1
    with pytest.raises(errors.DataLoss):
        store.from_bundle("one", bytes(bundle), overwrite=True)
    with pytest.raises(errors.DataLoss):
        store.from_bundle("two", bytes(bundle[:-40]))
    assert store.get("one").notes == "kept"
    assert [path.name for path in root.iterdir()] == ["one"]


@pytest.mark.parametrize("allowed", range(4))
def test_a_refused_rename_leaves_the_old_slot(
    store: SlotStore, root: Path, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    """Overwriting is two renames (and one for the manifest); each of them may be refused."""
    store.save("one", a_checkpoint(1))
    really = durable._patiently
    left = allowed

    def refuse(action: object) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise PermissionError(errno.EACCES, "in use")
        really(action)  # type: ignore[arg-type]

    monkeypatch.setattr(durable, "_patiently", refuse)
    refused = allowed < 3  # the last rename only puts the old one out of sight
    if refused:
        with pytest.raises(errors.Unavailable):
            store.save("one", a_checkpoint(2), overwrite=True)
    else:
        store.save("one", a_checkpoint(2), overwrite=True)
    monkeypatch.undo()
    assert store.get("one").placements == (1 if refused else 2)
    assert SlotStore(root).get("one").placements == (1 if refused else 2)
    assert [path.name for path in root.iterdir()] == ["one"]


def test_an_interrupted_overwrite_is_taken_back_on_opening(store: SlotStore, root: Path) -> None:
    store.save("one", a_checkpoint(1))
    (root / "one").rename(root / ".old-one")
    assert SlotStore(root).get("one").placements == 1
    assert [path.name for path in root.iterdir()] == ["one"]


@pytest.mark.parametrize("removal", ["delete", "rename"])
def test_what_is_aside_does_not_come_back_in_the_place_of_a_slot_that_left(
    store: SlotStore, root: Path, removal: str
) -> None:
    store.save("one", a_checkpoint(1))
    shutil.copytree(root / "one", root / ".old-one")
    if removal == "delete":
        store.delete("one")
    else:
        store.update("one", new_name="two")
    assert "one" not in SlotStore(root).names()


def test_a_finished_overwrite_is_tidied_up_on_opening(store: SlotStore, root: Path) -> None:
    store.save("one", a_checkpoint(1))
    shutil.copytree(root / "one", root / ".old-one")
    (root / ".tmp-0123").mkdir()
    store.save("one", a_checkpoint(2), overwrite=True)
    shutil.copytree(root / "one", root / ".old-one")
    assert SlotStore(root).get("one").placements == 2
    assert [path.name for path in root.iterdir()] == ["one"]
