"""Pieces and placements, three bytes each, on disk in the order they come, until the end."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mltetris_server.game.config import GameConfig
from mltetris_server.learning.simulation.blocks import Block, Part
from mltetris_server.learning.trajectories import TrajectoriesWriter


class Spool:
    """Keeps parts of games as they come and puts them in order at the end.

    Args:
        folder: For a file that vanishes with the spool.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        # Of each part: its game, where it lies, and its placements.
        self._parts = (array("q"), array("q"), array("q"))
        self._at = 0

    def add(self, block: Block, part: Part) -> None:
        """Keep a part; those of one game come in order."""
        if not part.placements:
            return
        rows = slice(part.start, part.start + part.placements)
        for rows_of in (block.log.pieces, block.log.next_pieces, block.log.actions):
            self._file.write(rows_of[rows].tobytes())
        for column, value in zip(self._parts, (part.game, self._at, part.placements), strict=True):
            column.append(value)
        self._at += 3 * part.placements

    def write(self, path: Path, game: GameConfig, ends: Iterable[tuple[bool, int]]) -> int:
        """Write the trajectories of all games in order; returns the file's bytes.

        Args:
            path: The file.
            game: What was played.
            ends: Of each game, in order, whether it was over, and its lines.
        """
        games, places, counts = (np.frombuffer(column, np.int64) for column in self._parts)
        order = np.lexsort((places, games))
        # Where the next part is of another game.
        lasts = np.append(games[order][1:] != games[order][:-1], True)
        remaining = iter(ends)
        with TrajectoriesWriter(self._folder, game) as writer:
            for part, last in zip(order, lasts, strict=True):
                count = int(counts[part])
                self._file.seek(int(places[part]))
                rows = np.frombuffer(self._file.read(3 * count), np.uint8).reshape(3, count)
                writer.add(*rows)
                if last:
                    over, lines = next(remaining)
                    writer.end_game(ended=over, lines=lines)
            return writer.finish(path)

    def close(self) -> None:
        """Forget everything."""
        self._file.close()
