"""Simulations and datasets in the SDK: from plain arguments to files that Minari finds."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mltetris_client
import pytest
from mltetris_api.v1 import dataset_pb2, run_pb2, trainer_pb2
from mltetris_client import (
    AlreadyExists,
    DataLoss,
    InvalidArgument,
    NotFound,
    Trainer,
    WrongState,
    dataset_files,
    specs,
)
from mltetris_server.storage import DatasetStore
from support.checkpoints import ILLEGAL_SLOT_NAMES
from support.datasets import dataset_files as made_up
from support.datasets import header_of, store_dataset
from support.server import ServerProcess
from support.small import in_state


def test_every_field_of_a_simulation_can_be_given() -> None:
    spec = specs.simulation(
        player="train-abc123:latest",
        games=5,
        placements=100,
        seed=0,
        exploration=0.25,
        boards=4,
        threads=2,
        observation="board",
        dataset="mine",
        width=8,
        height=16,
        rule="published",
        randomizer="uniform",
    )
    checkpoint = run_pb2.RunCheckpoint(run="train-abc123", kind=run_pb2.CHECKPOINT_KIND_LATEST)
    assert spec == run_pb2.SimulationSpec(
        player=run_pb2.Player(checkpoint=checkpoint),
        games=5,
        placements=100,
        seed=0,
        exploration=0.25,
        boards=4,
        threads=2,
        observation=run_pb2.OBSERVATION_BOARD,
        dataset="mine",
        game=run_pb2.GameSpec(
            width=8, height=16, rule=run_pb2.RULE_PUBLISHED, randomizer=run_pb2.RANDOMIZER_UNIFORM
        ),
    )
    given = {field.name for field, _ in spec.ListFields()}
    assert given == set(run_pb2.SimulationSpec.DESCRIPTOR.fields_by_name)
    assert specs.simulation() == run_pb2.SimulationSpec()
    assert specs.simulation(player="bcts").player == run_pb2.Player(slot="bcts")


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("simulation.games", {"games": -1}),
        ("simulation.seed", {"seed": -1}),
        ("simulation.exploration", {"exploration": "much"}),
        ("simulation.observation", {"observation": "pixels"}),
        ("simulation.player", {"player": "train-abc123:first"}),
        ("slots", {"slots": 1}),
    ],
)
def test_what_no_simulation_can_be_told_is_refused(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        specs.simulation(**options)
    assert [violation.field for violation in caught.value.fields] == [field]


def test_the_life_of_a_dataset(trainer: Trainer, tmp_path: Path) -> None:
    run = trainer.start_simulation(player="bcts", games=20, dataset="life", display_name="mine")
    ended = in_state(trainer, run.id, "succeeded")
    assert ended.simulation_result.stored
    assert ended.display_name == "mine"
    assert trainer.get_dataset("life").run == run.id
    assert trainer.list_datasets(limit=1)[0].name == "life"
    with pytest.raises(AlreadyExists, match="there is a dataset life already"):
        trainer.start_simulation(player="bcts", dataset="life")
    seen: list[tuple[int, int]] = []
    folder = trainer.export_dataset(
        "life", tmp_path, progress=lambda come, total: seen.append((come, total))
    )
    assert folder == tmp_path / "mltetris" / "life-v0"
    assert content(folder) == made_up(2)
    total = trainer.get_dataset("life").size_bytes
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    trainer.delete_dataset("life")
    with pytest.raises(NotFound):
        trainer.get_dataset("life")


def test_a_dataset_that_is_being_made_cannot_be_deleted(trainer: Trainer) -> None:
    run = trainer.start_simulation(player="bcts", games=10**9, dataset="going")
    with pytest.raises(WrongState, match=run.id):
        trainer.delete_dataset("going")
    trainer.stop_run(run.id)


def test_an_export_goes_where_minari_looks(
    own: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "named"))
    assert dataset_files.default_root() == tmp_path / "named"
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if os.name == "posix":
        assert dataset_files.default_root() == tmp_path / "home" / ".minari" / "datasets"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "named"))
    with mltetris_client.connect(own.address) as trainer:
        run = trainer.start_simulation(player="bcts", games=10, dataset="one")
        in_state(trainer, run.id, "succeeded")
        folder = trainer.export_dataset("one")
        assert folder == tmp_path / "named" / "mltetris" / "one-v0"
        for path in (folder, folder / "data", folder / "data" / "metadata.json"):
            assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) & 0o400

        (folder / "data" / "metadata.json").write_text("mine")
        with pytest.raises(AlreadyExists, match="one-v0 exists"):
            trainer.export_dataset("one")
        assert (folder / "data" / "metadata.json").read_text() == "mine"
        trainer.export_dataset("one", overwrite=True)
        assert content(folder) == made_up(1)
        assert [path.name for path in folder.parent.iterdir()] == ["one-v0"]

        # What was damaged meanwhile is not written, and what is there stays.
        damaged = own.data_dir / "datasets" / "one" / "trajectories.safetensors"
        damaged.write_bytes(b"?" * damaged.stat().st_size)
        with pytest.raises(DataLoss, match=r"datasets/one/trajectories\.safetensors"):
            trainer.export_dataset("one", overwrite=True)
        assert content(folder) == made_up(1)
        assert [path.name for path in folder.parent.iterdir()] == ["one-v0"]


@pytest.mark.parametrize("name", [*ILLEGAL_SLOT_NAMES[:10], "../../x"])
def test_no_name_leaves_the_root(trainer: Trainer, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument):
        trainer.export_dataset(name, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


Part = trainer_pb2.ExportDatasetResponse


class Liar:
    """The stub of a server that sends what it should not."""

    def __init__(self, *parts: Part) -> None:
        self.parts = parts

    def ExportDataset(self, request: trainer_pb2.ExportDatasetRequest) -> Iterator[Part]:
        class Call:
            def __init__(self, parts: tuple[Part, ...]) -> None:
                self._parts = iter(parts)

            def __iter__(self) -> Iterator[Part]:
                return self

            def __next__(self) -> Part:
                return next(self._parts)

            def cancel(self) -> None:
                pass

        return Call(self.parts)


def told(change: Callable[[dataset_pb2.Dataset, list[bytes]], None]) -> list[Part]:
    """An export as it should be, but for `change`."""
    files = made_up(1)
    header = header_of(files)
    header.name = "one"
    chunks = list(files.values())
    change(header, chunks)
    return [Part(header=header), *(Part(chunk=chunk) for chunk in chunks)]


def escape(header: dataset_pb2.Dataset, chunks: list[bytes]) -> None:
    header.files[0].name = "../../../escaped"


def absolute(header: dataset_pb2.Dataset, chunks: list[bytes]) -> None:
    header.files[0].name = "/tmp/escaped"


def rename(header: dataset_pb2.Dataset, chunks: list[bytes]) -> None:
    header.name = "../two"


def add(header: dataset_pb2.Dataset, chunks: list[bytes]) -> None:
    sha256 = hashlib.sha256(b"x").hexdigest()
    header.files.add(name="setup.py", size_bytes=1, sha256=sha256)
    chunks.append(b"x")


def repeat(header: dataset_pb2.Dataset, chunks: list[bytes]) -> None:
    header.files.append(header.files[0])
    chunks.append(chunks[0])


def leave_out(header: dataset_pb2.Dataset, chunks: list[bytes]) -> None:
    del header.files[0]
    del chunks[0]


def damage(header: dataset_pb2.Dataset, chunks: list[bytes]) -> None:
    chunks[1] = chunks[1][:-1] + b"?"


def cut_off(header: dataset_pb2.Dataset, chunks: list[bytes]) -> None:
    del chunks[-1]


def go_on(header: dataset_pb2.Dataset, chunks: list[bytes]) -> None:
    chunks.append(b"more")


def overflow(header: dataset_pb2.Dataset, chunks: list[bytes]) -> None:
    chunks[0] += b"more"


@pytest.mark.parametrize(
    "change",
    [escape, absolute, rename, add, repeat, leave_out, damage, cut_off, go_on, overflow],
)
def test_a_server_that_lies_writes_nothing(
    tmp_path: Path, change: Callable[[dataset_pb2.Dataset, list[bytes]], None]
) -> None:
    def download(parts: list[Part]) -> Path:
        stub: Any = Liar(*parts)
        return dataset_files.download_dataset(
            stub, "one", tmp_path / "root", overwrite=True, progress=None, address="nowhere"
        )

    folder = download(told(lambda header, chunks: None))
    before = content(tmp_path)
    assert content(folder) == made_up(1)
    with pytest.raises(DataLoss):
        download(told(change))
    assert content(tmp_path) == before
    assert [path.name for path in folder.parent.iterdir()] == ["one-v0"]
    with pytest.raises(DataLoss, match="no header"):
        download([])


def test_an_export_to_where_nothing_can_be_written_is_an_error_of_the_system(
    shared: ServerProcess, trainer: Trainer, tmp_path: Path
) -> None:
    run = trainer.start_simulation(player="bcts", games=10, dataset="nowhere")
    in_state(trainer, run.id, "succeeded")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        trainer.export_dataset("nowhere", tmp_path / "file")


def test_many_datasets_are_listed_page_by_page(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "data" / "datasets")
    names = [f"d{number:03d}" for number in range(60)]
    for name in names:
        store_dataset(store, name)
    with ServerProcess(tmp_path / "data") as server, mltetris_client.connect(server.address) as it:
        assert [dataset.name for dataset in it.list_datasets()] == names[::-1]
        assert [dataset.name for dataset in it.list_datasets(limit=55)] == names[:4:-1]
