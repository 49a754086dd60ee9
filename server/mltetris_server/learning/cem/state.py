"""What `cem` writes down beside its policy: distribution, samples, their games and deaths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mltetris_server.hyperparameters import CemConfig
from mltetris_server.learning.agent import Tensors
from mltetris_server.learning.cem.algorithm import CEM
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.state import MAX_COUNT, TrainingFile, broken, common_tensors

_UNIT = 1e-6
"""How far rounding may take a length from 1."""
_MAX_VARIANCE = 1e12


def dump(cem: CEM) -> Tensors:
    """The tensors of a learner as it is now; it may be in the middle of `learn`."""
    iteration, distribution = cem.iteration, cem.distribution
    counters = {
        "placements": cem.num_timesteps,
        "iterations": iteration.number,
        "horizon": iteration.horizon,
        "episodes": cem.episodes_made,
        "updates": distribution.updates,
    }
    return {
        **common_tensors(cem, counters),
        "distribution.mean": distribution.mean.copy(),
        "distribution.covariance": distribution.covariance.copy(),
        "distribution.average": distribution.average.copy(),
        "iteration.weights": iteration.weights.copy(),
        "iteration.deaths": iteration.deaths.copy(),
        "iteration.made": iteration.made.copy(),
    }


class CemState:
    """What the file holds, checked.

    Raises:
        CheckpointError: the file is not what it should be.
    """

    def __init__(self, description: ModelDescription, files: Mapping[str, bytes]) -> None:
        config, inputs = description.config, description.inputs
        assert isinstance(config, CemConfig)
        limits = {
            "placements": MAX_COUNT,
            # Games are numbered by the iterations before them.
            "iterations": MAX_COUNT // 1000,
            "horizon": config.iteration_limit,
            "episodes": MAX_COUNT,
            "updates": MAX_COUNT // 1000,
        }
        self._file = file = TrainingFile(description, files, limits)
        self.seed = file.seed
        self._mean = file.take("distribution.mean", np.float64, inputs)
        self._average = file.take("distribution.average", np.float64, inputs)
        self._covariance = file.take("distribution.covariance", np.float64, inputs, inputs)
        self._weights = file.take("iteration.weights", np.float32, config.boards, inputs)
        self._deaths = file.take("iteration.deaths", np.int64, config.boards)
        self._made = file.take("iteration.made", np.int64, config.boards)
        for name in ("_mean", "_average"):
            if np.linalg.norm(getattr(self, name)) > 1 + _UNIT:
                raise broken(f"distribution{name.replace('_', '.')}", "is longer than 1")
        self._check_covariance()
        if (np.linalg.norm(self._weights, axis=1) > 1 + _UNIT).any():
            raise broken("iteration.weights", "has a sample longer than 1")
        self._check_race(config)

    def give_to(self, cem: CEM, before: ModelDescription, now: ModelDescription) -> None:
        """See `agent.TrainingState`.

        The distribution always stays. Another seed, number of boards or games begins a new
        iteration; another game does too, and a new average, for what is best there is another
        policy.
        """
        file, counters = self._file, self._file.counters
        distribution = cem.distribution
        distribution.mean = self._mean
        distribution.covariance = self._covariance
        distribution.average = self._average
        distribution.updates = counters["updates"]
        same_game = before.training_game == now.training_game
        if not same_game:
            distribution.restart_average()
        cem.begin_at(
            counters["placements"],
            iterations=counters["iterations"],
            episodes_made=counters["episodes"],
        )
        file.give_metrics(cem)
        a, b = before.config, now.config
        assert isinstance(a, CemConfig) and isinstance(b, CemConfig)
        same_race = (a.boards, a.games) == (b.boards, b.games)
        lasts = counters["horizon"] <= b.iteration_limit
        if same_game and same_race and lasts and cem.run_seed == self.seed:
            iteration = cem.iteration
            file.give_games(cem)
            iteration.weights[...] = self._weights
            iteration.deaths[...] = self._deaths
            iteration.made[...] = self._made
            iteration.horizon = counters["horizon"]

    def _check_covariance(self) -> None:
        covariance = self._covariance
        if (np.abs(covariance) > _MAX_VARIANCE).any() or not np.allclose(covariance, covariance.T):
            raise broken("distribution.covariance", "is not a covariance matrix")
        try:
            np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError as error:
            raise broken("distribution.covariance", "is not a covariance matrix") from error

    def _check_race(self, config: CemConfig) -> None:
        """Deaths, placements and games must tell the same story."""
        deaths, made, games = self._deaths, self._made, self._file.games
        horizon, number = self._file.counters["horizon"], self._file.counters["iterations"]
        if (deaths < 0).any() or (deaths > config.games).any():
            raise broken("iteration.deaths", f"must be 0 to {config.games}")
        out = deaths == config.games
        # Those in play are at the horizon, or all equally far before it.
        before = np.unique(made[~out & (made < horizon)])
        if before.size > 1 or (made < deaths).any() or (made > horizon).any():
            raise broken("iteration.made", "does not go with the horizon")
        if np.count_nonzero(~out) <= config.elite and not before.size:
            raise broken("iteration.deaths", "are those of an iteration that is decided")
        if (games.over != out).any():
            raise broken("games", "are over where samples are in play, or the other way round")
        if (games.episode != number * config.games + np.minimum(deaths + 1, config.games)).any():
            raise broken("games", "have other numbers than the iteration's")
