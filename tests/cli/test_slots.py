"""Commands about slots."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from mltetris_client import Trainer
from support.cli import Cli
from support.small import in_state


@pytest.fixture
def run(trainer: Trainer) -> str:
    """A run that has ended and has checkpoints."""
    started = trainer.start_training()
    in_state(trainer, started.id, "running")
    trainer.stop_run(started.id)
    for slot in trainer.list_slots():
        if not slot.reference:
            trainer.delete_slot(slot.name, force=True)
    return started.id


def kept(slots: list[dict[str, Any]]) -> list[str]:
    """The names of the slots that are no reference players."""
    return [slot["name"] for slot in slots if not slot["reference"]]


def test_the_life_of_a_slot(cli: Cli, run: str) -> None:
    saved = cli.good(
        *("slots", "save", "mine", "--checkpoint", "final", "--notes", "hello"),
        *("--tag", "a", "--tag", "b", "-o", "json"),
    ).json
    assert (saved["name"], saved["source_run"], saved["tags"]) == ("mine", run, ["a", "b"])
    assert cli.good("slots", "cp", "mine", "copy").out.startswith("copied mine to copy")
    assert cli.good("slots", "mv", "copy", "moved").out.startswith("renamed copy to moved")
    assert cli.good("slots", "use", "moved", "-o", "json").json["active"] is True
    listed = cli.good("slots", "ls").out.splitlines()
    assert any(line.startswith("*") and "moved" in line for line in listed)
    assert kept(cli.good("slots", "ls", "--sort", "name", "-o", "json").json) == ["mine", "moved"]
    assert cli.good("slots", "notes", "mine").out == "hello\n"
    cli.good("slots", "notes", "mine", "bye")
    assert cli.good("slots", "notes", "mine", "-o", "json").json == {"name": "mine", "notes": "bye"}
    edited = cli.good("slots", "edit", "mine", "--no-tags", "-o", "json").json
    assert (edited["tags"], edited["notes"]) == ([], "bye")
    shown = cli.good("slots", "show", "mine").out
    assert run in shown and "bye" in shown
    assert cli.good("slots", "rm", "mine").out == "mine\n"
    assert cli.good("slots", "rm", "moved", "--force", "-o", "json").json == {"removed": ["moved"]}
    assert kept(cli.good("slots", "ls", "-o", "json").json) == []


def test_out_and_in_again(cli: Cli, run: str) -> None:
    cli.good("slots", "save", "mine", run, "--checkpoint", "final")
    assert cli.good("slots", "export", "mine").out == "mine.slot.zip\n"
    exported = cli.good("slots", "export", "mine", "-o", "json", "--overwrite").json
    assert exported["size_bytes"] == (cli.folder / "mine.slot.zip").stat().st_size
    (cli.folder / "mine.slot.zip").rename(cli.folder / "other.slot.zip")
    assert cli.good("slots", "import", "other.slot.zip").out.startswith("imported other")
    assert cli("slots", "import", "other.slot.zip").code == 1
    cli.good("slots", "import", "other.slot.zip", "--overwrite")
    original = cli.good("slots", "show", "mine", "-o", "json").json
    imported = cli.good("slots", "show", "other", "-o", "json").json
    assert imported["placements"] == original["placements"]
    assert cli.good("demo", "other").out.startswith("demo-")
    cli.good("stop")


def test_reference_players_are_marked_and_used_like_slots(cli: Cli, run: str) -> None:
    lines = cli.good("slots", "ls").out.splitlines()
    (bcts,) = (line.split() for line in lines if " bcts " in line)
    assert bcts[:4] == ["bcts", "≥2,500", "0.0", "reference"]
    assert cli.good("slots", "ls", "-q").out.split()[-1] == "random"
    shown = cli.good("slots", "show", "dt10").out
    assert "Gabillon" in shown and "reference player" in shown and "mlTetris itself" in shown
    assert cli.good("slots", "cp", "bcts", "mine").out == "copied bcts to mine  (≥2,500 lines)\n"
    copied = cli.good("slots", "show", "mine", "-o", "json").json
    assert (copied["reference"], copied["source_slot"], copied["algorithm"]) == (
        *(False, "bcts"),
        None,
    )
    assert cli.good("slots", "use", "random", "-o", "json").json["active"] is True
    assert cli.good("slots", "export", "bcts").out == "bcts.slot.zip\n"
    assert cli.good("slots", "import", "bcts.slot.zip", "own").out.startswith("imported own")
    assert cli.good("demo", "bcts", "random").out.startswith("demo-")
    cli.good("stop")
    cli.good("slots", "use", "mine")


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (5, ("rm", "bcts", "--force")),
        (5, ("mv", "bcts", "mine")),
        (5, ("edit", "bcts", "--notes", "x")),
        (5, ("notes", "bcts", "x")),
        (5, ("export", "bcts", "--format", "sb3")),
        (1, ("cp", "random", "bcts", "--overwrite")),
        (1, ("cp", "random", "BCTS")),
    ],
)
def test_a_reference_player_stays_as_it_is(cli: Cli, code: int, arguments: tuple[str, ...]) -> None:
    before = cli.good("slots", "show", "bcts", "-o", "json").json
    refused = cli.inside("slots", *arguments)
    assert refused.code == code
    assert "bcts is a reference player" in refused.err
    # What the server says is enough: no further hint, which would not help here.
    assert refused.err.count(". ") == 1
    assert cli.good("slots", "show", "bcts", "-o", "json").json == before


def test_a_file_that_is_no_slot_is_said_to_be_none(cli: Cli, tmp_path: Path) -> None:
    """The field of the contract that its content travels in is not for people."""
    with zipfile.ZipFile(tmp_path / "no.zip", "w") as archive:
        archive.writestr("letter.txt", "no slot at all")
    result = cli.inside("slots", "import", tmp_path / "no.zip")
    assert result.code == 2
    assert result.err.startswith("error: the file cannot be imported: 'letter.txt' "), result.err
    assert "chunk" not in result.err and "the named value" not in result.err, result.err
