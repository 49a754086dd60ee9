"""The placements of many games in one safetensors file: what a training learns from.

Pieces and placements are all that is kept. The boards follow from them, so a file takes three bytes
a placement and serves every feature set.

    with TrajectoriesWriter(folder, game) as writer:
        writer.add(pieces, next_pieces, actions)    # some placements of a game, in order
        writer.end_game(ended=True, lines=12)
        writer.finish(folder / FILE)
    trajectories = load(folder / FILE)
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mltetris_server.game.config import GameConfig
from mltetris_server.game.pieces import PIECES

FILE: Final = "trajectories.safetensors"
"""The file's name in a dataset."""
VERSION: Final = "1"

MAX_HEADER_BYTES: Final = 4096
_TYPES: Final[Mapping[str, tuple[str, Any]]] = {
    "starts": ("I64", np.dtype("<i8")),
    "lines": ("I64", np.dtype("<i8")),
    "pieces": ("U8", np.dtype("u1")),
    "next_pieces": ("U8", np.dtype("u1")),
    "actions": ("U8", np.dtype("u1")),
    "ended": ("U8", np.dtype("u1")),
}
"""The tensors in the order of the file: those that want alignment first."""
_OF_GAMES: Final = ("starts", "lines", "ended")
_BLOCK: Final = 1 << 20
"""Placements looked at together while a file is checked: it may be larger than memory."""


class TrajectoriesError(ValueError):
    """Trajectories are not what they should be; the message names the tensor or the metadata.

    Attributes:
        field: Its name.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


@dataclass(frozen=True)
class Trajectories:
    """T placements of G games, one game after the other, each from its empty board.

    Attributes:
        game: What was played.
        pieces: uint8[T]: the pieces placed, 1..7 = I O T S Z J L.
        next_pieces: uint8[T]: those that came after them; within a game the next one placed.
        actions: uint8[T]: what was done with them, column * 4 + rotation.
        starts: int64[G]: index of each game's first placement, ascending from 0.
        ended: uint8[G]: 1: the game was over with its last placement; 0: it was cut off.
        lines: int64[G]: lines cleared in each game.

    Raises:
        TrajectoriesError: an array has another type or shape, or a value out of range.
    """

    game: GameConfig
    pieces: NDArray[np.uint8]
    next_pieces: NDArray[np.uint8]
    actions: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ended: NDArray[np.uint8]
    lines: NDArray[np.int64]

    def __post_init__(self) -> None:
        sizes = {name: self._size(name) for name in _TYPES}
        for name, size in sizes.items():
            leader = "starts" if name in _OF_GAMES else "pieces"
            if size != sizes[leader]:
                raise TrajectoriesError(name, f"has {size} entries, {leader} {sizes[leader]}")
        if not self.placements or not self.games:
            raise TrajectoriesError("pieces" if self.games else "starts", "is empty")
        self._check_games()
        for first in range(0, self.placements, _BLOCK):
            self._check_placements(first, min(first + _BLOCK, self.placements))

    @property
    def placements(self) -> int:
        """T."""
        return int(self.pieces.size)

    @property
    def games(self) -> int:
        """G."""
        return int(self.starts.size)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64[G]: placements of each game."""
        return np.diff(self.starts, append=self.placements)

    def dump(self) -> bytes:
        """The file; `TrajectoriesWriter` writes ones that are larger than memory."""
        out = io.BytesIO()
        out.write(_header(self.game, self.placements, self.games))
        for name, (_, kind) in _TYPES.items():
            out.write(np.ascontiguousarray(getattr(self, name), kind).tobytes())
        return out.getvalue()

    def _size(self, name: str) -> int:
        values = getattr(self, name)
        if values.dtype != _TYPES[name][1] or values.ndim != 1:
            raise TrajectoriesError(
                name, f"must be {_TYPES[name][1].name}[n], not {values.dtype}{list(values.shape)}"
            )
        return int(values.size)

    def _check_games(self) -> None:
        if self.starts[0] != 0 or (np.diff(self.starts) <= 0).any():
            raise TrajectoriesError("starts", "must ascend from 0: no game is without placements")
        if self.starts[-1] >= self.placements:
            raise TrajectoriesError("starts", f"must be below {self.placements}")
        if self.ended.max() > 1:
            raise TrajectoriesError("ended", "must be 0 or 1")
        if self.lines.min() < 0:
            raise TrajectoriesError("lines", "must not be negative")

    def _check_placements(self, first: int, last: int) -> None:
        for name in ("pieces", "next_pieces"):
            values = getattr(self, name)[first:last]
            if values.min() < 1 or values.max() > PIECES:
                raise TrajectoriesError(name, f"must be 1..{PIECES}")
        if self.actions[first:last].max() >= self.game.actions:
            raise TrajectoriesError("actions", f"must be below {self.game.actions}")
        ends = min(last, self.placements - 1)
        wrong = self.next_pieces[first:ends] != self.pieces[first + 1 : ends + 1]
        # Between two games there is no such bond.
        low, high = np.searchsorted(self.starts, [first + 1, ends + 1])
        wrong[self.starts[low:high] - 1 - first] = False
        if wrong.any():
            where = first + int(np.argmax(wrong))
            raise TrajectoriesError("next_pieces", f"[{where}] is not the piece placed next")


