"""What `td` writes down beside its policy: optimizer, online network, window, games, counters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mltetris_server.game.config import FeatureSet, feature_limits
from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.agent import Tensors
from mltetris_server.learning.kernels import EXPLORED, FATAL, LAST
from mltetris_server.learning.model import ModelDescription, name_tensors
from mltetris_server.learning.policy import set_network
from mltetris_server.learning.state import (
    MAX_COUNT,
    TrainingFile,
    adam_tensors,
    broken,
    common_tensors,
    override_tensors,
    set_adam,
)
from mltetris_server.learning.td.algorithm import TD
from mltetris_server.learning.td.rounds import gradient_steps


def dump(td: TD) -> Tensors:
    """The tensors of a learner as it is now; it may be in the middle of `learn`."""
    rounds, window = td.rounds, td.rounds.window
    counters = {
        "placements": td.num_timesteps,
        "rounds": rounds.number,
        "position": rounds.position,
        "minibatch": rounds.minibatch,
        "gradient_steps": td.gradient_steps_made,
        "episodes": td.episodes_made,
        "window_cursor": window.cursor,
    }
    return {
        **common_tensors(td, counters),
        **override_tensors(td.overrides),
        "window.features": window.features[: window.size].copy(),
        "window.targets": window.targets[: window.size].copy(),
        "rollout.features": rounds.rollout.features[: rounds.position].copy(),
        "rollout.values": rounds.rollout.values[: rounds.position].copy(),
        "rollout.kinds": rounds.rollout.kinds[: rounds.position].copy(),
        **name_tensors("online.", rounds.online),
        **adam_tensors("adam.", td.policy.optimizer, td.policy.q_net.parameters()),
    }


class TdState:
    """What the file holds, checked.

    Raises:
        CheckpointError: the file is not what it should be.
    """

    def __init__(self, description: ModelDescription, files: Mapping[str, bytes]) -> None:
        config, inputs = description.config, description.inputs
        assert isinstance(config, TdConfig)
        samples = config.boards * config.rollout_steps
        limits = {
            "placements": MAX_COUNT,
            "rounds": MAX_COUNT // 1024,
            "position": samples,
            # After the last one a round is over.
            "minibatch": gradient_steps(config) - 1,
            "gradient_steps": MAX_COUNT,
            "episodes": MAX_COUNT,
            "window_cursor": config.window - 1,
        }
        self._file = file = TrainingFile(description, files, limits)
        self.seed = file.seed
        self._online = file.take_network("online.")
        self._adam = file.take_adam("adam.")
        file.take_overrides()
        self._targets = targets = file.take("window.targets", np.float32, None, nan=True)
        self._features = file.take("window.features", np.float32, targets.size, inputs)
        slots, rest = divmod(targets.size, samples)
        cursor, position = file.counters["window_cursor"], file.counters["position"]
        if rest or slots > config.window or (slots < config.window and cursor != slots):
            raise broken("window.targets", "is not a whole number of rollouts")
        self._rollout = {
            "features": file.take("rollout.features", np.float32, position, inputs),
            "values": file.take("rollout.values", np.float32, position),
            "kinds": file.take("rollout.kinds", np.uint8, position),
        }
        if description.features is FeatureSet.BOARD:
            # Kernels take them for bits.
            highest = feature_limits(description.features, description.training_game)
            boards = {"window.features": self._features}
            boards["rollout.features"] = self._rollout["features"]
            for name, numbers in boards.items():
                if (numbers != np.clip(np.floor(numbers), 0, highest)).any():
                    raise broken(name, "holds something else than boards of this game")
        if (self._rollout["kinds"] > EXPLORED | FATAL | LAST).any():
            raise broken("rollout.kinds", "has a value out of range")
        if file.counters["minibatch"] and (position < samples or not slots):
            raise broken("counters", "minibatch goes with a whole rollout only")

    def give_to(self, td: TD, before: ModelDescription, now: ModelDescription) -> None:
        """See `agent.TrainingState`.

        Another seed or number of boards begins new games, another game also empties the window
        (its values are not worth the same there), and the optimizer always stays.
        """
        file, counters = self._file, self._file.counters
        td.begin_at(
            counters["placements"],
            gradient_steps_made=counters["gradient_steps"],
            episodes_made=counters["episodes"],
        )
        set_network(td.policy.q_net, self._online)
        file.give_metrics(td)
        file.give_overrides(td)
        if self._adam is not None:
            set_adam(td.policy.optimizer, td.policy.q_net.parameters(), self._adam)
        same_game = before.training_game == now.training_game
        a, b = before.config, now.config
        assert isinstance(a, TdConfig) and isinstance(b, TdConfig)
        same_rollout = (a.boards, a.rollout_steps) == (b.boards, b.rollout_steps)
        rounds = td.rounds
        cursor = counters["window_cursor"]
        if same_game and same_rollout and a.window == b.window:
            rounds.window.restore(self._features, self._targets, cursor)
        elif same_game:
            full = self._targets.size == a.boards * a.rollout_steps * a.window
            oldest = cursor * a.boards * a.rollout_steps if full else 0
            rounds.window.adopt(self._features, self._targets, oldest)
        if same_game and same_rollout and td.run_seed == self.seed:
            rounds.number = counters["rounds"]
            file.give_games(td)
            position, minibatch = counters["position"], counters["minibatch"]
            same_round = (a.window, a.epochs, a.batch_size) == (b.window, b.epochs, b.batch_size)
            if minibatch and not same_round:
                # Its gradient steps are made as far as they were; the next round begins.
                position, minibatch = 0, 0
                rounds.number += 1
            for name, array in self._rollout.items():
                getattr(rounds.rollout, name)[:position] = array[:position]
            rounds.position, rounds.minibatch = position, minibatch
