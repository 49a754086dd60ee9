"""Piece streams: SplitMix64 per board and episode, and the two randomizers on top.

SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
generators"): a counter through a bijective mixer, so every state is a good one, 0
included, and streams with different seeds are unrelated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import inlined, kernel
from mltetris_server.game.pieces import PIECES

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


@inlined
def mix(value: np.uint64) -> np.uint64:
    """SplitMix64's output function after one step: a bijection of uint64."""
    z = value + _GAMMA
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@inlined
def random_below(streams: NDArray[np.uint64], i: int, bound: int) -> int:
    """The next whole number of stream i, 0..bound-1; its bias is below bound / 2**32."""
    value = mix(streams[i, 1])
    streams[i, 1] += _GAMMA
    below: int = np.int64(((value >> _S32) * np.uint64(bound)) >> _S32)  # type: ignore[assignment]
    return below


@kernel
def start_stream(
    streams: NDArray[np.uint64], bags: NDArray[np.int64], i: int, episode: int
) -> None:
    """Start the piece stream of board i's game `episode`, with an empty bag."""
    streams[i, 1] = mix(streams[i, 0] ^ mix(np.uint64(episode)))
    bags[i, PIECES] = 0


@inlined
def draw_piece(
    streams: NDArray[np.uint64], bags: NDArray[np.int64], i: int, randomizer: int
) -> int:
    """The next piece, 1..7, of stream i.

    Randomizer 0 (bag7) draws without replacement from a bag of all seven and refills
    it when it is empty; 1 (uniform) draws each piece alike.
    """
    if randomizer == 1:
        return 1 + random_below(streams, i, PIECES)
    left = bags[i, PIECES]
    if left == 0:
        for k in range(PIECES):
            bags[i, k] = k + 1
        left = PIECES
    # One step of a Fisher-Yates shuffle.
    chosen = random_below(streams, i, left)
    left -= 1
    piece: int = bags[i, chosen]
    bags[i, chosen] = bags[i, left]
    bags[i, left] = piece
    bags[i, PIECES] = left
    return piece
