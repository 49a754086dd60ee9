"""`mltetris datasets`: what people and scripts see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mltetris_client import Trainer
from support.cli import Cli
from support.server import ServerProcess
from support.small import in_state


@pytest.fixture(scope="module", autouse=True)
def datasets(shared: ServerProcess) -> None:
    """Two datasets that are there already."""
    import mltetris_client

    with mltetris_client.connect(shared.address) as trainer:
        for name, games in (("first", 1000), ("second", 20)):
            run = trainer.start_simulation(player="bcts", games=games, dataset=name)
            in_state(trainer, run.id, "succeeded")


def test_datasets_are_listed_newest_first(cli: Cli) -> None:
    lines = cli.good("datasets", "ls").out.splitlines()
    assert " ".join(lines[0].split()) == (
        "DATASET PLAYER GAMES LINES PLACEMENTS SIZE SHOWS GAME MADE"
    )
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert rows["first"][1:7] == ["bcts", "1,000", "45.5", "10k", "4.5", "KB"]
    assert cli.good("datasets", "ls", "-q").out.split()[-2:] == ["second", "first"]
    assert cli.good("datasets", "ls", "-q", "--limit", "1").out.split() == ["second"]
    told = cli.good("datasets", "ls", "-o", "json").json
    assert [dataset["name"] for dataset in told][-2:] == ["second", "first"]
    assert told[-1]["games"] == 1000
    assert told[-1]["observation"] == "bcts"


def test_a_dataset_is_shown(cli: Cli, trainer: Trainer) -> None:
    text = cli.good("datasets", "show", "first").out
    dataset = trainer.get_dataset("first")
    for part in (dataset.run, "mltetris/first-v0", "10x20 bag7 gymnasium", dataset.files[0].sha256):
        assert part in text
    told = cli.good("datasets", "show", "first", "-o", "json").json
    assert [file["name"] for file in told["files"]] == [file.name for file in dataset.files]


def test_a_dataset_is_exported(cli: Cli, tmp_path: Path) -> None:
    result = cli.good("datasets", "export", "first", tmp_path / "root")
    folder = tmp_path / "root" / "mltetris" / "first-v0"
    assert result.out == f"{folder}\n"
    assert (folder / "data" / "main_data.hdf5").stat().st_size == 3000
    again = cli.inside("datasets", "export", "first", tmp_path / "root")
    assert again.code == 1
    assert "say --overwrite" in again.err
    told = cli.good("datasets", "export", "first", tmp_path / "root", "--overwrite", "-o", "json")
    assert told.json == {"name": "first", "path": str(folder), "minari_id": "mltetris/first-v0"}
    result = cli("datasets", "export", "second", environment={"MINARI_DATASETS_PATH": "named"})
    assert result.code == 0
    assert (tmp_path / "named" / "mltetris" / "second-v0" / "data" / "metadata.json").exists()


def test_an_export_that_cannot_be_written_is_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    result = cli.inside("datasets", "export", "first", tmp_path / "file")
    assert result.code == 1
    assert result.err.startswith("error: first cannot be written: ")
    assert len(result.err.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")
def test_an_export_shows_how_much_has_come(cli: Cli, tmp_path: Path) -> None:
    from support.terminal import terminal

    arguments = ("datasets", "export", "first", "seen")
    with terminal(
        "mltetris_cli", *arguments, folder=tmp_path, environment=cli.environment
    ) as screen:
        assert screen.wait() == 0
        assert "4.5/4.5 kB" in screen.text


def test_datasets_are_removed(cli: Cli, trainer: Trainer) -> None:
    for name in ("third", "fourth"):
        run = trainer.start_simulation(player="bcts", games=10, dataset=name)
        in_state(trainer, run.id, "succeeded")
    assert cli.good("datasets", "rm", "third").out == "third\n"
    assert cli.good("datasets", "rm", "fourth", "-o", "json").json == {"removed": ["fourth"]}
    going = trainer.start_simulation(player="bcts", games=10**9, dataset="fifth")
    result = cli.inside("datasets", "rm", "fifth")
    assert result.code == 5
    assert going.id in result.err
    trainer.stop_run(going.id)


@pytest.mark.parametrize("command", ["show", "export", "rm"])
def test_a_dataset_that_is_not_there_is_not_found(cli: Cli, command: str) -> None:
    result = cli.inside("datasets", command, "nothere")
    assert (result.code, result.out) == (4, "")
    assert result.err.startswith("error: there is no dataset nothere. List what there is with ")
    assert "mltetris datasets ls" in result.err
    assert cli.inside("datasets", command, "../x").code == 2