class TrajectoriesWriter:
    """Writes trajectories game by game; only what is not on disk yet is in memory.

    Args:
        folder: For files that are in the making; they vanish with the writer.
        game: What is played.
    """

    def __init__(self, folder: Path, game: GameConfig) -> None:
        self._game = game
        self._columns: dict[str, IO[bytes]] = {
            name: tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by `close`
            for name in _TYPES
        }
        self._begun = False
        self.placements = 0
        """Placements added."""
        self.games = 0
        """Games begun."""

    def __enter__(self) -> TrajectoriesWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, pieces: ArrayLike, next_pieces: ArrayLike, actions: ArrayLike) -> None:
        """Some more placements of the game being played; the first ones begin a new game.

        Args:
            pieces: [n]: the pieces placed, 1..7.
            next_pieces: [n]: those after them.
            actions: [n]: column * 4 + rotation.

        Raises:
            ValueError: they are not equally many.
        """
        columns = {"pieces": pieces, "next_pieces": next_pieces, "actions": actions}
        values = {name: np.ascontiguousarray(column, np.uint8) for name, column in columns.items()}
        count = values["pieces"].size
        if any(column.shape != (count,) for column in values.values()):
            raise ValueError("pieces, next_pieces and actions must be equally many")
        if not count:
            return
        if not self._begun:
            self._begun = True
            self.games += 1
            self._columns["starts"].write(array("q", [self.placements]).tobytes())
        for name, column in values.items():
            self._columns[name].write(column.tobytes())
        self.placements += count

    def end_game(self, *, ended: bool, lines: int) -> None:
        """The game's end; nothing happens where no placement was added since the last one.

        Args:
            ended: Whether it was over with its last placement; else it is cut off here.
            lines: Lines cleared in it.
        """
        if not self._begun:
            return
        self._begun = False
        self._columns["lines"].write(array("q", [lines]).tobytes())
        self._columns["ended"].write(bytes([ended]))

    def finish(self, path: Path) -> int:
        """Write the file; returns its bytes.

        Raises:
            TrajectoriesError: there is no game, or one has not been ended.
        """
        if not self.games:
            raise TrajectoriesError("starts", "is empty")
        if self._begun:
            raise TrajectoriesError("ended", "the last game has not been ended")
        with path.open("wb") as out:
            out.write(_header(self._game, self.placements, self.games))
            for column in self._columns.values():
                column.seek(0)
                shutil.copyfileobj(column, out, _BLOCK)
                column.seek(0, io.SEEK_END)
            return out.tell()

    def close(self) -> None:
        """Forget what is in the making."""
        for column in self._columns.values():
            column.close()


