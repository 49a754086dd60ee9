"""The Gymnasium environment that stands for a learner's game where SB3 asks for one."""

from __future__ import annotations

from stable_baselines3.common.vec_env import VecEnv

from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.environments import PlacementEnv
from mltetris_server.learning.model import ModelDescription


def make_env(description: ModelDescription) -> PlacementEnv:
    """An environment of a model's game and features."""
    game = description.game
    return PlacementEnv(game.width, game.height, game.rule, game.randomizer, description.features)


def agree(
    env: VecEnv, game: GameConfig | None, features: FeatureSet | None
) -> tuple[GameConfig, FeatureSet]:
    """The game and the features of an environment, which must be those asked for, if any.

    Raises:
        ValueError: they are others, or it is another kind of environment.
    """
    try:
        env_game, env_features = env.get_attr("config")[0], env.get_attr("feature_set")[0]
    except AttributeError as error:
        raise ValueError("mltetris/Placement-v0 is learnt, no other environment") from error
    for name, wanted, there in (("game", game, env_game), ("features", features, env_features)):
        if wanted not in (None, there):
            raise ValueError(f"{name} is {wanted}, but the environment's is {there}")
    return env_game, env_features
