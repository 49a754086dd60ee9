"""The policy of `ppo` as Stable-Baselines3 sees it: an actor and a critic over candidates.

An observation of `mltetris/Placement-v0` has a row for each placement: the scaled features of its
afterstate, a candidate flag and a fatal flag. One small network, the actor, reads every row; its
outputs are the logits of the placements, so that it plays as every other policy here does, by its
greatest output. Another of the same shape, the critic, says what an afterstate is worth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.distributions import MaskableDistribution
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from mltetris_server.hyperparameters import PpoConfig
from mltetris_server.learning.policy import FLAGS, row_length

MASKED = -1e8
"""Logit of what cannot be chosen, as in sb3-contrib's MaskableCategorical."""

Masks = NDArray[np.bool_] | th.Tensor | None


class CandidatePolicy(MaskableActorCriticPolicy):
    """A `MaskableActorCriticPolicy` over candidates, for the spaces of `mltetris/Placement-v0`.

    What can be chosen is told by the observation itself: the candidates that do not end the
    game, or, where there are none, all candidates. `action_masks`, where given, leaves out more.

    Attributes:
        actor, critic: The networks; `optimizer` trains both.
        last_values: What `evaluate_actions` last said of the placements made, float32[batch].

    Args:
        observation_space: Box of shape (placements, features + 2) or (placements *
            (features + 2),).
        action_space: Discrete(placements).
        lr_schedule: Learning rate by progress remaining, as everywhere in SB3.
        net_arch: Hidden layers of each network. Default: one, of the config's default units.
        death_reward: What a state is worth in which every placement ends the game.
        **kwargs: As for `MaskableActorCriticPolicy`.

    Raises:
        ValueError: the spaces are not those of a placement environment.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        net_arch: list[int] | None = None,
        death_reward: float = PpoConfig.death_reward,
        **kwargs: Any,
    ) -> None:
        self._inputs = row_length(observation_space, action_space) - FLAGS
        self._placements = int(action_space.n)
        self.death_reward = death_reward
        arch = [PpoConfig.hidden_units] if net_arch is None else net_arch
        super().__init__(observation_space, action_space, lr_schedule, net_arch=arch, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        """Make both networks, with PPO's usual first weights, and the optimizer.

        Orthogonal, of gain sqrt(2) where a ReLU follows; 0.01 for the logits, so that play begins
        nearly at random (Andrychowicz et al. 2021), and 1 for the value.
        """
        assert isinstance(self.net_arch, list)
        self.actor = _network(self._inputs, self.net_arch, 0.01)
        self.critic = _network(self._inputs, self.net_arch, 1.0)
        self.last_values = th.zeros(0)
        # `Schedule` names no argument.
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def forward(
        self, obs: th.Tensor, deterministic: bool = False, action_masks: Masks = None
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Placements [batch], their states' values [batch, 1], and log-probabilities [batch]."""
        distribution = self.get_distribution(obs, action_masks)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.predict_values(obs), distribution.log_prob(actions)

    def get_distribution(self, obs: PyTorchObs, action_masks: Masks = None) -> MaskableDistribution:
        """How likely each placement is."""
        rows = self._rows(obs)
        logits = self.actor(rows[..., :-FLAGS]).squeeze(-1)
        distribution = self.action_dist.proba_distribution(action_logits=logits)
        distribution.apply_masking(_choosable(rows, action_masks))
        return distribution

    def predict_values(self, obs: PyTorchObs) -> th.Tensor:
        """What states are worth, [batch, 1]: their candidates' afterstates, by probability."""
        rows = self._rows(obs)
        choosable, fatal = _choosable(rows, None), rows[..., -1] > 0.5
        logits = self.actor(rows[..., :-FLAGS]).squeeze(-1).masked_fill(~choosable, MASKED)
        # As the kernels have it: a state without a way out is worth the death reward.
        values = self.critic(rows[..., :-FLAGS]).squeeze(-1).masked_fill(fatal, self.death_reward)
        return th.sum(logits.softmax(1) * values, 1, keepdim=True)

    def evaluate_actions(
        self, obs: th.Tensor, actions: th.Tensor, action_masks: Masks = None
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """What `train()` needs of placements that were made.

        Args:
            obs: Observations; or the rows of all candidates, float32[any, features], in the order
                of `action_masks`, as `CandidateBuffer` hands them out.
            actions: int64[batch]: the placements made.
            action_masks: bool[batch, placements]: the candidates.

        Returns:
            Values of the afterstates reached [batch, 1], log-probabilities and entropies [batch].
            The critic learns afterstates' values; a state's follows (`predict_values`).
        """
        if obs.shape[-1] == self._inputs:
            assert isinstance(action_masks, th.Tensor)
            rows, masks = obs, action_masks
        else:
            whole = self._rows(obs)
            masks = _choosable(whole, action_masks)
            # What was made in spite of our mask is a candidate too.
            masks = masks | nn.functional.one_hot(actions, self._placements).bool()
            rows = whole[..., :-FLAGS][masks]
        logits = th.full(masks.shape, MASKED).masked_scatter(masks, self.actor(rows))
        log_probs = th.log_softmax(logits, 1)
        entropy = -(log_probs.exp() * log_probs).sum(1)
        # The row of a placement made is the one before which so many candidates stand.
        before = masks.long().cumsum(1).gather(1, actions[:, None]).squeeze(1) - 1
        counts = masks.sum(1)
        values = self.critic(rows[counts.cumsum(0) - counts + before])
        self.last_values = values.detach().flatten()
        return values, log_probs.gather(1, actions[:, None]).squeeze(1), entropy

    def _rows(self, obs: PyTorchObs) -> th.Tensor:
        """Observations as float32[batch, placements, features + 2]."""
        assert isinstance(obs, th.Tensor)
        return obs.float().reshape(obs.shape[0], self._placements, -1)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data["death_reward"] = self.death_reward
        return data


def _network(inputs: int, hidden: list[int], gain: float) -> nn.Sequential:
    """inputs -> hidden ReLU layers -> 1."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [_linear(inputs, units, 2**0.5), nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers, _linear(inputs, 1, gain))


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def _choosable(rows: th.Tensor, action_masks: Masks) -> th.Tensor:
    """What can be chosen, bool[batch, placements]: of these, the first that is not empty.

    Candidates that do not end the game, all candidates, what `action_masks` says.
    """
    candidates, fatal = rows[..., -2] > 0.5, rows[..., -1] > 0.5
    allowed = th.ones_like(candidates)
    if action_masks is not None:
        allowed = th.as_tensor(action_masks).bool().reshape(candidates.shape)
    for better in (candidates, ~fatal):
        narrowed = allowed & better
        allowed = th.where(narrowed.any(1, keepdim=True), narrowed, allowed)
    return allowed
