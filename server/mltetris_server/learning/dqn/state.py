"""What `dqn` writes down beside its policy: optimizer, online network, memory, games, counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.pieces import PIECES
from mltetris_server.hyperparameters import DqnConfig
from mltetris_server.learning.agent import Tensors
from mltetris_server.learning.dqn.algorithm import CandidateDQN
from mltetris_server.learning.dqn.kernels import Transitions
from mltetris_server.learning.kernels import EXPLORED, FATAL, LAST
from mltetris_server.learning.model import ModelDescription, name_tensors
from mltetris_server.learning.policy import network_views, set_network
from mltetris_server.learning.state import (
    MAX_COUNT,
    TrainingFile,
    adam_tensors,
    broken,
    common_tensors,
    override_tensors,
    set_adam,
)


def _columns_type(description: ModelDescription) -> type[np.generic]:
    """The smallest type that holds a column of the training boards."""
    return np.min_scalar_type((1 << description.training_game.height) - 1).type


def dump(dqn: CandidateDQN) -> Tensors:
    """The tensors of a learner as it is now; it may be in the middle of `learn`."""
    rounds = dqn.rounds
    counters = {
        "placements": dqn.num_timesteps,
        "rounds": rounds.number,
        "position": rounds.position,
        "minibatch": rounds.minibatch,
        "gradient_steps": dqn.gradient_steps_made,
        "episodes": dqn.episodes_made,
    }
    memory = rounds.memory.chronological(rounds.step)
    return {
        **common_tensors(dqn, counters),
        **override_tensors(dqn.overrides),
        "memory.columns": memory.columns.astype(_columns_type(dqn.description)),
        "memory.pieces": memory.pieces.astype(np.uint8),
        "memory.features": memory.features,
        "memory.kinds": memory.kinds,
        **name_tensors("online.", network_views(dqn.policy.q_net.parameters())),
        **adam_tensors("adam.", dqn.policy.optimizer, dqn.policy.q_net.parameters()),
    }


class DqnState:
    """What the file holds, checked.

    Raises:
        CheckpointError: the file is not what it should be.
    """

    def __init__(self, description: ModelDescription, files: Mapping[str, bytes]) -> None:
        config = description.config
        assert isinstance(config, DqnConfig)
        samples = config.boards * config.rollout_steps
        limits = {
            "placements": MAX_COUNT,
            "rounds": MAX_COUNT // 1024,
            "position": samples,
            # After the last one a round is over.
            "minibatch": config.gradient_steps - 1,
            "gradient_steps": MAX_COUNT,
            "episodes": MAX_COUNT,
        }
        self._file = file = TrainingFile(description, files, limits)
        self.seed = file.seed
        self._online = file.take_network("online.")
        self._adam = file.take_adam("adam.")
        file.take_overrides()
        self._memory = self._take_memory(description, config)
        if file.counters["minibatch"] and file.counters["position"] < samples:
            raise broken("counters", "minibatch goes with a whole rollout only")

    def give_to(self, dqn: CandidateDQN, before: ModelDescription, now: ModelDescription) -> None:
        """See `agent.TrainingState`.

        Another game, seed, number of boards or length of a rollout begins new games and empties
        the memory; the optimizer always stays.
        """
        file, counters = self._file, self._file.counters
        dqn.begin_at(
            counters["placements"],
            gradient_steps_made=counters["gradient_steps"],
            episodes_made=counters["episodes"],
        )
        set_network(dqn.policy.q_net, self._online)
        file.give_metrics(dqn)
        file.give_overrides(dqn)
        if self._adam is not None:
            set_adam(dqn.policy.optimizer, dqn.policy.q_net.parameters(), self._adam)
        a, b = before.config, now.config
        assert isinstance(a, DqnConfig) and isinstance(b, DqnConfig)
        same_boards = (a.boards, a.rollout_steps) == (b.boards, b.rollout_steps)
        same_game = before.training_game == now.training_game
        if not (same_game and same_boards and dqn.run_seed == self.seed):
            return
        rounds = dqn.rounds
        rounds.number, rounds.position = counters["rounds"], counters["position"]
        rounds.minibatch = counters["minibatch"]
        file.give_games(dqn)
        rounds.memory.adopt(self._memory, rounds.step, complete=rounds.rolled)
        if rounds.minibatch >= b.gradient_steps:
            # As many as a round has now are made: the next one begins.
            rounds.finish()

    def _take_memory(self, description: ModelDescription, config: DqnConfig) -> Transitions:
        file, boards = self._file, config.boards
        kinds: NDArray[Any] = file.take("memory.kinds", np.uint8, None, boards)
        steps = kinds.shape[0]
        rounds, position = file.counters["rounds"], file.counters["position"]
        most = rounds * config.rollout_steps + position // boards
        if not 1 <= steps <= min(most, config.memory // boards) + 1:
            raise broken("memory.kinds", "has more or fewer steps than there can be")
        if (kinds > EXPLORED | FATAL | LAST).any():
            raise broken("memory.kinds", "has a value out of range")
        pieces = file.take("memory.pieces", np.uint8, steps, boards)
        if ((pieces < 1) | (pieces > PIECES)).any():
            raise broken("memory.pieces", "has a value out of range")
        kind, width = _columns_type(description), description.game.width
        columns = file.take("memory.columns", kind, steps, boards, width)
        if (columns >> np.uint64(description.training_game.height)).any():
            raise broken("memory.columns", "has a value out of range")
        features = file.take("memory.features", np.float32, steps, boards, description.inputs)
        return Transitions(columns.astype(np.int64), pieces.astype(np.int64), features, kinds)
