"""The torture in small: it is not what finds the rare, but it is run every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos import checker
from chaos.report import as_json, as_table
from chaos.torture import Options, torture

pytestmark = pytest.mark.skipif(os.name != "posix", reason="it kills by signals")

TESTS = Path(__file__).resolve().parents[1]


def tortured(options: Options, folder: Path) -> checker.Verdict:
    verdict, records = torture(options, folder)
    assert verdict.good, as_table(verdict, records)
    return verdict


def test_a_few_deaths_lose_nothing(tmp_path: Path) -> None:
    options = Options(kills=4, minutes=2.5, seed=1, clients=4, pace_s=2.5, quiet=True)
    verdict = tortured(options, tmp_path)
    assert verdict.kills.total() >= 3
    assert verdict.acknowledged > 20
    assert verdict.runs > 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_deaths_lose_nothing(tmp_path: Path) -> None:
    verdict = tortured(Options(kills=16, minutes=3.0, seed=2, quiet=True), tmp_path)
    assert verdict.kills.total() >= 10
    assert verdict.acknowledged > 200
    assert verdict.points_seen > 200


def test_its_help_begins_with_examples() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "chaos", "--help"], cwd=TESTS, capture_output=True, text=True
    )
    assert result.returncode == 0
    assert "make chaos" in result.stdout


def test_its_json_says_what_was_broken() -> None:
    verdict = checker.Verdict()
    verdict.broken[checker.MISSING].append("a run")
    answer = json.loads(as_json(verdict, [], 7))
    assert answer["good"] is False
    assert answer["broken"][checker.MISSING] == ["a run"]
    assert answer["seed"] == 7
