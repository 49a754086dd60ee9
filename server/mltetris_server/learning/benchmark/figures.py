"""What the games of a benchmark add up to: figures of each player, and pairs compared.

The difference of two players is measured on pairs of games with the same pieces. Its confidence
interval is the percentile bootstrap over pairs (Efron 1979, "Bootstrap Methods: Another Look at the
Jackknife", Annals of Statistics 7; Efron & Tibshirani 1993, "An Introduction to the Bootstrap",
chapter 13): 10,000 resamples of the pairs (fewer beyond 30,000 games, where the interval has long
settled), drawn with a fixed seed, so that the same games give the same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mltetris_server.learning.benchmark.game import NO_LIMIT, FinishedGame

RESAMPLES: Final = 10_000
CONFIDENCE: Final = 0.95
_SEED: Final = 0
_MOST_DRAWS: Final = 300_000_000
"""Pairs drawn in all resamples together: what bounds the time, to some seconds."""
_MOST_DRAWN: Final = 1 << 20
"""Pairs drawn at once: what bounds the memory, to some 32 MiB."""

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PlayerFigures:
    """How one player did; every number is 0 without games.

    Attributes:
        games: Games that ended or were cut off.
        mean_lines: Mean lines a game.
        standard_error: Of that mean: the sample's deviation (n - 1) over the root of n; 0 for one.
        median_lines: Median.
        worst_lines: Of the worst game.
        best_lines: Of the best game.
        cut_off_games: Games that reached the limit before they were over.
        placements: Of these games together.
        placements_per_second: Of one core, while it played.
        score: Mean score a game.
        score_error: Standard error of that.
    """

    games: int = 0
    mean_lines: float = 0.0
    standard_error: float = 0.0
    median_lines: float = 0.0
    worst_lines: int = 0
    best_lines: int = 0
    cut_off_games: int = 0
    placements: int = 0
    placements_per_second: float = 0.0
    score: float = 0.0
    score_error: float = 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """How two players compare over the games that both have played, in scores.

    Attributes:
        first: Place of the first player.
        second: Place of the second.
        mean: Mean of the first's score less the second's.
        low: Lower end of its 95 % confidence interval.
        high: Upper end of it.
        games: Pairs of games.
        wins: Pairs in which the first had the greater score.
        ties: Pairs in which both had the same.
    """

    first: int
    second: int
    mean: float = 0.0
    low: float = 0.0
    high: float = 0.0
    games: int = 0
    wins: int = 0
    ties: int = 0


class Tally:
    """The finished games of all players.

    Args:
        players: how many.
        games: games of each.
        score: what a game scores: its lines, those beyond the limit not counted, for a game that
            clears several at once is not the better for it; or, of a sprint to the limit, the
            placements that it needs at least as a share of those made, 0..1, and 0 where the game
            ended before.
        max_lines: the limit, at least 1; None: there is none. A sprint has one.
        width: columns: a line has so many cells, a piece four.
    """

    def __init__(
        self,
        players: int,
        games: int,
        *,
        score: Literal["mean_lines", "sprint_efficiency"] = "mean_lines",
        max_lines: int | None = None,
        width: int = 10,
    ) -> None:
        shape = (players, games)
        self._players = players
        self._sprint = score == "sprint_efficiency"
        self._max_lines = NO_LIMIT if max_lines is None else max_lines
        self._needed = self._max_lines * width / 4
        self._played = np.zeros(shape, bool)
        self._lines = np.zeros(shape, np.int64)
        self._placements = np.zeros(shape, np.int64)
        self._cut_off = np.zeros(shape, bool)
        self._seconds = np.zeros(players)

    @property
    def best_lines(self) -> int:
        """Most lines in one game so far."""
        return int(self._lines.max())

    def add(self, games: Iterable[FinishedGame]) -> None:
        """Takes in games that have ended."""
        for game in games:
            at = (game.player, game.number - 1)
            self._played[at] = True
            self._lines[at] = game.lines
            self._placements[at] = game.placements
            self._cut_off[at] = game.cut_off
            self._seconds[game.player] += game.seconds

    def player(self, player: int) -> PlayerFigures:
        """How one player did so far."""
        played = self._played[player]
        games = int(played.sum())
        if not games:
            return PlayerFigures()
        lines = self._lines[player, played]
        scores = self._scores(player)[played]
        placements = int(self._placements[player, played].sum())
        seconds = float(self._seconds[player])
        return PlayerFigures(
            games=games,
            mean_lines=float(lines.mean()),
            standard_error=_standard_error(lines),
            median_lines=float(np.median(lines)),
            worst_lines=int(lines.min()),
            best_lines=int(lines.max()),
            cut_off_games=int(self._cut_off[player].sum()),
            placements=placements,
            placements_per_second=placements / seconds if seconds > 0 else 0.0,
            score=float(scores.mean()),
            score_error=_standard_error(scores),
        )

    def differences(self, between: Callable[[], None] = lambda: None) -> list[Difference]:
        """Every two players, in the order of the list.

        Args:
            between: called every few milliseconds, for this may take a while.
        """
        scores = np.array([self._scores(player) for player in range(self._players)])
        pairs = list(combinations(range(self._players), 2))
        # Pairs of the same games share their resamples.
        alike: dict[bytes, list[int]] = {}
        for number, (first, second) in enumerate(pairs):
            common = self._played[first] & self._played[second]
            alike.setdefault(common.tobytes(), []).append(number)
        found: dict[int, Difference] = {}
        for key, numbers in alike.items():
            common = np.frombuffer(key, bool)
            games = int(common.sum())
            if not games:
                found.update((number, Difference(*pairs[number])) for number in numbers)
                continue
            less = np.stack(
                [(scores[pairs[n][0]] - scores[pairs[n][1]])[common] for n in numbers], axis=1
            )
            low, high = bootstrap_intervals(less, between)
            for k, number in enumerate(numbers):
                found[number] = Difference(
                    *pairs[number],
                    mean=float(less[:, k].mean()),
                    low=float(low[k]),
                    high=float(high[k]),
                    games=games,
                    wins=int((less[:, k] > 0).sum()),
                    ties=int((less[:, k] == 0).sum()),
                )
        return [found[number] for number in range(len(pairs))]

    def _scores(self, player: int) -> Scores:
        """float64[games]: the score of every game; of those not played of no meaning."""
        if not self._sprint:
            lines: Scores = np.minimum(self._lines[player], self._max_lines).astype(np.float64)
            return lines
        shares = self._needed / np.maximum(self._placements[player], 1)
        scores: Scores = shares * (self._lines[player] >= self._max_lines)
        return scores


def bootstrap_intervals(
    samples: Scores, between: Callable[[], None] = lambda: None
) -> tuple[Scores, Scores]:
    """95 % percentile bootstrap confidence intervals of some means.

    Args:
        samples: float64[n, k]: n observations of k quantities, n at least 1; an observation is
            resampled as a whole.
        between: called after every part of the work.

    Returns:
        The lower and the upper ends, float64[k] each.
    """
    n = samples.shape[0]
    resamples = min(RESAMPLES, max(1, _MOST_DRAWS // n))
    random = np.random.default_rng(_SEED)
    means = np.empty((resamples, samples.shape[1]))
    at_once = max(1, _MOST_DRAWN // n)
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        drawn = random.integers(0, n, (count, n)) + n * np.arange(count)[:, None]
        # How often each observation is drawn: a product of matrices, and no gathering.
        times = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
        means[start : start + count] = times.astype(np.float64) @ samples / n
        between()
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return low, high


def _standard_error(values: NDArray[np.generic]) -> float:
    return float(values.std(ddof=1)) / values.size**0.5 if values.size > 1 else 0.0
