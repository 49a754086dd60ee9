"""Bad input: one line that says what to do, and the documented exit code."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from mltetris_client import Trainer
from support.checkpoints import flip_bit
from support.cli import Cli, Result
from support.server import ServerProcess
from support.small import in_state


def refused(result: Result, code: int, *words: str) -> None:
    """It ended with the code, said one line on stderr with the words, and nothing on stdout."""
    assert result.code == code, result
    assert result.out == "", result
    assert result.err.startswith("error: ") and result.err.count("\n") == 1, result
    for word in words:
        assert word in result.err, result


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], ["No such command", "mltetris --help"]),
        (["ps", "--nonsense"], ["No such option", "mltetris ps --help"]),
        (["ps", "-o", "xml"], ["table", "json"]),
        (["ps", "--state", "sleeping"], ["queued"]),
        (["ps", "--limit", "0"], ["--limit"]),
        (["speed"], ["no pace"]),
        (["speed", "a", "b", "--training", "3"], ["too many"]),
        (["speed", "3", "--training", "fast"], ["--training"]),
        (["speed", "fast"], ["not a number", "mltetris speed 30"]),
        (["speed", "a", "b", "3"], ["too many"]),
        (["mode", "fast", "slow"], ["headless", "showcase"]),
        (["mode", "headless", "visual"], ["name a mode"]),
        (["set"], ["nothing to change"]),
        (["rm"], ["--ended"]),
        (["train", "--seed", "x"], ["--seed"]),
        (["train", "--seed", "-1"], ["seed"]),
        (["train", "--seed", "18446744073709551616"], ["seed"]),
        (["train", "--max-seconds", "nan"], ["max duration"]),
        (["train", "--from-slot", "a", "--from-run", "b"], ["not both"]),
        (["train", "--from-run", "train-a:newest"], ["best, latest, final"]),
        (["train", "--mode", "fast"], ["headless"]),
        (["slots", "edit", "a"], ["--notes"]),
        (["slots", "export", "a", "--format", "pickle"], ["--format"]),
        (["--server", "ftp://x", "ps"], ["HOST:PORT"]),
        (["ps", "--server", "host:0"], ["HOST:PORT"]),
        (["serve", "--max-runs", "0"], ["--max-runs"]),
        (["serve", "--listen", "nonsense"], ["HOST:PORT"]),
        (["up", "--listen", "1.2.3.4"], ["HOST:PORT"]),
        (["up", "--target-lines", "x"], ["--target-lines"]),
    ],
)
def test_wrong_usage(alone: Cli, arguments: list[str], words: list[str]) -> None:
    refused(alone.inside(*arguments), 2, *words)


def test_the_bare_command_shows_its_help(alone: Cli) -> None:
    result = alone()
    assert (result.code, result.err) == (2, "")
    assert "mltetris up" in result.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["ps"],
        ["show"],
        ["watch"],
        ["train"],
        ["demo"],
        ["pause", "train-abc"],
        ["slots", "ls"],
        ["slots", "import", "x.zip"],
        ["viewer"],
    ],
)
def test_no_server(alone: Cli, arguments: list[str]) -> None:
    (alone.folder / "x.zip").write_bytes(b"x")
    result = alone(*arguments, "--server", "127.0.0.1:1")
    refused(result, 3, "127.0.0.1:1", "mltetris serve")


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "train-000000"],
        ["watch", "train-000000"],
        ["pause", "train-000000"],
        ["resume", "train-000000"],
        ["stop", "train-000000"],
        ["speed", "train-000000", "3"],
        ["mode", "train-000000", "headless"],
        ["set", "train-000000", "--name", "x"],
        ["rm", "train-000000"],
        ["viewer", "train-000000"],
        ["slots", "show", "nothing"],
        ["slots", "save", "x", "train-000000"],
        ["slots", "cp", "nothing", "x"],
        ["slots", "mv", "nothing", "x"],
        ["slots", "rm", "nothing"],
        ["slots", "use", "nothing"],
        ["slots", "export", "nothing"],
        ["slots", "edit", "nothing", "--notes", "x"],
        ["slots", "notes", "nothing"],
        ["demo", "nothing"],
        ["train", "--from-slot", "nothing"],
        ["train", "--from-run", "train-000000"],
    ],
)
def test_not_found(cli: Cli, arguments: list[str]) -> None:
    name = "train-000000" if "train-000000" in arguments else "nothing"
    refused(cli.inside(*arguments), 4, name, "`")
    assert not list(cli.folder.glob("*.zip"))


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 65, "ü", "a b", "x\n", "slot\u202e"])
def test_illegal_names(cli: Cli, trainer: Trainer, name: str) -> None:
    before = trainer.list_slots()
    for arguments in (
        ["slots", "show", name],
        ["slots", "cp", "a", name],
        ["slots", "mv", "a", name],
        ["slots", "rm", name],
        ["slots", "use", name],
        ["slots", "export", name],
        ["demo", name],
        ["train", "--from-slot", name],
    ):
        refused(cli.inside(*arguments), 2)
    refused(cli.inside("show", name), 2, "run's id", "mltetris ps")
    refused(cli.inside("slots", "save", "x", name), 2)
    assert trainer.list_slots() == before


@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1", "1001"])
def test_numbers_out_of_range(cli: Cli, trainer: Trainer, value: str) -> None:
    run = trainer.start_training()
    in_state(trainer, run.id, "running")
    before = trainer.get_run(run.id).control
    refused(cli.inside("train", f"--learning-rate={value}"), 2, "learning rate")
    refused(cli.inside("demo", f"--speed={value}"), 2, "placements per second")
    if value != "-1":  # which the command line takes for an option
        refused(cli.inside("speed", run.id, value), 2, "placements per second")
    assert trainer.get_run(run.id).control == before
    trainer.stop_run(run.id)


def test_wrong_state(cli: Cli, trainer: Trainer) -> None:
    run = trainer.start_training()
    in_state(trainer, run.id, "running")
    refused(cli("rm", run.id), 5, run.id)
    trainer.stop_run(run.id)
    for arguments in (
        ["pause", run.id],
        ["resume", run.id],
        ["speed", run.id, "3"],
        ["mode", run.id, "headless"],
        ["set", run.id, "--learning-rate", "0.1"],
    ):
        refused(cli.inside(*arguments), 5, run.id)


def test_names_that_are_taken_or_active(cli: Cli, trainer: Trainer) -> None:
    run = trainer.start_training()
    in_state(trainer, run.id, "running")
    trainer.save_slot("taken", run=run.id, checkpoint="latest")
    trainer.stop_run(run.id)
    refused(cli("slots", "save", "taken", run.id, "--checkpoint", "final"), 1, "taken")
    cli.good("slots", "use", "taken")
    refused(cli("slots", "rm", "taken"), 5, "taken")
    cli.good("slots", "rm", "taken", "--force")


def test_several_runs_begin_so(cli: Cli, trainer: Trainer) -> None:
    runs = [trainer.start_training() for _ in range(2)]
    for run in runs:
        trainer.stop_run(run.id)
    refused(cli("show", "train-"), 2, "Write more")


def test_damaged_files(cli: Cli, trainer: Trainer, shared: ServerProcess) -> None:
    run = trainer.start_training()
    in_state(trainer, run.id, "running")
    trainer.save_slot("whole", run=run.id, checkpoint="latest")
    trainer.stop_run(run.id)
    trainer.save_slot("hurt", slot="whole")
    flip_bit(shared.data_dir / "slots" / "hurt" / "policy.safetensors")
    refused(cli.inside("slots", "export", "hurt"), 1, "policy.safetensors")
    refused(cli.inside("slots", "show", "hurt"), 1, "policy.safetensors")
    exported = Path(cli.good("slots", "export", "whole", "x.slot.zip").out.strip())
    flip_bit(cli.folder / exported)
    refused(cli.inside("slots", "import", "x.slot.zip", "new"), 1 if _is_loss(cli) else 2)
    refused(cli.inside("slots", "export", "whole", "x.slot.zip"), 1, "--overwrite")
    refused(cli.inside("slots", "import", "nothing.zip"), 1, "nothing.zip", "Check the path")
    refused(cli.inside("slots", "import", ".", "new"), 1)
    (cli.folder / "text.zip").write_text("not a zip")
    assert cli.inside("slots", "import", "text.zip", "new").code in {1, 2}
    assert "new" not in {slot.name for slot in trainer.list_slots()}
    trainer.delete_slot("hurt")


def _is_loss(cli: Cli) -> bool:
    """A flipped bit is found by a checksum, or breaks the zip's structure."""
    return cli.inside("slots", "import", "x.slot.zip", "new").code == 1


def test_a_config_file_that_is_wrong(alone: Cli) -> None:
    config = alone.folder / "config.toml"
    for text, word in (("server = ", "TOML"), ("sever = 'x'", "sever"), ("server = 3", "server")):
        config.write_text(text)
        refused(alone.inside("ps"), 2, str(config), word)
    config.unlink()
    alone.environment["MLTETRIS_OUTPUT"] = "xml"
    refused(alone.inside("ps"), 2, "xml", "json")


def test_serve_where_a_port_or_a_folder_is_taken(alone: Cli, shared: ServerProcess) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for command in ("serve", "up"):
            result = alone(command, "--listen", address, "--data-dir", "data")
            line = result.err.splitlines()[-1]
            assert result.code == 1 and line.startswith("error: ") and address in line, result
    for command in ("serve", "up"):
        result = alone(command, "--listen", "127.0.0.1:0", "--data-dir", shared.data_dir)
        line = result.err.splitlines()[-1]
        assert result.code == 1 and line.startswith("error: "), result
        assert str(shared.data_dir) in line and "--data-dir" in line, result
