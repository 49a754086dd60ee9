"""An agent as a learner of the worker's, whichever algorithm it is."""

from __future__ import annotations

import json

from mltetris_api.v1.run_pb2 import Evaluation
from stable_baselines3.common.callbacks import BaseCallback

from mltetris_server.game.engine import Games
from mltetris_server.learning.agent import Agent
from mltetris_server.learning.checkpoint import dump
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.metrics import TrainingMetrics
from mltetris_server.learning.player import Player
from mltetris_server.worker.session import Session
from mltetris_server.worker.specs import TrainingPlan
from mltetris_server.worker.transfer import Checkpoint

WITHOUT_END = 10**15
"""Placements to ask `learn()` for: the budget is the session's affair."""
_NEVER = 2**62


class AgentLearner:
    """An `Agent`, as `learner.Learner` describes it."""

    def __init__(self, agent: Agent, plan: TrainingPlan) -> None:
        self._agent = agent
        self._plan = plan

    @property
    def placements(self) -> int:
        """Placements learnt from, over the whole lineage."""
        return self._agent.num_timesteps

    @property
    def metrics(self) -> TrainingMetrics:
        """Its running figures."""
        return self._agent.metrics

    @property
    def exploration(self) -> float | None:
        """Probability of a random placement now; None: it has none."""
        return self._agent.exploration

    @property
    def learning_rate(self) -> float | None:
        """Learning rate now; None: it has none."""
        return self._agent.current_learning_rate

    def set_exploration(self, value: float | None) -> None:
        """Explores so much from now on; None: by its schedule."""
        self._agent.set_exploration(value)

    def set_learning_rate(self, value: float | None) -> None:
        """Learns at this rate from now on; None: by its schedule."""
        self._agent.set_learning_rate(value)

    def step_by_step(self, on: bool) -> None:
        """Whether it is to give the others a turn after each placement of every board."""
        self._agent.one_step = on

    @property
    def games(self) -> Games:
        """The boards it trains on."""
        return self._agent.games

    def player(self) -> Player:
        """The policy as it is now, greedy."""
        return self._agent.player()

    def examine(self, max_lines: int) -> AgentExamination:
        """Begins an evaluation of the policy as it is now; games are cut off at `max_lines`."""
        plan = self._plan
        games = GreedyEvaluation(
            self._agent.player(),
            plan.game,
            plan.spec.evaluation.games,
            plan.evaluation_seed,
            max_lines,
        )
        return AgentExamination(games, self.placements)

    def checkpoint(self) -> Checkpoint:
        """Everything there is, to go on from exactly here."""
        model, files = dump(self._agent)
        return Checkpoint(json.dumps(model), files, self.placements)

    def learn(self, session: Session) -> None:
        """Learns until the session ends it."""
        self._agent.learn(
            WITHOUT_END,
            callback=SessionCallback(session),
            log_interval=_NEVER,
            reset_num_timesteps=False,
        )


class AgentExamination:
    """A greedy evaluation, with a result as the contract has it."""

    def __init__(self, games: GreedyEvaluation, placements: int) -> None:
        self._games = games
        self._placements = placements

    def advance(self, max_placements: int) -> bool:
        """Plays on for at most so many placements; whether all games are done now."""
        return self._games.advance(max_placements)

    def result(self) -> Evaluation:
        """How the games ended."""
        result = self._games.result()
        return Evaluation(
            games=result.games,
            mean_lines=result.mean_lines,
            standard_error=result.standard_error,
            median_lines=result.median_lines,
            worst_lines=result.worst_lines,
            best_lines=result.best_lines,
            cut_off_games=result.cut_off_games,
            max_lines=result.max_lines,
            placements=self._placements,
        )


class SessionCallback(BaseCallback):
    """Gives the session its turn between any two batches of `learn()`."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def _on_step(self) -> bool:
        return self._session.tick()
