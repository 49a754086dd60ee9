"""How good a player is: greedy games on fixed pieces, to be played in slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mltetris_server.game.config import GameConfig
from mltetris_server.game.engine import new_games, place
from mltetris_server.learning.kernels import play
from mltetris_server.learning.player import Player


@dataclass(frozen=True)
class EvaluationResult:
    """How the games ended; lines a game throughout.

    Attributes:
        games: Games played.
        mean_lines: Mean; a lower bound where games were cut off.
        standard_error: Of the mean: the sample's standard deviation (n - 1) over the root of
            n; 0 for one game.
        median_lines: Median.
        worst_lines: Of the worst game.
        best_lines: Of the best game.
        cut_off_games: Games that were still going when they reached the limit.
        max_lines: The limit.
        placements: Placements made in all games together.
    """

    games: int
    mean_lines: float
    standard_error: float
    median_lines: float
    worst_lines: int
    best_lines: int
    cut_off_games: int
    max_lines: int
    placements: int


class GreedyEvaluation:
    """Games of one player as it plays best, each until its end or `max_lines`.

    Learners explore only while they learn; who plays at random by nature (`Player.exploration`)
    does so here, too.

    The result depends on the arguments alone, not on how the games are sliced.

    Args:
        player: Who plays; as it is now, whatever becomes of its learner.
        game: The game, full height.
        games: How many, at least 1.
        seed: Seed of the pieces, 0..2**64-1; the same seed gives the same games.
        max_lines: Lines after which a game is cut off, at least 1. A game may end a few lines
            above: several lines may be cleared at once.

    Raises:
        ValueError: an argument is out of range, or the player cannot play this game.
    """

    def __init__(
        self, player: Player, game: GameConfig, games: int, seed: int, max_lines: int
    ) -> None:
        if max_lines < 1:
            raise ValueError(f"max_lines must be at least 1, not {max_lines}")
        # An eye of its own: the player may be in use elsewhere between two slices.
        self._player = Player(
            player.network, player.features, player.fatal_value, player.exploration
        )
        self._eye = self._player.eye(game)
        self._games = new_games(game, games, seed)
        self._done = np.zeros(games, np.uint8)
        self._max_lines = max_lines
        self._placements = 0

    @property
    def done(self) -> bool:
        """Whether all games have ended."""
        return bool(self._done.all())

    def advance(self, max_placements: int) -> bool:
        """Play on for at most so many placements; returns whether all games are done."""
        if self._player.exploration:
            self._placements += self._play_at_random(max_placements)
            return self.done
        self._placements += play(
            self._games,
            self._player.network,
            self._eye,
            self._done,
            self._max_lines,
            max_placements,
        )
        return self.done

    def _play_at_random(self, budget: int) -> int:
        """As the kernel `play`, for who does not always make the best placement."""
        games, made = self._games, 0
        for i in range(games.lines.size):
            while not self._done[i]:
                if made >= budget:
                    return made
                _, over = place(games, i, self._player.choose_on(games, i, self._eye))
                made += 1
                if over or games.lines[i] >= self._max_lines:
                    self._done[i] = 1
        return made

    def run(self) -> EvaluationResult:
        """Play everything that is left and return the result."""
        self.advance(2**62)
        return self.result()

    def result(self) -> EvaluationResult:
        """How the games ended.

        Raises:
            ValueError: they have not all ended yet.
        """
        if not self.done:
            raise ValueError("the games have not all ended yet")
        lines, games = self._games.lines, self._games.lines.size
        deviation = float(lines.std(ddof=1)) if games > 1 else 0.0
        return EvaluationResult(
            games=games,
            mean_lines=float(lines.mean()),
            standard_error=deviation / games**0.5,
            median_lines=float(np.median(lines)),
            worst_lines=int(lines.min()),
            best_lines=int(lines.max()),
            cut_off_games=int((self._games.over == 0).sum()),
            max_lines=self._max_lines,
            placements=self._placements,
        )
