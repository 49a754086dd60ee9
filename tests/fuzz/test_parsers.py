"""Whatever bytes come in as an import: only the errors that are documented, in bounded time and
memory. Guided by coverage (atheris, libFuzzer); ``MLTETRIS_FUZZ_SECONDS`` says for how long, all
parsers together."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
DRIVER = Path(__file__).parent / "parser_driver.py"
SECONDS = float(os.environ.get("MLTETRIS_FUZZ_SECONDS", "240"))
PARSERS = [
    "bundle", "true bundle", "manifest", "tensors", "record", "learning bundle", "sb3 data",
    "sb3 zip",
]  # fmt: skip
START_S = 240
"""Seconds that a process may take besides; importing torch on a busy machine takes some."""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris has wheels for Linux on x86-64 only",
)


def fuzz(parser: str, seconds: float, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DRIVER), parser, str(max(1, round(seconds))), str(folder)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + START_S,
    )


@pytest.mark.slow
@pytest.mark.timeout(SECONDS / len(PARSERS) + START_S + 30)
@pytest.mark.parametrize("parser", PARSERS)
def test_no_bytes_break_a_parser(parser: str, tmp_path: Path) -> None:
    result = fuzz(parser, SECONDS / len(PARSERS), tmp_path)
    assert result.returncode == 0, result.stderr[-4000:]
    made = re.search(r"stat::number_of_executed_units:\s+([0-9]+)", result.stderr)
    assert made is not None, result.stderr[-4000:]
    print(f"{parser}: {made[1]} inputs")
    assert int(made[1]) > 100, "too few for the test to say anything"


@pytest.mark.slow
@pytest.mark.timeout(START_S + 60)
def test_an_undocumented_error_is_found(tmp_path: Path) -> None:
    result = fuzz("broken", 30, tmp_path)
    assert result.returncode != 0
    assert "KeyError: 'undocumented'" in result.stdout + result.stderr
