"""Replay: the dataset's games go through a learner's own rounds, and fill its memory.

Learning from somebody else's experience as from one's own: Lin (1992), "Self-Improving Reactive
Agents Based on Reinforcement Learning, Planning and Teaching", Machine Learning 8; Hester and
others (2018), "Deep Q-learning from Demonstrations", AAAI.
"""

from __future__ import annotations

import numpy as np

from mltetris_server.game.config import FeatureSet, GameConfig, feature_limits
from mltetris_server.game.engine import new_games
from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.kernels import new_rollout
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.td import TD
from mltetris_server.learning.td.kernels import returns
from mltetris_server.learning.warm_start.examples import misfit
from mltetris_server.learning.warm_start.kernels import FIRST, Tape, follow, replay

PIECE_SECONDS = 0.002
_FOLLOWED = 20_000
"""Placements of a piece in which nothing is looked at."""


class Replay:
    """Rounds of TD(lambda) on what a dataset's player went through; see `WarmStart`.

    What is learnt is what that player's boards are worth. Every board of the learner gets an equal
    share of the placements, one after the other; a round takes as many as one of the learner's own,
    and what is left over at the end of a pass, less than a round, begins the next.

    Args:
        agent: Who learns.
        game: What was played.
        tape: What is learnt from.
        epochs: Passes over it.
    """

    def __init__(self, agent: TD, game: GameConfig, tape: Tape, epochs: int) -> None:
        self.epoch, self.epochs = 1, epochs
        self.placements = placements = int(tape.pieces.size)
        self._agent, self._tape = agent, tape
        description, config = agent.description, agent.config
        self._config: TdConfig = config
        self._samples = config.boards * config.rollout_steps
        self._rounds = -(-epochs * placements // self._samples)
        self._round = 0
        self._rollout = new_rollout(self._samples, description.inputs)
        self._games = new_games(game, config.boards, seed=0)
        self._eye = make_eye(description.features, game.width, config.fatal_value)
        self._highest = np.full(description.inputs, np.inf, np.float32)
        if description.features is FeatureSet.BOARD:
            # A memory holds boards of the training's height.
            self._highest = feature_limits(description.features, description.training_game)
        edges = np.arange(config.boards + 1) * placements // config.boards
        first = np.minimum(edges[:-1], placements - 1)
        self._shares = np.stack([first, np.maximum(edges[1:], first + 1), first], axis=1)
        self._origins = np.zeros((config.boards, game.width), np.int64)
        self._followed = 0
        self._position = self._board = self._minibatch = 0
        look = 1 + 0.1 * game.width * (1 + 0.2 * game.height)
        self._stretch = max(1, int(PIECE_SECONDS * 1e6 / look))
        self._losses, self._steps = 0.0, 0

    @property
    def done(self) -> bool:
        """See `WarmStart`."""
        return self._round == self._rounds

    def advance(self) -> None:
        """See `WarmStart`."""
        if self.done:
            return
        if self._followed < self.placements:
            self._find_origins()
        elif self._position < self._samples:
            self._roll()
        elif self._board < self._config.boards:
            self._take_targets()
        else:
            self._step()

    def settle(self) -> None:
        """See `WarmStart`: every round is the agent's at once."""

    def take_figures(self) -> tuple[float | None, float | None]:
        """See `WarmStart`."""
        if not self._steps:
            return None, None
        loss = self._losses / self._steps
        self._losses, self._steps = 0.0, 0
        return loss, None

    def _find_origins(self) -> None:
        """Where each board's share begins: retraced once, without a look at anything."""
        first = self._followed
        stop = min(first + _FOLLOWED, self.placements)
        while self._followed < stop:
            begins = self._shares[:, 0]
            here = begins == self._followed
            if here.any() and not self._tape.marks[self._followed] & FIRST:
                self._origins[here] = self._games.columns[0]
            behind = begins[begins > self._followed]
            until = min(stop, int(behind.min())) if behind.size else stop
            reached = follow(self._games, 0, self._tape, self._followed, until)
            if reached != until:
                raise misfit(reached)
            self._followed = until

    def _roll(self) -> None:
        stop = min(self._position + self._stretch, self._samples)
        wrong = replay(
            self._games,
            self._agent.rounds.average,
            self._eye,
            self._tape,
            self._shares,
            self._origins,
            self._rollout,
            self._highest,
            self._position,
            stop,
        )
        if wrong >= 0:
            raise misfit(wrong)
        self._position = stop

    def _take_targets(self) -> None:
        last = min(self._board + self._stretch, self._config.boards)
        _, targets = self._agent.rounds.window.slot()
        returns(
            self._games,
            self._agent.rounds.average,
            self._eye,
            self._rollout,
            self._config.gamma,
            self._config.td_lambda,
            self._board,
            last,
            targets,
        )
        self._board = last
        if last == self._config.boards:
            features, _ = self._agent.rounds.window.slot()
            features[:] = self._rollout.features
            self._agent.rounds.window.advance()

    def _step(self) -> None:
        steps = self._agent.rounds.fitting_steps(self._minibatch)
        self._losses += self._agent.descend(steps)
        self._steps += steps
        self._minibatch += steps
        if self._minibatch < self._agent.rounds.minibatches:
            return
        self._agent.rounds.average_in(self._round)
        self._round += 1
        self.epoch = min(self.epochs, 1 + self._round * self._samples // self.placements)
        self._position = self._board = self._minibatch = 0
