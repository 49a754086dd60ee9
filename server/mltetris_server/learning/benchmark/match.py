"""Games of several players on the same pieces, spread over threads.

Game k of every player gets board k - 1 of `new_games`, and a game depends on nothing but its player
and its board. So the results are the same to the game whatever the number of threads, and however
the games are sliced.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from mltetris_server.game.config import GameConfig
from mltetris_server.game.engine import Games, new_games
from mltetris_server.learning.benchmark.game import (
    NO_LIMIT,
    BenchmarkGame,
    FinishedGame,
    one_board,
)
from mltetris_server.learning.player import Player, make_eye

SLICE_SECONDS = 0.008
"""How long a slice should take: short enough that nobody waits for its end."""
_FIRST_SLICE = 500
_LEAST_SLICE, _MOST_SLICE = 20, 1_000_000


class Match:
    """Every player's games, in the order of their numbers: all players' first ones first.

    It begins held. Threads take the next game as soon as they have none, so that no core idles
    while there is one. All methods are for one thread, the owner's.

    Args:
        players: who plays, at least one.
        config: the game.
        games: games each player plays, at least 1.
        seed: seed of the pieces, 0..2**64-1.
        max_lines: lines after which a game is cut off; None: never.
        threads: games played at once, at least 1.

    Raises:
        ValueError: an argument is out of range, or a player cannot play this game.
    """

    def __init__(
        self,
        players: Sequence[Player],
        config: GameConfig,
        games: int,
        seed: int,
        *,
        max_lines: int | None,
        threads: int,
    ) -> None:
        for player in players:
            if not player.plays(config):
                raise ValueError(f"a player of {player.features} features cannot play {config}")
        self.config = config
        self.games = games
        self._players = tuple(players)
        self._max_lines = NO_LIMIT if max_lines is None else max_lines
        self._boards = new_games(config, games, seed)
        self._changed = threading.Condition()
        self._held = True
        self._ending = False
        self._busy = 0
        """Threads in the middle of a slice."""
        self._begun = 0
        """Games that some thread has taken."""
        self._placements = 0
        self._finished = 0
        self._news: list[FinishedGame] = []
        self._views: dict[int, tuple[int, Games]] = {}
        self._error: BaseException | None = None
        count = min(threads, self.total)
        self._threads = [
            threading.Thread(target=self._work, name=f"games-{i}", daemon=True)
            for i in range(count)
        ]
        self._started = False

    @property
    def total(self) -> int:
        """Games of all players together."""
        return len(self._players) * self.games

    @property
    def finished(self) -> int:
        """Games that have ended."""
        return self._finished

    @property
    def over(self) -> bool:
        """Whether all have."""
        return self._finished == self.total

    @property
    def placements(self) -> int:
        """Placements made in all games, those still going included."""
        return self._placements

    def load(self) -> None:
        """Makes a placement of each player that nobody sees, so that compiled code is loaded."""
        for player in self._players:
            eye = make_eye(player.features, self.config.width, player.fatal_value)
            BenchmarkGame(player, eye, one_board(self._boards, 0), NO_LIMIT).advance(1)

    def go_on(self) -> None:
        """Lets the games go on."""
        with self._changed:
            self._held = False
            self._changed.notify_all()
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()

    def hold(self) -> None:
        """Holds all games; when it returns, nobody plays."""
        with self._changed:
            self._held = True
            self._changed.wait_for(lambda: self._busy == 0)

    def close(self) -> None:
        """Ends the threads; games still going are given up."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def take(self) -> list[FinishedGame]:
        """Games that have ended since the last time.

        Raises:
            Exception: what ended one of the threads.
        """
        with self._changed:
            if self._error is not None:
                raise self._error
            news, self._news = self._news, []
        return news

    def view(self, player: int) -> tuple[int, Games] | None:
        """A player's game that was played on last, and its number; None: it has not played yet.

        The board is a copy; nobody plays on it.
        """
        with self._changed:
            return self._views.get(player)

    def _work(self) -> None:
        playing = False
        try:
            eyes = [make_eye(p.features, self.config.width, p.fatal_value) for p in self._players]
            sizes = [_FIRST_SLICE] * len(self._players)
            while (taken := self._next()) is not None:
                player, board = taken
                game = BenchmarkGame(
                    self._players[player],
                    eyes[player],
                    one_board(self._boards, board),
                    self._max_lines,
                )
                while not game.done:
                    if not self._begin_slice():
                        return
                    playing = True
                    begin = time.perf_counter()
                    made = game.advance(sizes[player])
                    took = time.perf_counter() - begin
                    self._end_slice(player, board, game, made)
                    playing = False
                    if not game.done:
                        sizes[player] = _fitting(sizes[player], took)
        except BaseException as error:  # noqa: BLE001 - told to the owner, by `take`
            with self._changed:
                self._error = error
                self._busy -= playing
                self._changed.notify_all()

    def _next(self) -> tuple[int, int] | None:
        """The next game: whose, and on which board; None: there is none left."""
        with self._changed:
            if self._ending or self._begun == self.total:
                return None
            board, player = divmod(self._begun, len(self._players))
            self._begun += 1
            return player, board

    def _begin_slice(self) -> bool:
        """Waits until the games may go on; False: they are to end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._ending)
            if self._ending:
                return False
            self._busy += 1
            return True

    def _end_slice(self, player: int, board: int, game: BenchmarkGame, made: int) -> None:
        view = one_board(game.games, 0)
        with self._changed:
            self._busy -= 1
            self._placements += made
            self._views[player] = (board + 1, view)
            if game.done:
                self._finished += 1
                self._news.append(
                    FinishedGame(
                        player=player,
                        number=board + 1,
                        lines=int(view.lines[0]),
                        placements=int(view.placements[0]),
                        score=float(view.score[0]),
                        cut_off=game.cut_off,
                        seconds=game.seconds,
                        all_placements=self._placements,
                    )
                )
            if self._held and self._busy == 0:
                self._changed.notify_all()


def _fitting(size: int, took: float) -> int:
    """Placements of the next slice, half way from `size` to what would have fitted."""
    fitting = size * SLICE_SECONDS / max(took, 1e-6)
    return max(_LEAST_SLICE, min(_MOST_SLICE, round((size + fitting) / 2)))
