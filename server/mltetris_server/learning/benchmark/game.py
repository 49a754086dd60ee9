"""One game of a benchmark, played a slice at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from mltetris_server.game.engine import Games, place
from mltetris_server.learning.kernels import Eye, play
from mltetris_server.learning.player import Player

NO_LIMIT = 2**62
"""Lines that no game reaches."""


def one_board(games: Games, board: int) -> Games:
    """A copy of one board of several games, as a `Games` of that board alone."""
    arrays = games._asdict()
    settings = arrays.pop("settings")
    return Games(
        settings=settings,
        **{name: array[board : board + 1].copy() for name, array in arrays.items()},
    )


@dataclass(frozen=True, slots=True)
class FinishedGame:
    """How a game ended."""

    player: int
    """Whose: the place in the list of players."""
    number: int
    """Which, from 1."""
    lines: int
    placements: int
    score: float
    cut_off: bool
    """Whether it reached the limit before it was over."""
    seconds: float
    """Processor time that it took."""
    all_placements: int
    """Placements made in all games by then."""


class BenchmarkGame:
    """A game of one player, for one thread.

    Args:
        player: who plays; several threads may share it.
        eye: scratch of this thread for this player.
        games: one board, at its first piece; it is played on.
        max_lines: lines after which the game is cut off, `NO_LIMIT`: never. It may end a few lines
            above: several may be cleared at once.
    """

    def __init__(self, player: Player, eye: Eye, games: Games, max_lines: int) -> None:
        self.games = games
        self.seconds = 0.0
        """Processor time spent on it so far."""
        self._player = player
        self._eye = eye
        self._max_lines = max_lines
        self._done = np.zeros(1, np.uint8)

    @property
    def done(self) -> bool:
        """Whether it is over or cut off."""
        return bool(self._done[0])

    @property
    def cut_off(self) -> bool:
        """Whether it reached the limit before it was over."""
        return self.done and not self.games.over[0]

    def advance(self, most: int) -> int:
        """Plays on for at most so many placements; returns how many were made."""
        begin = time.thread_time()
        if self._player.exploration:
            made = self._play_exploring(most)
        else:
            made = play(
                self.games, self._player.network, self._eye, self._done, self._max_lines, most
            )
        self.seconds += time.thread_time() - begin
        return int(made)

    def _play_exploring(self, most: int) -> int:
        """As the compiled `play`, for who does not always make the best placement."""
        games, made = self.games, 0
        while made < most and not self._done[0]:
            _, over = place(games, 0, self._player.choose_on(games, 0, self._eye))
            made += 1
            if over or games.lines[0] >= self._max_lines:
                self._done[0] = 1
        return made
