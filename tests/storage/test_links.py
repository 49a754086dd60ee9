"""Links in a data directory: none is followed; nothing outside is read, changed or removed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import RunStore, SlotStore, spool
from support.checkpoints import MODEL, a_checkpoint, model_files

RUN = "train-abc123"
BEST = run_pb2.CHECKPOINT_KIND_BEST
LATEST = run_pb2.CHECKPOINT_KIND_LATEST

pytestmark = pytest.mark.skipif(os.name != "posix", reason="makes links and pipes")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a whole slot and something unfinished, out of the data directory."""
    folder = tmp_path / "elsewhere"
    SlotStore(tmp_path / "others").save("good", a_checkpoint(5))
    shutil.copytree(tmp_path / "others" / "good", folder)
    (folder / ".tmp-precious").write_bytes(b"precious")
    return folder


def test_a_slot_that_is_a_link_is_refused_and_only_the_link_goes(
    tmp_path: Path, outside: Path
) -> None:
    before = contents(outside)
    root = tmp_path / "slots"
    SlotStore(root).save("good", a_checkpoint(1))
    (root / "bad").symlink_to(outside, target_is_directory=True)
    store = SlotStore(root)
    for attempt in (
        lambda: store.read("bad"),
        lambda: store.get("bad"),
        lambda: store.activate("bad"),
        lambda: store.to_bundle("bad"),
        lambda: store.update("bad", notes="n"),
        lambda: store.update("bad", new_name="other"),
    ):
        with pytest.raises(errors.DataLoss, match="slots/bad is a symbolic link"):
            attempt()
    assert [slot.name for slot in store.list_slots()] == ["good"]
    store.save("bad", a_checkpoint(2), overwrite=True)
    assert store.get("bad").placements == 2
    store.delete("bad")
    for gone in (outside, tmp_path / "nowhere"):
        (root / "bad").symlink_to(gone, target_is_directory=True)
        store.delete("bad")
        assert store.names() == ["good"]
    assert contents(outside) == before


@pytest.mark.parametrize(
    "name", ["manifest.json", "manifest.sha256", "policy.safetensors", "slot.json"]
)
def test_a_file_of_a_slot_that_is_a_link_or_a_pipe_is_refused(
    tmp_path: Path, outside: Path, name: str
) -> None:
    root = tmp_path / "slots"
    store = SlotStore(root)
    store.save("one", a_checkpoint(5))
    path = root / "one" / name
    target = tmp_path / "target"
    path.rename(target)
    path.symlink_to(target)  # the very same bytes, but not here
    with pytest.raises(errors.DataLoss, match=rf"slots/one/{name} is (a symbolic link|damaged)"):
        store.get("one")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(errors.DataLoss, match=f"slots/one/{name}"):
        store.get("one")
    store.save("one", a_checkpoint(6), overwrite=True)
    assert target.exists()


def test_a_pointer_that_is_a_link_is_refused_and_replaced(tmp_path: Path) -> None:
    root = tmp_path / "slots"
    store = SlotStore(root)
    store.save("one", a_checkpoint(5))
    target = tmp_path / "target.json"
    target.write_text('{"active": ["one"]}')
    (root / "active.json").symlink_to(target)
    with pytest.raises(errors.DataLoss, match=r"slots/active\.json"):
        store.active()
    store.activate("one")
    assert store.active() == "one"
    assert target.read_text() == '{"active": ["one"]}'
    assert not (root / "active.json").is_symlink()


def write(store: RunStore, placements: int, kind: run_pb2.CheckpointKind.ValueType = BEST) -> None:
    store.write(RUN, kind, model=MODEL, files=model_files(placements), placements=placements)


def test_a_version_that_is_a_link_is_passed_over(tmp_path: Path, outside: Path) -> None:
    before = contents(outside)
    store = RunStore(tmp_path / "runs")
    write(store, 1)
    (tmp_path / "runs" / RUN / "best" / "000002").symlink_to(outside, target_is_directory=True)
    assert store.read(RUN, BEST).manifest.placements == 1
    for placements in (3, 4, 5):
        write(store, placements)
    assert store.read(RUN, BEST).manifest.placements == 5
    store.delete(RUN)
    assert contents(outside) == before


@pytest.mark.parametrize("where", ["", "best"])
def test_a_run_or_a_kind_that_is_a_link_is_refused(
    tmp_path: Path, outside: Path, where: str
) -> None:
    store = RunStore(tmp_path / "runs")
    write(store, 1)
    write(store, 1, LATEST)
    place = tmp_path / "runs" / RUN / where
    moved = outside / "moved"
    place.rename(moved)
    (moved / "000000").mkdir() if where else None  # unfinished: it would be tidied up
    place.symlink_to(moved, target_is_directory=True)
    before = sorted(moved.rglob("*"))
    for attempt in (lambda: store.read(RUN, BEST), lambda: write(store, 2)):
        with pytest.raises(errors.DataLoss, match=r"runs/train-abc123(/best)? is a symbolic link"):
            attempt()
    if where:
        assert store.read(RUN, LATEST).manifest.placements == 1
        assert [info.kind for info in store.info(RUN)] == [LATEST]
    store.recover([RUN])
    store.delete(RUN)
    assert not place.is_symlink()
    assert sorted(moved.rglob("*")) == before


def test_a_spool_that_is_a_link_is_not_taken_in(tmp_path: Path, outside: Path) -> None:
    before = contents(outside)
    store = RunStore(tmp_path / "runs")
    write(store, 1)
    folder = tmp_path / "runs" / RUN / spool.FOLDER
    folder.symlink_to(outside, target_is_directory=True)
    assert store.take_spooled(RUN, command="") is None
    assert not folder.is_symlink()
    folder.mkdir()
    (folder / spool.FILE_NAME).symlink_to(outside / "manifest.json")
    assert store.take_spooled(RUN, command="") is None
    assert contents(outside) == before
