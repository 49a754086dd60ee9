"""Commands about slots."""

from __future__ import annotations

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
        trainer.delete_slot(slot.name, force=True)
    return started.id


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
    assert [
        slot["name"] for slot in cli.good("slots", "ls", "--sort", "name", "-o", "json").json
    ] == [
        "mine",
        "moved",
    ]
    assert cli.good("slots", "notes", "mine").out == "hello\n"
    cli.good("slots", "notes", "mine", "bye")
    assert cli.good("slots", "notes", "mine", "-o", "json").json == {"name": "mine", "notes": "bye"}
    edited = cli.good("slots", "edit", "mine", "--no-tags", "-o", "json").json
    assert (edited["tags"], edited["notes"]) == ([], "bye")
    shown = cli.good("slots", "show", "mine").out
    assert run in shown and "bye" in shown
    assert cli.good("slots", "rm", "mine").out == "mine\n"
    assert cli.good("slots", "rm", "moved", "--force", "-o", "json").json == {"removed": ["moved"]}
    assert "no slots" in cli.good("slots", "ls").out


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
