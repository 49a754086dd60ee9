"""What of a dataset is learnt from: whole games, or the beginnings of games from all over it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.learning.trajectories import Trajectories
from mltetris_server.learning.warm_start.kernels import CUT, ENDED, FIRST, Tape

LEAST_BEGINNING = 500
"""Placements that a game which is cut has at least: fewer show little more than an empty board."""

_CHOICE = 0x7A9E_5EED
"""Tells the choice of games from all other random numbers of the same seed."""


def cut(trajectories: Trajectories, max_placements: int, seed: int) -> Tape:
    """At most so many placements: all games as long as they are, where that is enough.

    Else every game counts with its beginning, all equally long but for those that are shorter, or,
    where the beginnings would be short, a random choice of games. The games come in random order.

    Args:
        trajectories: To choose from.
        max_placements: At least 1.
        seed: Of the choice.
    """
    lengths = trajectories.lengths
    most = max(LEAST_BEGINNING, _level(lengths, max_placements))
    order = np.random.default_rng([_CHOICE, seed]).permutation(lengths.size)
    taken = np.minimum(lengths[order], most)
    ends = np.cumsum(taken)
    games = min(int(np.searchsorted(ends, max_placements)) + 1, order.size)
    order, taken = order[:games], taken[:games].copy()
    taken[-1] -= max(0, int(ends[games - 1]) - max_placements)
    return _copy(trajectories, order, taken)


def _level(lengths: NDArray[np.int64], total: int) -> int:
    """The greatest length to which all games may be cut so that they are `total` together."""
    ordered = np.sort(lengths)
    shorter = np.concatenate(([0], np.cumsum(ordered)[:-1]))
    # With all games from the k-th on cut to the same length.
    rest = np.arange(ordered.size, 0, -1)
    levels = (total - shorter) // rest
    fits = levels <= ordered
    return int(levels[np.argmax(fits)]) if fits.any() else int(ordered[-1])


def _copy(trajectories: Trajectories, games: NDArray[np.int64], taken: NDArray[np.int64]) -> Tape:
    ends = np.cumsum(taken)
    begins = ends - taken
    marks = np.zeros(int(ends[-1]), np.uint8)
    whole = taken == trajectories.lengths[games]
    over = whole & (trajectories.ended[games] == 1)
    marks[begins] |= FIRST
    marks[ends - 1] |= np.where(over, ENDED, CUT).astype(np.uint8)
    pieces, next_pieces, actions = (np.zeros(marks.size, np.uint8) for _ in range(3))
    columns = (
        (pieces, trajectories.pieces),
        (next_pieces, trajectories.next_pieces),
        (actions, trajectories.actions),
    )
    for game, begin, count in zip(games.tolist(), begins.tolist(), taken.tolist(), strict=True):
        start = int(trajectories.starts[game])
        for column, source in columns:
            column[begin : begin + count] = source[start : start + count]
    return Tape(pieces, next_pieces, actions, marks)
