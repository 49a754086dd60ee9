"""The columns of an episode in a Minari dataset, and how they are packed.

A long game is written chunk by chunk, compressed as HDF5's own shuffle and deflate filters do it,
but by the threads that play: HDF5 itself works on one thread at a time.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.config import FeatureSet, GameConfig, n_features
from mltetris_server.learning.simulation.blocks import Block, Part

DEFLATE = 1
"""zlib's level."""
PLAIN_BYTES = 4096
"""Columns of whole games up to this size are written as they are: packing them saves less than it
costs."""


@dataclass(frozen=True)
class Column:
    """One column of an episode.

    Attributes:
        name: Its path in the episode's group.
        dtype: Type of its numbers.
        shape: Shape of one row.
        of_states: Whether it has a row for each state, one more than placements.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    of_states: bool


def columns_of(observed: FeatureSet, game: GameConfig) -> list[Column]:
    """The columns, in the order in which they are written.

    Whole numbers have the type of gymnasium's Discrete, so that they can be indices everywhere.
    """
    whole = np.dtype(np.int64)
    if observed is FeatureSet.BOARD:
        first = Column("observations/board", np.dtype(np.uint8), (game.height, game.width), True)
    else:
        shape = (n_features(observed, game.width),)
        first = Column("observations/features", np.dtype(np.float32), shape, True)
    return [
        first,
        Column("observations/piece", whole, (), True),
        Column("observations/next_piece", whole, (), True),
        Column("actions", whole, (), False),
        Column("rewards", np.dtype(np.float32), (), False),
        Column("terminations", np.dtype(np.bool_), (), False),
        Column("truncations", np.dtype(np.bool_), (), False),
    ]


def rows_of(column: Column, block: Block, part: Part) -> NDArray[Any]:
    """A column's rows of a part."""
    count = part.states if column.of_states else part.placements
    if column.name in ("terminations", "truncations"):
        rows = np.zeros(count, np.bool_)
        ends = part.over if column.name == "terminations" else part.cut_off
        if ends and count:
            rows[-1] = True
        return rows
    sources: dict[str, NDArray[Any]] = {
        "observations/board": block.log.cells,
        "observations/features": block.log.features,
        "observations/piece": block.log.pieces,
        "observations/next_piece": block.log.next_pieces,
        "actions": block.log.actions,
        "rewards": block.log.rewards,
    }
    taken = sources[column.name][part.start : part.start + count].astype(column.dtype, copy=False)
    return taken.reshape(count, *column.shape)


def is_plain(column: Column, part: Part) -> bool:
    """Whether a part is a whole game whose column is written as it is."""
    row = column.dtype.itemsize * math.prod(column.shape)
    return part.before == 0 and part.last and part.states * row <= PLAIN_BYTES


def pack_parts(block: Block, columns: list[Column]) -> None:
    """Pack what is not plain. By the thread that played: it takes a quarter of the time of play."""
    for place, part in enumerate(block.parts):
        block.packed[place] = {
            column.name: _chunks(rows_of(column, block, part), chunk_rows(column, block, part))
            for column in columns
            if not is_plain(column, part)
        }


def chunk_rows(column: Column, block: Block, part: Part) -> int:
    """Rows of a chunk of a part's game: all of it, or where it is longer those of a block."""
    if part.before == 0 and part.last:
        return min(part.states if column.of_states else part.placements, block.rows)
    return block.rows


def _chunks(rows: NDArray[Any], length: int) -> list[bytes]:
    """Rows as HDF5's filters leave them, the last chunk filled up with zeros."""
    return [_deflate(rows[start : start + length], length) for start in range(0, len(rows), length)]


def _deflate(rows: NDArray[Any], length: int) -> bytes:
    if len(rows) < length:
        rows = np.concatenate([rows, np.zeros((length - len(rows), *rows.shape[1:]), rows.dtype)])
    flat = np.ascontiguousarray(rows)
    if flat.itemsize > 1:
        # HDF5's shuffle: the first bytes of all numbers, then the second ones, and so on.
        flat = np.ascontiguousarray(flat.view(np.uint8).reshape(-1, flat.itemsize).T)
    # Runs of one byte are what shuffling makes; looking for anything else takes longer than it
    # saves.
    packer = zlib.compressobj(DEFLATE, strategy=zlib.Z_RLE)
    return packer.compress(flat.data) + packer.flush()
