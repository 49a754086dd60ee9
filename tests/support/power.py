"""What a power cut may leave of a folder: a small model of a disk that forgets what was not synced.

A file's bytes are on the device from its last ``fsync`` on, before that they are nothing; a
folder's entries (names made, renamed, removed) are from the folder's last ``fsync`` on. Between
two of them a device may keep a change or not, each folder by itself. Real file systems keep more.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

Tree: TypeAlias = "dict[str, bytes | Tree]"


class Disk:
    """Watches the changes below ``root``; what is there at first is on the device.

    ``cuts`` are the trees that a power cut could have left, before and after every change;
    ``broken`` says in words where something was renamed that was not yet on the device.
    """

    def __init__(self, root: Path, *, mixed: int = 3, seed: int = 0) -> None:
        self._root = root
        self._mixed = mixed
        self._chance = random.Random(seed)
        self._data: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, int]] = {}
        self._held: dict[int, int] = {}
        self._seen: set[str] = set()
        self.cuts: list[Tree] = []
        self.broken: list[str] = []
        for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
            self._entries[self._hold(folder)] = self._now(folder)
        for path in root.rglob("*"):
            if path.is_file():
                self._data[self._hold(path)] = path.read_bytes()

    @contextlib.contextmanager
    def watched(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Within, every change is a step; at its end, a last one."""
        with monkeypatch.context() as patch:
            for name in ("mkdir", "rename", "replace", "unlink", "remove", "rmdir"):
                patch.setattr(os, name, self._step(getattr(os, name)))
            patch.setattr(os, "fsync", self._fsync(os.fsync))
            patch.setattr(shutil, "rmtree", _remove_all)
            try:
                yield
            finally:
                self._observe()
        for descriptor in self._held.values():
            os.close(descriptor)

    @property
    def least(self) -> Tree:
        """What is on the device for certain."""
        tree = self._tree(self._root.stat().st_ino, lambda inode: self._entries[inode])
        assert isinstance(tree, dict)
        return tree

    @property
    def unsynced(self) -> list[str]:
        """Names that are there, but not on the device for certain."""
        found = []
        for folder in [self._root, *(path for path in self._root.rglob("*") if path.is_dir())]:
            durable = self._entries[folder.stat().st_ino]
            for name, inode in self._now(folder).items():
                if durable.get(name) != inode:
                    found.append(str((folder / name).relative_to(self._root)))
        return found

    def _hold(self, path: Path) -> int:
        """The file's number, which no other file gets as long as it is held open."""
        descriptor = os.open(path, os.O_RDONLY)
        inode = os.fstat(descriptor).st_ino
        if inode in self._held:
            os.close(descriptor)
        else:
            self._held[inode] = descriptor
        return inode

    def _now(self, folder: Path) -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in folder.iterdir()}

    def _learn(self) -> dict[int, dict[str, int]]:
        """The folders' entries as they are now; new files are on no device yet."""
        now = {}
        for folder, _, names in os.walk(self._root):
            inode = self._hold(Path(folder))
            self._entries.setdefault(inode, {})
            now[inode] = self._now(Path(folder))
            for name in names:
                self._data.setdefault(self._hold(Path(folder) / name), b"")
        return now

    def _observe(self) -> None:
        now = self._learn()
        root = self._root.stat().st_ino
        forgotten = self._entries
        both = [forgotten, now]
        choices: list[Callable[[int], dict[str, int]]] = [
            lambda inode: forgotten[inode],
            lambda inode: now.get(inode, forgotten[inode]),
        ]
        for _ in range(self._mixed):
            chosen = {inode: self._chance.choice(both) for inode in now}
            choices.append(
                lambda inode, chosen=chosen: chosen.get(inode, forgotten).get(  # type: ignore[misc]
                    inode, forgotten[inode]
                )
            )
        for entries in choices:
            tree = self._tree(root, entries)
            assert isinstance(tree, dict)
            if repr(tree) not in self._seen:
                self._seen.add(repr(tree))
                self.cuts.append(tree)

    def _tree(self, inode: int, entries: Callable[[int], Mapping[str, int]]) -> bytes | Tree:
        if inode in self._data:
            return self._data[inode]
        return {name: self._tree(child, entries) for name, child in entries(inode).items()}

    def _step(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **named: Any) -> Any:
            self._observe()
            if change.__name__ in ("rename", "replace"):
                self._check(Path(arguments[0]))
            result = change(*arguments, **named)
            self._observe()
            return result

        return changed

    def _check(self, path: Path) -> None:
        """Whatever is renamed must be on the device first."""
        for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
            inode = file.stat().st_ino
            whole = (
                set(self._now(file).items()) <= set(self._entries[inode].items())
                if file.is_dir()
                else self._data[inode] == file.read_bytes()
            )
            if not whole:
                self.broken.append(f"{file.relative_to(self._root)} was renamed before it was safe")

    def _fsync(self, fsync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            self._observe()
            fsync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            inode = os.fstat(descriptor).st_ino
            if path.is_dir():
                self._entries[inode] = self._now(path)
            else:
                self._data[inode] = path.read_bytes()
            self._observe()

        return synced


def _remove_all(path: Path) -> None:
    """`shutil.rmtree` by paths, one step after the other."""
    for name in sorted(path.iterdir()):
        if name.is_dir():
            _remove_all(name)
        else:
            name.unlink()
    path.rmdir()


def build(tree: Tree, folder: Path) -> None:
    """Makes the folder that ``tree`` describes."""
    folder.mkdir()
    for name, content in tree.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            build(content, folder / name)
