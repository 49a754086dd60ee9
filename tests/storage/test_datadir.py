"""The data directory has one owner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mltetris_server import errors
from mltetris_server.storage import DataDir

HOLD = """
import pathlib, sys
from mltetris_server.storage import DataDir
data_dir = DataDir.open(pathlib.Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that has the directory open."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_opening_makes_what_is_missing(tmp_path: Path) -> None:
    with DataDir.open(tmp_path / "a" / "b ü %41") as data_dir:
        assert data_dir.slots.is_dir()
        assert data_dir.runs.is_dir()
        assert data_dir.datasets.is_dir()
        assert data_dir.database.parent == data_dir.root
        assert data_dir.root.is_absolute()


def test_a_second_owner_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with DataDir.open(tmp_path), pytest.raises(errors.DataDirInUse):
        DataDir.open(tmp_path)
    with DataDir.open(tmp_path):
        pass


def test_a_second_owner_is_told_who_has_it_and_what_to_do(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with pytest.raises(errors.DataDirInUse) as caught:
            DataDir.open(tmp_path)
        assert f"process {process.pid}" in caught.value.message
        assert str(tmp_path) in caught.value.message
        assert "--data-dir" in caught.value.message
        # Also where the owner's name cannot be read.
        (tmp_path / "owner.json").write_bytes(b"\0")
        with pytest.raises(errors.DataDirInUse, match="another process"):
            DataDir.open(tmp_path)
    finally:
        process.communicate()
    DataDir.open(tmp_path).close()


def test_a_killed_owner_leaves_the_directory_to_the_next(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.kill()
    process.communicate()
    with DataDir.open(tmp_path) as data_dir:
        assert f'"pid": {os.getpid()}' in (data_dir.root / "owner.json").read_text()


def test_a_child_process_does_not_inherit_the_directory(tmp_path: Path) -> None:
    """Workers outlive their server; the next server must be able to open the directory."""
    with DataDir.open(tmp_path):
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
        )
    try:
        DataDir.open(tmp_path).close()
    finally:
        child.communicate()


def test_closing_twice_is_allowed_and_lets_go_once(tmp_path: Path) -> None:
    first = DataDir.open(tmp_path)
    first.close()
    with DataDir.open(tmp_path):
        first.close()
        with pytest.raises(errors.DataDirInUse):
            DataDir.open(tmp_path)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(errors.InvalidArgument, match="is no directory"):
        DataDir.open(path)
    with pytest.raises(errors.DomainError):
        DataDir.open(path / "below")
    assert path.read_text() == "x"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user who can be refused"
)
def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    path.mkdir(mode=0o500)
    with pytest.raises(errors.Unavailable, match="check its permissions"):
        DataDir.open(path / "data")


def test_a_failed_opening_lets_go(tmp_path: Path) -> None:
    (tmp_path / "slots").write_text("in the way")
    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            DataDir.open(tmp_path)
    (tmp_path / "slots").unlink()
    DataDir.open(tmp_path).close()