def load(source: bytes | Path) -> Trajectories:
    """Trajectories, every part of them checked.

    Args:
        source: The file's bytes, or where it is: then its placements are mapped, not read.

    Raises:
        TrajectoriesError: it is damaged, or holds what cannot be.
        OSError: it cannot be read.
    """
    content: NDArray[np.uint8]
    if isinstance(source, Path):
        if not source.stat().st_size:
            raise TrajectoriesError(FILE, "is empty")
        content = np.memmap(source, np.uint8, "r")
    else:
        content = np.frombuffer(source, np.uint8)
    header, data = _split(content)
    game = _game(header.pop("__metadata__", None))
    if header.keys() != _TYPES.keys():
        raise TrajectoriesError(FILE, f"must hold {', '.join(_TYPES)} and nothing else")
    tensors = {name: _tensor(name, header[name], data) for name in _TYPES}
    if sum(tensor.nbytes for tensor in tensors.values()) != data.size:
        raise TrajectoriesError(FILE, "its tensors overlap, or leave a hole")
    return Trajectories(game, **tensors)


def _header(game: GameConfig, placements: int, games: int) -> bytes:
    """What stands before the tensors: https://huggingface.co/docs/safetensors/index#format."""
    fields: dict[str, Any] = {
        "__metadata__": {
            "version": VERSION,
            "width": str(game.width),
            "height": str(game.height),
            "rule": str(game.rule),
            "randomizer": str(game.randomizer),
        }
    }
    begin = 0
    for name, (code, kind) in _TYPES.items():
        count = games if name in _OF_GAMES else placements
        end = begin + count * kind.itemsize
        fields[name] = {"dtype": code, "shape": [count], "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(fields).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _split(content: NDArray[np.uint8]) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """The header, and the bytes of the tensors."""
    length = int.from_bytes(content[:8].tobytes(), "little")
    if content.size < 8 or not 0 < length <= min(MAX_HEADER_BYTES, content.size - 8):
        raise TrajectoriesError(FILE, "is cut off, or not a safetensors file of trajectories")
    try:
        header = json.loads(content[8 : 8 + length].tobytes())
    except (ValueError, RecursionError) as error:
        raise TrajectoriesError(FILE, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise TrajectoriesError(FILE, "its header is not a JSON object")
    return header, content[8 + length :]


def _game(metadata: Any) -> GameConfig:
    names = ("width", "height", "rule", "randomizer")
    if not isinstance(metadata, dict) or metadata.get("version") != VERSION:
        raise TrajectoriesError("version", f"must be {VERSION}")
    for name in names:
        if not isinstance(metadata.get(name), str):
            raise TrajectoriesError(name, "is missing")
    try:
        width, height = (int(metadata[name]) for name in names[:2])
        return GameConfig(width, height, metadata["rule"], metadata["randomizer"])
    except ValueError as error:
        raise TrajectoriesError("__metadata__", str(error)) from error


def _tensor(name: str, entry: Any, data: NDArray[np.uint8]) -> NDArray[Any]:
    """A tensor's values; those of games are copied, those of placements only looked at."""
    code, kind = _TYPES[name]
    if not isinstance(entry, dict) or entry.get("dtype") != code:
        raise TrajectoriesError(name, f"must be {code}")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not _counts(shape, 1) or not _counts(offsets, 2):
        raise TrajectoriesError(name, "must have one dimension, and a beginning and an end")
    begin, end = offsets
    if not begin <= end <= data.size or end - begin != shape[0] * kind.itemsize:
        raise TrajectoriesError(name, "its shape and its place do not agree")
    if name in _OF_GAMES:
        return np.frombuffer(data[begin:end].tobytes(), kind).astype(kind.newbyteorder("="))
    return data[begin:end]


def _counts(values: Any, length: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == length
        and all(type(value) is int and value >= 0 for value in values)
    )
