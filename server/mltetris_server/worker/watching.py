"""The watched game of a training: the showcase, or the training's own board 0."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.v1.run_pb2 import Episode

from mltetris_server.game.config import GameConfig
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import Games
from mltetris_server.worker.clocks import Pace
from mltetris_server.worker.frames import Values, board_frame
from mltetris_server.worker.learner import Learner
from mltetris_server.worker.race import Player, Race
from mltetris_server.worker.screen import Screen
from mltetris_server.worker.steering import Steering

IDLE_PACE = 8.0
"""Placements a second of a showcase at full speed that nobody watches: its score and its lines
stand in the metric points all the same."""
AT_ONCE = 10
"""Placements of the showcase between two batches at most: the training comes first."""


class CurrentPolicy:
    """A player that always plays by what the learner knows now."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def choose(self, game: ShownGame) -> int:
        """The action to make."""
        return self._learner.player().choose(game)

    def values(self, game: ShownGame) -> Values:
        """The value of every action."""
        return self._learner.player().values(game)


class TrainingBoard:
    """One of the training's boards, followed placement by placement where that is possible.

    The engine knows which cells are filled, not with what. Where only one placement
    was made since the last look, it is found out; otherwise the board is shown in
    one colour.
    """

    def __init__(self, config: GameConfig) -> None:
        self._config = config
        self._shown: ShownGame | None = None

    def look(self, games: Games) -> ShownGame:
        """Board 0 as it is now."""
        shown = self._shown
        if shown is None or not self._follow(shown, games):
            self._shown = shown = ShownGame.of_board(self._config, games, 0)
        return shown

    def _follow(self, shown: ShownGame, games: Games) -> bool:
        """Brings the shown game up to date; False: that cannot be done."""
        if shown.episode != games.episode[0]:
            return False
        behind = int(games.placements[0]) - shown.placements
        if behind == 0:
            return True
        if behind > 1:
            return False
        for action in shown.legal_actions():
            trial = ShownGame.of_board(self._config, shown.games, 0)
            trial.place(action)
            if not trial.game_over and np.array_equal(trial.games.columns[0], games.columns[0]):
                shown.place(action)
                return True
        return False


class Watching:
    """Moves the watched game on, and sends what it looks like to who watches.

    Args:
        steering: which game is watched, and how fast.
        screen: where frames go.
        learner: whose policy is shown.
        config: the game of the showcase.
        training: the game of the training's boards.
        seed: seed of the showcase's pieces.
        ended: is told of the showcase's games that ended.
    """

    def __init__(
        self,
        steering: Steering,
        screen: Screen,
        learner: Learner,
        config: GameConfig,
        training: GameConfig,
        seed: int,
        ended: Callable[[list[Episode]], None],
    ) -> None:
        self._steering = steering
        self._screen = screen
        self._learner = learner
        self._policy: Player = CurrentPolicy(learner)
        self._showcase = Race([("", self._policy)], config, seed)
        self._board = TrainingBoard(training)
        self._seen = (0, 0)
        self._pace = Pace()
        self._ended = ended

    @property
    def score(self) -> float:
        """Score of the watched game."""
        if self._steering.shows_training:
            return float(self._learner.games.score[0])
        return self._showcase.seats[0].game.score

    @property
    def lines(self) -> int:
        """Lines of the watched game."""
        if self._steering.shows_training:
            return int(self._learner.games.lines[0])
        return self._showcase.seats[0].game.lines

    @property
    def best_lines(self) -> int:
        """Most lines in one game of the showcase."""
        return self._showcase.best_lines

    @property
    def due(self) -> float:
        """When there is something to do next, on the monotonic clock; infinity: not by itself."""
        frame = self._screen.due
        move = math.inf if self._steering.shows_training else self._pace.due(self._showcase_pace)
        return move if frame is None else min(frame, move)

    def step(self) -> None:
        """Does what is due: placements of the showcase, frames."""
        if self._steering.shows_training:
            self._look_at_training()
        else:
            self._play_showcase()
        if self._screen.wants:
            self.show()

    def show(self) -> None:
        """Sends the watched game as it is now."""
        self._screen.send([self._frame()])

    def _look_at_training(self) -> None:
        games = self._learner.games
        now = (int(games.episode[0]), int(games.placements[0]))
        if now != self._seen:
            self._seen = now
            self._screen.changed()
            if self._screen.watched and self._steering.visual:
                # Every placement, so that none is missed even where not each gets a frame.
                self._board.look(games)

    @property
    def _showcase_pace(self) -> float:
        """Placements a second of the showcase."""
        if self._steering.visual:
            return self._steering.placements_per_second
        # At full speed, one for each frame that somebody wants.
        return self._steering.max_fps if self._screen.watched else IDLE_PACE

    def _play_showcase(self) -> None:
        for _ in range(self._pace.beats(self._showcase_pace, AT_ONCE)):
            ended = self._showcase.step()
            if ended:
                for episode in ended:
                    # The lineage's, and not those of the showcase.
                    episode.run_placements = self._learner.placements
                self._ended(ended)
            self._screen.changed()

    def _frame(self) -> BoardFrame:
        game = (
            self._board.look(self._learner.games)
            if self._steering.shows_training
            else self._showcase.seats[0].game
        )
        wanted = self._steering.include_values and not game.game_over
        return board_frame(game, values=self._policy.values(game) if wanted else None)
