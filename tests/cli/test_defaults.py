"""What the help says of defaults is what the learner takes."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mltetris_server.hyperparameters import TdConfig

HELP = subprocess.run(
    [str(Path(sys.executable).parent / "mltetris"), "train", "--help"],
    capture_output=True,
    text=True,
    check=True,
    env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
).stdout


@pytest.mark.parametrize("field", dataclasses.fields(TdConfig), ids=lambda field: field.name)
def test_every_hyperparameter_is_offered_with_its_default(field: dataclasses.Field[object]) -> None:
    flag = f"--{field.name.replace('_', '-')}"
    (line,) = [line for line in HELP.splitlines() if line.startswith(f"│ {flag} ")]
    told = re.search(r"\(default (.*)\)", line)
    assert told is not None, line
    assert float(told[1].replace(",", "")) == field.default
