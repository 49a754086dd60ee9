"""Games played for an audience, on the same pieces: one board, or several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.v1.run_pb2 import Episode, RunView

from mltetris_server.game.config import GameConfig
from mltetris_server.game.display import ShownGame
from mltetris_server.worker.frames import Values, board_frame
from mltetris_server.worker.metrics import timestamp

_PIECES = ("pieces", "streams", "bags")
"""The fields of `Games` that decide which pieces a board gets."""


class Player(Protocol):
    """Whoever chooses placements."""

    def choose(self, game: ShownGame) -> int:
        """The action to make."""

    def values(self, game: ShownGame) -> Values:
        """The value of every action."""


@dataclass
class Seat:
    """One board of a race and who plays it."""

    player: Player
    name: str
    game: ShownGame
    finished: int = 0
    """Games played to their end."""
    best_lines: int = 0
    """Most lines in one of its games, the running one included."""


class Race:
    """Boards in lockstep: each round every board that is playing makes one placement.

    All boards get the same piece at the same time. With a number of games to play,
    game k is the same for all: nobody begins the next before all have ended this
    one. Without, a board whose game is over begins again at once, with the pieces
    the others are getting, so that no board stands still beside a better one.

    Args:
        players: who plays, with their names, by board.
        config: the game.
        seed: seed of the pieces.
        games: games each board is to play; 0: without end.
    """

    def __init__(
        self,
        players: Sequence[tuple[str, Player]],
        config: GameConfig,
        seed: int,
        games: int = 0,
    ) -> None:
        self.seats = [Seat(player, name, ShownGame(config, seed)) for name, player in players]
        self._games = games
        self.placements = 0
        """Placements made on all boards."""

    @property
    def finished(self) -> int:
        """Games played to their end, on all boards."""
        return sum(seat.finished for seat in self.seats)

    @property
    def over(self) -> bool:
        """Whether all games have been played."""
        return self._games > 0 and all(seat.finished >= self._games for seat in self.seats)

    @property
    def progress(self) -> float | None:
        """Share of the games played, 0..1; None without end."""
        return self.finished / (self._games * len(self.seats)) if self._games else None

    @property
    def best_lines(self) -> int:
        """Most lines in one game so far."""
        return max(seat.best_lines for seat in self.seats)

    def step(self) -> list[Episode]:
        """One round; returns the games that ended with it.

        A game that is over stands for one round, so that its end can be seen.
        """
        if self.over:
            return []
        self._begin_games()
        ended: list[Episode] = []
        for board, seat in enumerate(self.seats):
            game = seat.game
            if game.game_over:
                continue
            game.place(seat.player.choose(game))
            self.placements += 1
            seat.best_lines = max(seat.best_lines, game.lines)
            if game.game_over:
                seat.finished += 1
                ended.append(self._episode(board, seat))
        return ended

    def frames(self, *, include_values: bool) -> list[BoardFrame]:
        """The boards as they are now."""
        return [
            board_frame(
                seat.game,
                board=board,
                player=seat.name,
                values=seat.player.values(seat.game) if include_values else None,
            )
            for board, seat in enumerate(self.seats)
        ]

    def _begin_games(self) -> None:
        waiting = [seat for seat in self.seats if seat.game.game_over]
        if len(waiting) == len(self.seats):
            for seat in waiting:
                seat.game.restart()
            _share_pieces(self.seats[0].game, waiting[1:])
        elif waiting and not self._games:
            for seat in waiting:
                seat.game.restart()
            _share_pieces(next(s for s in self.seats if s not in waiting).game, waiting)

    def _episode(self, board: int, seat: Seat) -> Episode:
        game = seat.game
        return Episode(
            number=seat.finished,
            board=board,
            lines=game.lines,
            placements=game.placements,
            score=game.score,
            run_placements=self.placements,
            end_time=timestamp(),
            view=RunView.RUN_VIEW_SHOWCASE,
            player=seat.name,
        )


def _share_pieces(leader: ShownGame, others: Sequence[Seat]) -> None:
    """Lets freshly started games get the pieces that `leader` gets from here on."""
    for seat in others:
        for name in _PIECES:
            getattr(seat.game.games, name)[0] = getattr(leader.games, name)[0]
