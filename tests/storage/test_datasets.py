"""Datasets on disk: whole or absent, checked, listed, and safe from links and damage."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from mltetris_server import errors
from mltetris_server.storage import DatasetStore, dataset_record, dataset_writer
from mltetris_server.storage.datasets import read_checked
from support.checkpoints import ILLEGAL_SLOT_NAMES, flip_bit
from support.datasets import RUN, dataset_files, header_of, read_dataset, store_dataset
from support.small_disk import fill, small_disk

FILES = [
    "dataset.json",
    "dataset.sha256",
    "data/metadata.json",
    "data/main_data.hdf5",
    "trajectories.safetensors",
]


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "datasets")


def test_what_was_stored_is_there_to_the_last_byte(tmp_path: Path, store: DatasetStore) -> None:
    stored = store_dataset(store, "one", seed=3)
    for opened in (store, DatasetStore(tmp_path / "datasets")):
        found, sha256 = opened.read("one")
        assert found == stored
        assert read_dataset(opened, "one") == dataset_files(3)
    assert (stored.name, stored.minari_id, stored.run) == ("one", "mltetris/one-v0", RUN)
    assert stored.size_bytes == sum(map(len, dataset_files(3).values()))
    assert stored.create_time.seconds
    folder = tmp_path / "datasets" / "one"
    assert sha256 == hashlib.sha256((folder / "dataset.json").read_bytes()).hexdigest()
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == sorted(
        FILES
    )
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == ["one"]


def test_a_dataset_that_is_not_sent_to_its_end_leaves_nothing(
    tmp_path: Path, store: DatasetStore
) -> None:
    files = dataset_files()
    writer = store.receive("one", header_of(files), RUN)
    writer.write(b"".join(files.values())[:-1])
    assert store.names() == []
    with pytest.raises(errors.InvalidArgument, match="chunk: 1 bytes"):
        store.put(writer)
    writer.discard()
    assert list((tmp_path / "datasets").iterdir()) == []

    writer = store.receive("one", header_of(files), RUN)
    with pytest.raises(errors.InvalidArgument, match="chunk: more bytes"):
        writer.write(b"".join(files.values()) + b"x")
    writer.discard()

    writer = store.receive("one", header_of(files), RUN)
    writer.write(b"half")
    # Whoever opens the folder next is the one that cleans up after a process that died.
    assert len(list((tmp_path / "datasets").iterdir())) == 1
    DatasetStore(tmp_path / "datasets")
    assert list((tmp_path / "datasets").iterdir()) == []


@pytest.mark.parametrize("name", dataset_files())
def test_a_file_that_changed_on_its_way_is_refused(
    tmp_path: Path, store: DatasetStore, name: str
) -> None:
    files = dataset_files()
    writer = store.receive("one", header_of(files), RUN)
    damaged = {**files, name: files[name][:-1] + b"?"}
    with pytest.raises(errors.DataLoss, match=f"{name} was damaged on its way"):
        writer.write(b"".join(damaged.values()))
    writer.discard()
    assert list((tmp_path / "datasets").iterdir()) == []


BAD_HEADERS: list[tuple[str, dict[str, Any]]] = [
    ("player", {"player": ""}),
    ("player", {"player": "a\x1b[2J"}),
    ("player_sha256", {"player_sha256": "AB" * 32}),
    ("game.width", {"game": {"width": 3, "height": 20, "rule": 1, "randomizer": 1}}),
    ("game.height", {"game": {"width": 10, "height": 41, "rule": 1, "randomizer": 1}}),
    ("game.rule", {"game": {"width": 10, "height": 20, "rule": 0, "randomizer": 1}}),
    ("game.randomizer", {"game": {"width": 10, "height": 20, "rule": 1, "randomizer": 9}}),
    ("observation", {"observation": 0}),
    ("observation", {"observation": 77}),
    ("games", {"games": 0}),
    ("placements", {"placements": 0}),
    ("placements", {"placements": 2**63}),
    ("cut_off_games", {"cut_off_games": 11}),
    ("best_lines", {"best_lines": 2**64 - 1}),
    ("mean_lines", {"mean_lines": float("nan")}),
    ("mean_lines", {"mean_lines": -1.0}),
    ("exploration", {"exploration": 1.5}),
    ("exploration", {"exploration": float("nan")}),
]


@pytest.mark.parametrize(("field", "changes"), BAD_HEADERS)
def test_a_description_of_what_cannot_be_is_refused(field: str, changes: dict[str, Any]) -> None:
    dataset_record.check_content(header_of(dataset_files()))
    with pytest.raises(dataset_record.DescriptionError) as caught:
        dataset_record.check_content(header_of(dataset_files(), **changes))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("../../../etc/passwd", "files[3].name"),
        ("data/../../x", "files[3].name"),
        ("/etc/passwd", "files[3].name"),
        ("dataset.json", "files[3].name"),
        ("data\\main_data.hdf5", "files[3].name"),
        ("data/main_data.hdf5", "files"),
    ],
)
def test_no_other_file_can_be_in_a_dataset(name: str, field: str) -> None:
    header = header_of(dataset_files())
    header.files.add(name=name, size_bytes=1, sha256="0" * 64)
    with pytest.raises(dataset_record.DescriptionError) as caught:
        dataset_record.check_content(header)
    assert caught.value.field == field
    del header.files[2:]
    with pytest.raises(dataset_record.DescriptionError, match="each once"):
        dataset_record.check_content(header)


@pytest.mark.parametrize("name", ILLEGAL_SLOT_NAMES)
def test_no_name_leaves_the_folder(store: DatasetStore, name: str) -> None:
    for attempt in (store.get, store.delete, store.open, store.check_free):
        with pytest.raises(errors.InvalidArgument):
            attempt(name)
    with pytest.raises(errors.InvalidArgument):
        store.receive(name, header_of(dataset_files()), RUN)


def test_a_taken_name_is_another_runs_and_never_its_own(store: DatasetStore) -> None:
    store_dataset(store, "one", seed=1)
    with pytest.raises(errors.AlreadyExists, match="there is a dataset one already"):
        store_dataset(store, "one", seed=2, run="sim-other1")
    with pytest.raises(errors.AlreadyExists, match="not every system tells it from ONE"):
        store_dataset(store, "ONE", seed=2)
    with pytest.raises(errors.AlreadyExists):
        store.check_free("one")
    assert read_dataset(store, "one") == dataset_files(1)
    store.check_free("one", run_id=RUN)
    store_dataset(store, "one", seed=2)
    assert read_dataset(store, "one") == dataset_files(2)
    assert store.names() == ["one"]
    assert store.of_run("one", RUN) == store.get("one")
    assert store.of_run("one", "sim-other1") is None
    assert store.of_run("two", RUN) is None


def test_datasets_are_listed_newest_first_in_pages(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = dataset_record.now()
    monkeypatch.setattr(dataset_record, "now", lambda: moment)
    for name in ("b", "a"):
        store_dataset(store, name)
    monkeypatch.undo()
    for name in ("c", "d", "e"):
        store_dataset(store, name)
    found, token = [], ""
    while True:
        page, token = store.list_page(2, token)
        assert len(page) <= 2
        found += [dataset.name for dataset in page]
        if not token:
            break
    assert found == ["e", "d", "c", "a", "b"]
    for wrong in ("x", "WyJzY29yZSIsWzAuMCwiYSJdXQ"):
        with pytest.raises(errors.InvalidArgument, match="page_token"):
            store.list_page(2, wrong)
    with pytest.raises(errors.InvalidArgument, match="page_size"):
        store.list_page(-1)


def test_a_damaged_one_is_left_out_of_the_list_and_can_be_removed(
    tmp_path: Path, store: DatasetStore
) -> None:
    store_dataset(store, "good")
    store_dataset(store, "bad")
    flip_bit(tmp_path / "datasets" / "bad" / "dataset.json")
    assert [dataset.name for dataset in store.list_page()[0]] == ["good"]
    assert store.names() == ["bad", "good"]
    with pytest.raises(errors.DataLoss, match=r"^datasets/bad/dataset\.json is damaged"):
        store.get("bad")
    with pytest.raises(errors.AlreadyExists):
        store_dataset(store, "bad")
    store.delete("bad")
    assert store.names() == ["good"]
    with pytest.raises(errors.NotFound):
        store.get("bad")


@pytest.mark.parametrize("name", FILES)
def test_every_damaged_byte_is_found_before_the_last_one_is_given_out(
    tmp_path: Path, store: DatasetStore, name: str
) -> None:
    store_dataset(store, "one")
    path = tmp_path / "datasets" / "one" / name
    for byte in (0, path.stat().st_size // 2):
        flip_bit(path, byte)
        with pytest.raises(errors.DataLoss, match=r"damaged"):
            read_dataset(store, "one")
        flip_bit(path, byte)
    assert read_dataset(store, "one") == dataset_files()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(errors.DataLoss, match="damaged"):
        store.open("one")
    path.unlink()
    with pytest.raises(errors.DataLoss, match="missing"):
        store.open("one")


def test_a_file_that_is_cut_off_while_it_is_read_is_no_file(
    tmp_path: Path, store: DatasetStore
) -> None:
    store_dataset(store, "one")
    _, [(handle, file)] = store.open("one", "data/main_data.hdf5")
    os.truncate(tmp_path / "datasets" / "one" / "data" / "main_data.hdf5", 100)
    pieces = read_checked(handle, "datasets/one/data/main_data.hdf5", file, 512)
    with handle, pytest.raises(errors.DataLoss, match=r"^datasets/one/data/main_data\.hdf5 is dam"):
        list(pieces)


def test_a_description_that_was_edited_is_found_out(tmp_path: Path, store: DatasetStore) -> None:
    store_dataset(store, "one")
    path = tmp_path / "datasets" / "one" / "dataset.json"
    document = json.loads(path.read_bytes())
    for change in (
        {"version": 2},
        {"format": "x"},
        {"dataset": []},
        {"dataset": document["dataset"] | {"name": "two"}},
        {"dataset": document["dataset"] | {"unknown": 1}},
        {"dataset": document["dataset"] | {"run": "../.."}},
        {"dataset": document["dataset"] | {"games": "-1"}},
        {"dataset": document["dataset"] | {"files": document["dataset"]["files"][:1]}},
    ):
        data = json.dumps(document | change).encode()
        path.write_bytes(data)
        path.with_name("dataset.sha256").write_bytes(dataset_record.digest_line(data))
        with pytest.raises(errors.DataLoss, match=r"datasets/one/dataset\.json is damaged"):
            store.get("one")


def test_what_is_open_can_be_read_to_its_end_after_the_dataset_is_gone(
    tmp_path: Path, store: DatasetStore
) -> None:
    store_dataset(store, "one", seed=5)
    _, opened = store.open("one")
    store.delete("one")
    store_dataset(store, "one", seed=6)
    for handle, file in opened:
        with handle:
            read = b"".join(read_checked(handle, file.name, file, 100))
        assert read == dataset_files(5)[file.name]


@pytest.mark.skipif(os.name != "posix", reason="makes links and pipes")
@pytest.mark.parametrize("name", ["", "data", *FILES])
def test_a_link_in_the_place_of_anything_is_refused(
    tmp_path: Path, store: DatasetStore, name: str
) -> None:
    store_dataset(store, "one")
    place = tmp_path / "datasets" / "one" / name
    target = tmp_path / "target"
    place.rename(target)
    place.symlink_to(target)
    with pytest.raises(errors.DataLoss, match=r"^datasets/one.* is a symbolic link"):
        store.open("one")
    assert store.list_page() == ([], "")
    store.delete("one")
    assert store.names() == []
    assert target.exists()
    if target.is_file():
        store_dataset(store, "one")
        place.unlink()
        os.mkfifo(place)
        with pytest.raises(errors.DataLoss):
            store.open("one")


def test_a_dataset_there_is_no_room_for_is_refused_before_it_comes(
    tmp_path: Path, store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = header_of(dataset_files())
    header.files[1].size_bytes = 1 << 60
    with pytest.raises(errors.DiskFull, match="free some space") as caught:
        store.receive("one", header, RUN)
    assert str(tmp_path) not in str(caught.value)
    assert list((tmp_path / "datasets").iterdir()) == []


def test_a_disk_that_is_full_in_the_middle_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_writer, "_SPARED_BYTES", 0)
    with small_disk(tmp_path / "disk", 4) as disk:
        store = DatasetStore(disk / "datasets")
        files = dataset_files(size=1 << 20)
        writer = store.receive("one", header_of(files), RUN)
        filler = fill(disk)
        with pytest.raises(errors.DiskFull, match=r"cannot write datasets/one: .*free some space"):
            writer.write(b"".join(files.values()))
        writer.discard()
        assert list((disk / "datasets").iterdir()) == []
        filler.unlink()
        store_dataset(store, "one")
        assert read_dataset(store, "one") == dataset_files()
