"""Files that are whole or absent, and disks that refuse."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from mltetris_server import errors
from mltetris_server.storage import durable


def test_a_replaced_file_has_the_new_bytes_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable.replace_file(path, b"old")
    durable.replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_refused_replacement_leaves_the_old_bytes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    durable.replace_file(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(errors.Unavailable, match=r"cannot write .*file.*: No space.*free some"),
        durable.writing(path),
    ):
        durable.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (durable.temporary_path(kept)).mkdir()
    unfinished = durable.temporary_path(kept)
    unfinished.mkdir()
    (unfinished / "half").write_bytes(b"x")
    durable.temporary_path(kept).write_bytes(b"half a file")
    durable.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [kept]


def test_a_leftover_that_is_a_link_does_not_take_its_target_with_it(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").write_bytes(b"x")
    link = tmp_path / f"{durable.TEMPORARY}link"
    try:
        link.symlink_to(target, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    durable.remove_leftovers(tmp_path)
    assert not link.is_symlink()
    assert (target / "precious").exists()


def test_removing_a_folder_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"x")
    # What Windows does while somebody reads the file.
    monkeypatch.setattr(durable.shutil, "rmtree", _refuse)
    durable.remove_folder(folder)
    assert not folder.exists()
    monkeypatch.undo()
    durable.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def _refuse(path: Path) -> None:
    raise PermissionError(errno.EACCES, "in use", str(path))
