"""The hyperparameters of the algorithms as flags: what each is, and which default it has where.

Ranges are the server's affair, as are the defaults: what is not given is not sent. The defaults
told here are held to those of the server by a test.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

PANEL = "Hyperparameters (each algorithm has its own; in brackets the defaults)"


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One flag.

    Attributes:
        kind: int or float.
        help: What it is.
        defaults: By algorithm; who is missing does not have it.
    """

    kind: type[int] | type[float]
    help: str
    defaults: dict[str, str]


HYPERPARAMETERS: dict[str, Hyperparameter] = {
    "boards": Hyperparameter(
        int,
        "Boards played at once; of cem: samples an iteration.",
        {"td": "64", "dqn": "64", "ppo": "64", "cem": "100"},
    ),
    "rollout_steps": Hyperparameter(
        int, "Placements a board between two updates.", {"td": "32", "dqn": "8", "ppo": "32"}
    ),
    "gamma": Hyperparameter(float, "Discount.", {"td": "0.98", "dqn": "0.98", "ppo": "0.98"}),
    "td_lambda": Hyperparameter(float, "The lambda of TD(lambda).", {"td": "0.8"}),
    "gae_lambda": Hyperparameter(float, "Mix of short and long advantages.", {"ppo": "0.95"}),
    "learning_rate": Hyperparameter(
        float, "Adam's first step size.", {"td": "0.003", "dqn": "0.002", "ppo": "0.003"}
    ),
    "final_learning_rate_fraction": Hyperparameter(
        float, "Share of it left at the end.", {"td": "0.03", "dqn": "0.1", "ppo": "0.1"}
    ),
    "exploration_initial": Hyperparameter(
        float, "Random placements at the start.", {"td": "0.1", "dqn": "0.1"}
    ),
    "exploration_final": Hyperparameter(
        float, "Random placements at the end.", {"td": "0.003", "dqn": "0.003"}
    ),
    "schedule_placements": Hyperparameter(
        int,
        "Placements until the final values.",
        {"td": "3,000,000", "dqn": "1,000,000", "ppo": "2,000,000"},
    ),
    "batch_size": Hyperparameter(
        int, "Samples a gradient step.", {"td": "512", "dqn": "256", "ppo": "512"}
    ),
    "epochs": Hyperparameter(int, "Passes an update.", {"td": "4", "ppo": "4"}),
    "gradient_steps": Hyperparameter(int, "Gradient steps an update.", {"dqn": "4"}),
    "window": Hyperparameter(int, "Rollouts kept to learn from.", {"td": "40"}),
    "memory": Hyperparameter(int, "Placements kept to learn from.", {"dqn": "65,536"}),
    "learning_starts": Hyperparameter(
        int, "Placements before the first gradient step.", {"dqn": "1,024"}
    ),
    "n_steps": Hyperparameter(int, "Placements a target looks ahead.", {"dqn": "4"}),
    "target_update": Hyperparameter(
        int, "Gradient steps between two updates of the target network.", {"dqn": "1"}
    ),
    "target_tau": Hyperparameter(float, "Share of it that one replaces.", {"dqn": "0.05"}),
    "hidden_units": Hyperparameter(
        int, "Hidden units of the network.", {"td": "32", "dqn": "32", "ppo": "32"}
    ),
    "death_reward": Hyperparameter(
        float, "Reward of dying.", {"td": "-10", "dqn": "-10", "ppo": "-10"}
    ),
    "average_decay": Hyperparameter(float, "Weight of the old in the average.", {"td": "0.95"}),
    "clip_range": Hyperparameter(float, "How far probabilities may move.", {"ppo": "0.2"}),
    "entropy_weight": Hyperparameter(float, "Weight of the entropy in the loss.", {"ppo": "0"}),
    "value_weight": Hyperparameter(float, "Weight of the critic's loss.", {"ppo": "0.5"}),
    "max_gradient_norm": Hyperparameter(float, "Norm gradients are cut to.", {"ppo": "0.5"}),
    "elite": Hyperparameter(int, "Samples still in play when an iteration ends.", {"cem": "15"}),
    "games": Hyperparameter(int, "Games a sample plays an iteration.", {"cem": "1"}),
    "spread": Hyperparameter(
        float, "Spread of the samples, going on from a policy.", {"cem": "0.5"}
    ),
    "noise": Hyperparameter(float, "Noise added an iteration.", {"cem": "0.15"}),
    "noise_halving": Hyperparameter(int, "Iterations until it is half.", {"cem": "50"}),
    "iteration_limit": Hyperparameter(
        int, "Placements of a sample that end an iteration.", {"cem": "1,000,000"}
    ),
    "training_height": Hyperparameter(
        int,
        "Rows of the training boards.",
        {"td": "10", "dqn": "10", "ppo": "10", "cem": "10"},
    ),
}


def with_hyperparameters(command: Callable[..., None]) -> Callable[..., None]:
    """The command with a flag for every hyperparameter, in place of its ``**hyperparameters``."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    flags = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                item.kind | None,
                typer.Option(help=_help(item), rich_help_panel=PANEL, show_default=False),
            ],
        )
        for name, item in HYPERPARAMETERS.items()
    ]
    altered: Any = command
    altered.__signature__ = signature.replace(parameters=[*own, *flags])
    return command


def _help(item: Hyperparameter) -> str:
    told = ", ".join(f"{algorithm} {default}" for algorithm, default in item.defaults.items())
    return f"{item.help} ({told})"
