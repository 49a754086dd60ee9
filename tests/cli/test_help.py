"""Help: quick, examples first, whole in 80 columns."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mltetris_api.v1 import run_pb2
from mltetris_client import specs
from support.cli import Cli

COMMANDS = [
    "up", "serve", "train", "watch", "ps", "show", "pause", "resume", "stop", "speed", "mode",
    "set", "rm", "demo", "sim", "viewer", "plot", "doctor", "version", "slots",
    "suggest", "system",
    *(f"slots {name}" for name in (
        "ls", "show", "save", "cp", "mv", "rm", "use", "export", "import", "edit", "notes"
    )),
    "datasets", *(f"datasets {name}" for name in ("ls", "show", "export", "rm")),
]  # fmt: skip


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_starts_with_examples(alone: Cli, command: str) -> None:
    alone.environment["COLUMNS"] = "80"
    result = alone.inside(*command.split(), "--help")
    assert (result.code, result.err) == (0, "")
    lines = [line.strip() for line in result.out.splitlines() if line.strip()]
    assert lines[0].startswith("Usage: mltetris")
    examples = lines.index("Examples:")
    assert examples <= 2
    assert lines[examples + 1].startswith(f"mltetris {command}".strip())
    assert all(len(line) <= 80 for line in result.out.splitlines())


def test_examples_are_not_wrapped(alone: Cli) -> None:
    """A wrapped example would leave a line between two examples that is none."""
    alone.environment["COLUMNS"] = "80"
    for command in ["", *COMMANDS]:
        text = alone.inside(*command.split(), "--help").out
        lines = [line.rstrip() for line in text.splitlines()]
        start = lines.index(" Examples:") + 1
        goes_on = False
        for line in lines[start : lines.index("", start)]:
            assert line.startswith("       " if goes_on else "   mltetris "), (command, line)
            goes_on = line.endswith("\\")


def test_help_loads_nothing_slow() -> None:
    code = (
        "import sys\n"
        "from mltetris_cli.main import run\n"
        "assert run(['train', '--help']) == 0\n"
        "heavy = {'grpc', 'google', 'torch', 'numba', 'numpy', 'pygame', 'mltetris_client',\n"
        "         'mltetris_server', 'mltetris_api'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_every_option_of_a_training_is_a_flag(alone: Cli) -> None:
    out = alone("train", "--help", environment={"COLUMNS": "160"}).out
    names = set(specs.TrainingOptions.__optional_keys__)  # type: ignore[attr-defined]
    for params in (run_pb2.TdParams, run_pb2.DqnParams, run_pb2.PpoParams, run_pb2.CemParams):
        assert set(params.DESCRIPTOR.fields_by_name) <= names
    for name in names:
        assert f"--{name.replace('_', '-')} " in out, name


def test_choices_are_those_of_the_sdk() -> None:
    from mltetris_cli import options
    from mltetris_client import names

    assert options.Mode == names.ModeName
    assert options.View == names.ViewName
    assert options.Algorithm == names.AlgorithmName
    assert options.Features == names.FeatureSetName
    assert options.Observation == names.ObservationName
    assert options.Checkpoint == names.CheckpointName


def test_version(alone: Cli) -> None:
    from importlib import metadata

    assert alone.good("version").out.startswith(f"mltetris {metadata.version('mltetris')} ")
    assert alone.good("-o", "json", "version").json["mltetris"] == metadata.version("mltetris")
