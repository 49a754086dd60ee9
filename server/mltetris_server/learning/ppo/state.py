"""What `ppo` writes down beside its actor: critic, optimizer, rollout, games, counters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mltetris_server.hyperparameters import PpoConfig
from mltetris_server.learning.agent import Tensors
from mltetris_server.learning.model import ModelDescription, name_tensors
from mltetris_server.learning.policy import set_network
from mltetris_server.learning.ppo.algorithm import CandidatePPO
from mltetris_server.learning.ppo.buffer import CandidateBuffer
from mltetris_server.learning.state import (
    MAX_COUNT,
    TrainingFile,
    adam_tensors,
    broken,
    common_tensors,
    override_tensors,
    set_adam,
)


def dump(ppo: CandidatePPO) -> Tensors:
    """The tensors of a learner as it is now; it may be in the middle of `learn`."""
    rounds, buffer, policy = ppo.rounds, ppo.rollout_buffer, ppo.policy
    rollout, made = buffer.rollout, buffer.position
    rows = rollout.ends[made]
    counters = {
        "placements": ppo.num_timesteps,
        "rounds": rounds.number,
        "position": made,
        "epoch": buffer.epoch,
        "minibatch": buffer.minibatch,
        "passes": ppo.passes_made,
        "episodes": ppo.episodes_made,
    }
    return {
        **common_tensors(ppo, counters),
        **override_tensors(ppo.overrides),
        "rollout.rows": rollout.rows[:rows].copy(),
        "rollout.actions": rollout.actions[:rows].copy(),
        "rollout.ends": rollout.ends[: made + 1].copy(),
        "rollout.picks": rollout.picks[:made].copy(),
        "rollout.log_probs": rollout.log_probs[:made].copy(),
        "rollout.values": rollout.values[:made].copy(),
        "rollout.dones": rollout.dones[:made].copy(),
        "rollout.advantages": buffer.advantages.reshape(-1)[:made].copy(),
        **name_tensors("critic.", rounds.critic),
        **adam_tensors("adam.actor.", policy.optimizer, policy.actor.parameters()),
        **adam_tensors("adam.critic.", policy.optimizer, policy.critic.parameters()),
    }


class PpoState:
    """What the file holds, checked.

    Raises:
        CheckpointError: the file is not what it should be.
    """

    def __init__(self, description: ModelDescription, files: Mapping[str, bytes]) -> None:
        config = description.config
        assert isinstance(config, PpoConfig)
        samples = config.boards * config.rollout_steps
        limits = {
            "placements": MAX_COUNT,
            "rounds": MAX_COUNT // 1024,
            "position": samples,
            # After the last one a round is over.
            "epoch": config.epochs - 1,
            "minibatch": samples,
            "passes": MAX_COUNT,
            "episodes": MAX_COUNT,
        }
        self._file = file = TrainingFile(description, files, limits)
        self.seed = file.seed
        self._critic = file.take_network("critic.")
        self._adam = {name: file.take_adam(f"adam.{name}.") for name in ("actor", "critic")}
        if (self._adam["actor"] is None) != (self._adam["critic"] is None):
            raise broken("adam", "is there for one network only")
        file.take_overrides()
        counters, made = file.counters, file.counters["position"]
        self._rollout = {
            "actions": file.take("rollout.actions", np.uint8, None),
            "ends": file.take("rollout.ends", np.int64, made + 1),
            "picks": file.take("rollout.picks", np.int64, made),
            "log_probs": file.take("rollout.log_probs", np.float32, made),
            "values": file.take("rollout.values", np.float32, made),
            "dones": file.take("rollout.dones", np.float32, made),
        }
        rows = self._rollout["actions"].size
        self._rollout["rows"] = file.take("rollout.rows", np.float32, rows, description.inputs)
        self._advantages = file.take("rollout.advantages", np.float32, made)
        self._check_rollout(description.game.actions)
        if (counters["epoch"] or counters["minibatch"]) and made < samples:
            raise broken("counters", "epoch and minibatch go with a whole rollout only")

    def give_to(self, ppo: CandidatePPO, before: ModelDescription, now: ModelDescription) -> None:
        """See `agent.TrainingState`.

        Another seed, game, or size of the rollout begins new games and a new rollout; the critic
        and the optimizer always stay.
        """
        file, counters = self._file, self._file.counters
        ppo.begin_at(
            counters["placements"],
            passes_made=counters["passes"],
            episodes_made=counters["episodes"],
        )
        set_network(ppo.policy.critic, self._critic)
        file.give_metrics(ppo)
        file.give_overrides(ppo)
        for name, adam in self._adam.items():
            if adam is not None:
                network = getattr(ppo.policy, name)
                set_adam(ppo.policy.optimizer, network.parameters(), adam)
        a, b = before.config, now.config
        assert isinstance(a, PpoConfig) and isinstance(b, PpoConfig)
        same_rollout = (a.boards, a.rollout_steps) == (b.boards, b.rollout_steps)
        same_game = before.training_game == now.training_game
        if not (same_game and same_rollout and ppo.run_seed == self.seed):
            return
        file.give_games(ppo)
        rounds = ppo.rounds
        rounds.begin(counters["rounds"])
        buffer = ppo.rollout_buffer
        self._give_rollout(buffer)
        same_update = (a.epochs, a.batch_size) == (b.epochs, b.batch_size)
        if buffer.begun and not same_update:
            # The update is made as far as it was; the next round begins.
            rounds.begin(rounds.number + 1)
        elif counters["minibatch"] >= max(1, buffer.parts(b.batch_size)):
            raise broken("counters", "minibatch is behind the last one")

    def _give_rollout(self, buffer: CandidateBuffer) -> None:
        counters = self._file.counters
        for name, array in self._rollout.items():
            getattr(buffer.rollout, name)[: len(array)] = array
        made = counters["position"]
        buffer.position = made
        buffer.epoch, buffer.minibatch = counters["epoch"], counters["minibatch"]
        buffer.advantages.reshape(-1)[:made] = self._advantages
        # As SB3 has worked them out.
        buffer.returns = buffer.advantages + buffer.values

    def _check_rollout(self, actions: int) -> None:
        """Whatever indexes something must be in range, and every logarithm one of a chance."""
        rollout = self._rollout
        ends, picks, there = rollout["ends"], rollout["picks"], rollout["actions"]
        counts = np.diff(ends)
        if ends[0] or ends[-1] != there.size or (counts < 0).any() or (counts > actions - 6).any():
            raise broken("rollout.ends", "does not go with the candidates")
        # A sample's actions rise; the first one of the next sample need not.
        rises = np.diff(there.astype(np.int64)) > 0
        rises[ends[1:-1][(ends[1:-1] > 0) & (ends[1:-1] < there.size)] - 1] = True
        if not rises.all() or (there >= actions).any():
            raise broken("rollout.actions", "has a value out of range")
        if (picks < 0).any() or (picks >= np.maximum(counts, 1)).any():
            raise broken("rollout.picks", "has a value out of range")
        if (rollout["log_probs"] > 0).any():
            raise broken("rollout.log_probs", "has a value out of range")
        dones = rollout["dones"]
        if not np.isin(dones, (0, 1)).all() or (dones[counts == 0] != 1).any():
            raise broken("rollout.dones", "has a value out of range")
