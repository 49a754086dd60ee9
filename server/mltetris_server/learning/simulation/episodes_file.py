"""`main_data.hdf5` of a Minari dataset, written while the games are played.

Minari's own writer makes lists of everything and an object of h5py for each number; this one uses
h5py's low-level calls, as tens of thousands of short games have nine objects each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5p, h5s, h5t

from mltetris_server.learning.simulation.blocks import Block, Part
from mltetris_server.learning.simulation.columns import (
    DEFLATE,
    Column,
    chunk_rows,
    is_plain,
    rows_of,
)

_SCALAR = h5s.create(h5s.SCALAR)


class EpisodesFile:
    """Groups `episode_0`, `episode_1` and so on, while it is written by the games' numbers.

    Args:
        path: The file to make.
        columns: What each has.
        seed: Seed of all games.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, columns: list[Column], seed: int) -> None:
        # A group of the older format takes some kilobytes, one of HDF5 1.10 its members only.
        self._file = h5py.File(path, "w", libver=("v110", "v110"))
        self._columns = columns
        self._types = {column.name: h5t.py_create(column.dtype, logical=True) for column in columns}
        self._seed = np.uint64(seed)
        self._compact = h5p.create(h5p.DATASET_CREATE)
        self._compact.set_layout(h5d.COMPACT)

    def add(self, block: Block, place: int) -> None:
        """Write a part of a block, whose game's other parts came in order."""
        part = block.parts[place]
        name = _name(part.game)
        if part.before:
            group = h5g.open(self._file.id, name)
        else:
            group = h5g.create(self._file.id, name)
            h5g.create(group, b"observations")
            # Without one, Minari cannot print the episode.
            h5g.create(group, b"infos")
        for column in self._columns:
            if is_plain(column, part):
                self._write_plain(group, column, block, part)
            else:
                self._write_packed(group, column, block, place)
        if part.cut_off and not part.placements:
            # It was cut off between two blocks.
            truncations = self._file[name.decode()]["truncations"]
            truncations[part.before - 1] = True
        if part.last:
            _describe(group, "id", np.int64(part.game))
            _describe(group, "total_steps", np.int64(part.before + part.placements))
            _describe(group, "seed", self._seed)
            _describe(group, "game", np.int64(part.game))
            _describe(group, "lines", np.int64(part.lines))
            _describe(group, "score", np.int64(part.score))

    def _write_plain(self, group: Any, column: Column, block: Block, part: Part) -> None:
        rows = np.ascontiguousarray(rows_of(column, block, part))
        space = h5s.create_simple(rows.shape)
        kind = self._types[column.name]
        # In the object's header.
        made = h5d.create(group, column.name.encode(), kind, space, self._compact)
        made.write(h5s.ALL, h5s.ALL, rows)

    def _write_packed(self, group: Any, column: Column, block: Block, place: int) -> None:
        part = block.parts[place]
        chunk = chunk_rows(column, block, part)
        count = part.states if column.of_states else part.placements
        after = (part.before + count, *column.shape)
        if part.before == 0:
            data = self._create_packed(group, column, after, chunk, growing=not part.last)
        else:
            data = h5d.open(group, column.name.encode())
            data.set_extent(after)
        rest = (0,) * len(column.shape)
        for k, packed in enumerate(block.packed[place][column.name]):
            data.write_direct_chunk((part.before + k * chunk, *rest), packed)

    def _create_packed(
        self, group: Any, column: Column, shape: tuple[int, ...], chunk: int, *, growing: bool
    ) -> Any:
        layout = h5p.create(h5p.DATASET_CREATE)
        layout.set_chunk((chunk, *column.shape))
        if column.dtype.itemsize > 1:
            layout.set_shuffle()
        layout.set_deflate(DEFLATE)
        most = (h5s.UNLIMITED, *column.shape) if growing else shape
        space = h5s.create_simple(shape, most)
        return h5d.create(group, column.name.encode(), self._types[column.name], space, layout)

    def renumber(self, games: list[int]) -> None:
        """Make episodes 0, 1, 2, ... of all games there are, in this rising order."""
        root = self._file.id
        for episode, game in enumerate(games):
            if episode != game:
                root.links.move(_name(game), root, _name(episode))
                group = h5g.open(root, _name(episode))
                h5a.open(group, b"id").write(np.array(episode, np.int64))

    def close(self) -> None:
        """Write what is left and close the file.

        Raises:
            OSError: there is no room for it.
        """
        self._file.close()


def _name(number: int) -> bytes:
    return b"episode_%d" % number


def _describe(group: Any, name: str, value: np.generic) -> None:
    kind = h5t.py_create(value.dtype)
    h5a.create(group, name.encode(), kind, _SCALAR).write(np.array(value))
