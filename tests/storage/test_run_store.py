"""Checkpoints of runs: the newest whole one is read, whatever happened to it or to the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import Checkpoint, RunStore
from support.checkpoints import MODEL, flip_bit, model_files

RUN = "train-abc123"
BEST = run_pb2.CHECKPOINT_KIND_BEST
LATEST = run_pb2.CHECKPOINT_KIND_LATEST
FINAL = run_pb2.CHECKPOINT_KIND_FINAL


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def write(
    store: RunStore, placements: int, kind: run_pb2.CheckpointKind.ValueType = BEST
) -> run_pb2.CheckpointInfo:
    return store.write(
        RUN, kind, model=MODEL, files=model_files(float(placements)), placements=placements
    )


def versions(store: RunStore, kind: str = "best") -> list[Path]:
    return sorted((store.folder(RUN) / kind).iterdir())


def test_what_was_written_is_read_with_where_it_came_from(store: RunStore) -> None:
    evaluation = run_pb2.Evaluation(games=20, mean_lines=1234.5)
    info = store.write(
        RUN,
        LATEST,
        model=MODEL,
        files=model_files(),
        placements=77,
        evaluation=evaluation,
        command="mltetris train",
    )
    checkpoint = store.read(RUN, LATEST)
    assert dict(checkpoint.files) == model_files()
    assert checkpoint.manifest.source == run_pb2.RunCheckpoint(run=RUN, kind=LATEST)
    assert checkpoint.manifest.command == "mltetris train"
    assert (info.kind, info.placements, info.evaluation) == (LATEST, 77, evaluation)
    folder = versions(store, "latest")[0]
    parts = [folder / name for name in ("manifest.json", *model_files())]
    assert info.size_bytes == sum(path.stat().st_size for path in parts)
    assert store.info(RUN) == [info]


def test_each_kind_is_kept_apart_and_best_is_meant_where_none_is_named(store: RunStore) -> None:
    for placements, kind in ((1, BEST), (2, LATEST), (3, FINAL)):
        write(store, placements, kind)
    assert [info.placements for info in store.info(RUN)] == [1, 2, 3]
    assert store.read(RUN, run_pb2.CHECKPOINT_KIND_UNSPECIFIED).manifest.placements == 1
    assert store.read(RUN, FINAL).manifest.placements == 3


def test_the_newest_is_read_and_only_the_one_before_it_kept(store: RunStore) -> None:
    for placements in range(1, 13):
        write(store, placements)
    assert store.read(RUN, BEST).manifest.placements == 12
    assert [path.name for path in versions(store)] == ["000011", "000012"]
    assert [info.placements for info in store.info(RUN)] == [12]


@pytest.mark.parametrize("name", ["manifest.json", "policy.safetensors", "training.safetensors"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "emptied"])
def test_a_damaged_one_is_refused_and_the_one_before_it_used(
    store: RunStore, name: str, damage: str
) -> None:
    write(store, 1)
    write(store, 2)
    older, newer = versions(store)
    ruin(newer / name, damage)
    assert store.read(RUN, BEST).manifest.placements == 1
    ruin(older / "policy.safetensors", "flipped")
    if damage == "missing" and name == "manifest.json":
        # Then it never was whole; the older one is the only one there is.
        newer = older
        name = "policy.safetensors"
    with pytest.raises(errors.DataLoss) as caught:
        store.read(RUN, BEST)
    assert f"runs/{newer.parent.parent.name}/best/{newer.name}/{name}" in caught.value.message
    # What comes next is whole again.
    write(store, 3)
    assert store.read(RUN, BEST).manifest.placements == 3


def ruin(path: Path, damage: str) -> None:
    if damage == "flipped":
        flip_bit(path)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        path.unlink()


@pytest.mark.parametrize("name", ["policy.safetensors", "manifest.json"])
def test_a_flipped_bit_anywhere_is_noticed(store: RunStore, name: str) -> None:
    write(store, 1)
    path = versions(store)[0] / name
    whole = path.read_bytes()
    for position in range(len(whole)):
        flip_bit(path, position)
        with pytest.raises(errors.DataLoss):
            store.read(RUN, BEST)
        path.write_bytes(whole)
    assert store.read(RUN, BEST).manifest.placements == 1


def test_a_full_disk_at_any_point_leaves_the_one_before(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, 1)
    really = os.fsync
    for allowed in range(20):
        left = allowed

        def full(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            really(descriptor)

        monkeypatch.setattr(os, "fsync", full)
        try:
            write(store, 2 + allowed)
        except errors.Unavailable as error:
            assert "free some space" in error.message
        else:
            break
        finally:
            monkeypatch.undo()
        assert store.read(RUN, BEST).manifest.placements <= 1 + allowed
    assert allowed >= 4, "the test filled the disk at no point"
    assert store.read(RUN, BEST).manifest.placements == 2 + allowed


def test_nothing_there_is_not_found(store: RunStore) -> None:
    with pytest.raises(errors.NotFound, match="no best checkpoint"):
        store.read(RUN, BEST)
    write(store, 1)
    with pytest.raises(errors.NotFound, match="no final checkpoint"):
        store.read(RUN, FINAL)
    assert store.info("train-other") == []


def test_an_unfinished_version_counts_for_nothing_and_is_cleaned(store: RunStore) -> None:
    write(store, 1)
    unfinished = store.folder(RUN) / "best" / "000002"
    unfinished.mkdir()
    (unfinished / "policy.safetensors").write_bytes(b"half")
    assert store.read(RUN, BEST).manifest.placements == 1
    assert len(store.info(RUN)) == 1
    store.recover([RUN, "train-never"])
    assert [path.name for path in versions(store)] == ["000001"]
    write(store, 2)
    assert store.read(RUN, BEST).manifest.placements == 2


def test_what_is_not_acceptable_changes_nothing(store: RunStore) -> None:
    write(store, 1)
    with pytest.raises(errors.InvalidArgument):
        store.write(RUN, BEST, model=MODEL, files={"policy.safetensors": b"x"}, placements=2)
    with pytest.raises(errors.InvalidArgument):
        store.write("../x", BEST, model=MODEL, files=model_files(), placements=2)
    assert store.read(RUN, BEST).manifest.placements == 1
    assert len(versions(store)) == 1


def test_a_deleted_run_leaves_nothing(store: RunStore, tmp_path: Path) -> None:
    write(store, 1)
    store.log_path(RUN).write_text("log")
    store.delete(RUN)
    store.delete(RUN)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_deletion_that_was_cut_short_is_finished_on_opening(
    store: RunStore, tmp_path: Path
) -> None:
    (tmp_path / "runs" / ".tmp-0123").mkdir()
    RunStore(tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_weights_alone_are_a_checkpoint_of_their_own(store: RunStore) -> None:
    write(store, 1)
    whole = store.read(RUN, BEST)
    light = whole.weights_only()
    assert list(light.files) == ["policy.safetensors"]
    assert not light.manifest.resumable
    assert light.sha256 != whole.sha256
    assert light.weights_only() is light
    assert isinstance(light, Checkpoint)
    assert light.manifest.create_time == whole.manifest.create_time
