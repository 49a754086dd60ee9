"""kill -9 while something is written: it is there whole, or what was there before is."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mltetris_api.v1 import run_pb2
from mltetris_server.storage import History, RunStore, SlotStore

TESTS = Path(__file__).parent.parent
DRIVER = Path(__file__).parent / "kill_driver.py"

OLD_SLOT = {"slots": {"one": 1}, "active": "one"}
NO_SLOT = {"slots": {}, "active": None}
TWO_SLOTS = {"slots": {"one": 1, "two": 7}, "active": "one"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks")
@pytest.mark.parametrize(
    ("scenario", "before", "after"),
    [
        ("first checkpoint", None, 2),
        ("next checkpoint", 1, 2),
        ("many checkpoints", 1, 4),
        ("delete run", 1, None),
        ("first slot", NO_SLOT, {"slots": {"one": 2}, "active": None}),
        ("overwrite slot", OLD_SLOT, {"slots": {"one": 2}, "active": "one"}),
        ("first import", NO_SLOT, {"slots": {"one": 2}, "active": None}),
        ("import over a slot", OLD_SLOT, {"slots": {"one": 2}, "active": "one"}),
        ("copy slot", OLD_SLOT, {"slots": {"one": 1, "two": 1}, "active": "one"}),
        ("copy over a slot", TWO_SLOTS, {"slots": {"one": 1, "two": 1}, "active": "one"}),
        ("activate slot", TWO_SLOTS, TWO_SLOTS | {"active": "two"}),
        ("edit slot", OLD_SLOT, OLD_SLOT),
        ("rename slot", OLD_SLOT, {"slots": {"renamed-2": 1}, "active": "renamed-2"}),
        ("delete slot", OLD_SLOT, NO_SLOT),
        ("first dataset", {}, {"games": 2}),
        ("dataset once more", {"games": 1}, {"games": 2}),
        ("delete dataset", {"games": 1}, {}),
        ("first spool", None, 2),
        ("next spool", 1, 2),
        ("take spooled", 2, 2),
    ],
)
def test_a_kill_at_any_step_leaves_the_old_or_the_new(
    tmp_path: Path, scenario: str, before: Any, after: Any
) -> None:
    """And that bit for bit: whatever is found is the same bytes as before the write or after it."""
    result = subprocess.run(
        [sys.executable, str(DRIVER), scenario, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    steps = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert len(steps) >= 4, "the child was killed at too few steps for the test to say anything"
    assert [step["killed"] for step in steps] == [True] * (len(steps) - 1) + [False]
    found = [(step["found"], step["digests"]) for step in steps]
    assert found[0][0] == before
    assert found[-1][0] == after
    whole = [found[0], found[-1]]
    if scenario == "many checkpoints":
        # Each is replaced by the next: they come in order, and none comes back.
        assert [placements for placements, _ in found] == sorted(step["found"] for step in steps)
        whole = [each for k, each in enumerate(found) if each != found[k - 1]]
        assert [placements for placements, _ in whole] == list(range(before, after + 1))
    assert all(state in whole for state in found), found
    assert [step["leftovers"] for step in steps] == [[]] * len(steps)


WRITER = """
import pathlib, sys
from mltetris_api.v1 import run_pb2
from mltetris_server.storage import History, RunStore, SlotStore, WorkerEvent
from support.checkpoints import MODEL, a_checkpoint, model_files

root = pathlib.Path(sys.argv[1])
history = History(root / "mltetris.db")
runs, slots = RunStore(root / "runs"), SlotStore(root / "slots")
number = history.last_sequence("train-1")
while True:
    number += 1
    point = run_pb2.MetricPoint(sequence=number)
    history.append("train-1", [WorkerEvent(number, [point], [run_pb2.Episode(number=number)])])
    print("history", number, flush=True)
    runs.write("train-1", 2, model=MODEL, files=model_files(number), placements=number)
    print("run", number, flush=True)
    slots.save("one", a_checkpoint(number), overwrite=True)
    print("slot", number, flush=True)
"""


def test_whatever_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    """One process writes as fast as it can; it is killed at some moment, again and again."""
    with History(tmp_path / "mltetris.db") as history:
        history.create_run(run_pb2.Run(id="train-1", kind=1, state=1))
    acknowledged = {"history": 0, "run": 0, "slot": 0}
    chance = random.Random(7)
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        assert lines[0].startswith("history"), "the writer did not begin"
        time.sleep(chance.uniform(0.0, 0.15))  # the moment of the kill; any will do
        process.kill()
        lines += process.communicate()[0].splitlines()
        for line in lines:
            words = line.split()
            if len(words) == 2 and words[1].isdigit() and line != lines[-1]:
                acknowledged[words[0]] = int(words[1])

        with History(tmp_path / "mltetris.db") as history:
            last = history.last_sequence("train-1")
            assert last >= acknowledged["history"]
            points = [point.sequence for point in history.points("train-1", limit=10**6)]
            assert points == list(range(1, last + 1))
            games = [game.number for game in history.episodes("train-1", limit=10**6)]
            assert games == points
        runs, slots = RunStore(tmp_path / "runs"), SlotStore(tmp_path / "slots")
        runs.recover(["train-1"])
        if acknowledged["run"]:
            checkpoint = runs.read("train-1", run_pb2.CHECKPOINT_KIND_LATEST)
            assert acknowledged["run"] <= checkpoint.manifest.placements <= last
        if acknowledged["slot"]:
            assert acknowledged["slot"] <= slots.get("one").placements <= last
            assert slots.names() == ["one"]
    assert acknowledged["slot"] > 0, "no write ever came through"
