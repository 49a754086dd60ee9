"""What the help says of defaults is what the learner takes."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from mltetris_cli import options
from mltetris_cli.hyperparameters import HYPERPARAMETERS
from mltetris_server.hyperparameters import TRAINABLE

HELP = subprocess.run(
    [str(Path(sys.executable).parent / "mltetris"), "train", "--help"],
    capture_output=True,
    text=True,
    check=True,
    env={**os.environ, "COLUMNS": "240", "NO_COLOR": "1"},
).stdout


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_every_hyperparameter_is_offered_with_its_defaults(name: str) -> None:
    flag = f"--{name.replace('_', '-')}"
    (line,) = [line for line in HELP.splitlines() if line.startswith(f"│ {flag} ")]
    told = dict(part.split(" ") for part in re.findall(r"\(([^(]*)\)", line)[-1].split(", "))
    defaults = {
        algorithm: getattr(config(), name)
        for algorithm, config in TRAINABLE.items()
        if hasattr(config(), name)
    }
    assert {key: float(value.replace(",", "")) for key, value in told.items()} == defaults


def test_no_hyperparameter_is_missing() -> None:
    fields = {field.name for config in TRAINABLE.values() for field in dataclasses.fields(config)}
    assert set(HYPERPARAMETERS) == fields


def test_algorithms_and_features_are_those_of_the_server() -> None:
    assert get_args(options.Algorithm) == tuple(TRAINABLE)
    assert set(get_args(options.Features)) == {
        features for config in TRAINABLE.values() for features in config.feature_sets
    }
