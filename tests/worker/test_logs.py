"""The worker's log: bounded, whole at its end, and never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mltetris_server.runs.launchers.worker_log import tail
from mltetris_server.worker.logs import LOG_VARIABLE

MIB = 1024 * 1024

LINES = """
import os, sys, time
from mltetris_server.worker import logs
logs.LOOK_SECONDS = 0.01
logs.keep_small.__defaults__ = (100_000,)
logs.configure("train-aaaaaa")
for k in range(30_000):
    os.write(1 if k % 2 else 2, b"line %06d\\n" % k)
    if k % 100 == 0:
        time.sleep(0.002)
print("the end", file=sys.stderr)
logs.flush()
"""

BURST = """
import os, time, logging
from mltetris_server.worker import logs
logs.configure("train-aaaaaa")
for k in range(40):
    os.write(1, bytes([97 + k % 26]) * 1024 * 1024)
os.write(2, b"the end of it\\n")
time.sleep(3)
logging.info("afterwards")
logs.flush()
"""

UNWRITABLE = """
import logging, sys
from mltetris_server.worker import logs
from mltetris_server.worker.process import leave_process
logs.configure("train-aaaaaa")
for k in range(10_000):
    logging.warning("line %d", k)
    print("more", k)
leave_process(42)
"""


def run(script: str, log: Path) -> int:
    with log.open("ab") as out:
        return subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, LOG_VARIABLE: str(log)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            timeout=60,
            check=False,
        ).returncode


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be renamed here")
def test_a_log_is_begun_anew_and_loses_no_line(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    assert run(LINES, log) == 0
    older = log.with_name("worker.log.1")
    kept = older.read_bytes() + log.read_bytes()
    lines = kept.split(b"\n")
    assert lines[-2:] == [b"the end", b""]
    numbers = [int(line.split()[1]) for line in lines[:-2]]
    # Several files came and went: what is left is the end of it, without a gap.
    assert numbers[0] > 0
    assert numbers == list(range(numbers[0], 30_000))
    assert {path.name for path in tmp_path.iterdir()} == {"worker.log", "worker.log.1"}
    assert tail(log).endswith("line 029999\nthe end")
    assert len(tail(log)) > 3900, "over the two files"


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be renamed here")
def test_a_burst_is_bounded_too(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    assert run(BURST, log) == 0
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 24 * MIB
    assert "the end of it" in tail(log)
    assert "afterwards" in tail(log)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_that_cannot_be_written_is_no_reason_to_end(tmp_path: Path) -> None:
    begin = time.monotonic()
    assert run(UNWRITABLE, Path("/dev/full")) == 42
    assert time.monotonic() - begin < 60


def test_the_tail_is_taken_over_both_files(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    assert tail(log) == ""
    log.write_text("new\n" * 10)
    log.with_name("worker.log.1").write_text("old\n" * 10_000)
    text = tail(log)
    assert text.splitlines()[-11:] == ["old"] + ["new"] * 10
    assert len(text) == pytest.approx(4000, abs=4)
    log.write_text("new\n" * 10_000)
    assert set(tail(log).splitlines()) == {"new"}
    assert tail(tmp_path) == "", "what cannot be read is no reason to fail"
