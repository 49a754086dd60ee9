"""The game as a Gymnasium environment in which an action is a whole placement."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mltetris_server.game import pictures
from mltetris_server.game.config import (
    FeatureSet,
    GameConfig,
    Randomizer,
    Rule,
    feature_limits,
    feature_scales,
    observation_features,
)
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, LEGAL
from mltetris_server.game.packing import unpack_cells

# tetris-gymnasium's reward for an action that is not possible, which ends its episode too.
ILLEGAL_REWARD = -0.1


class PlacementEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """`mltetris/Placement-v0`: choose where the piece goes, see what each choice leaves behind.

    Action: Discrete(4W), column * 4 + rotation, as in tetris-gymnasium's
    GroupedActionsObservations.

    Observation: for each of the 4W placements a row of F + 2 float32 numbers: the scaled
    features of its afterstate (`engine.afterstates`), 1 if it is a candidate (legal, and not
    the same as a lower action), 1 if it would end the game. Rows that are illegal or
    end the game have features 0. As one vector of 4W * (F + 2) (`flat`, as
    Stable-Baselines3 wants it) or as Box(4W, F + 2). With the feature set `board` the
    features are the afterstate's F = W * H cells, 0 or 1, row by row from the top.

    Reward: tetris-gymnasium's defaults: 1 + W * lines**2, and 0 for the placement that ends the
    game. An illegal action changes nothing, earns -0.1 and ends the episode, as there.

    Info: `action_mask` int8[4W] (legal placements), `lines_cleared` (by this placement),
    `lines`, `placements` and `score` of the game, and its `game_number` (`episode` is
    what the monitors of Gymnasium and Stable-Baselines3 put there).

    `reset(seed=s)` starts the first game of seed s, the same as `ShownGame(config, s)`;
    `reset()` goes on to that seed's next game.
    """

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's)

    def __init__(
        self,
        width: int = 10,
        height: int = 20,
        rule: str = Rule.GYMNASIUM,
        randomizer: str = Randomizer.BAG7,
        feature_set: str = FeatureSet.BCTS,
        flat: bool = True,
        render_mode: str | None = None,
    ) -> None:
        """A game of the given kind.

        Args:
            width: Columns, 4..32.
            height: Rows, 4..40.
            rule: `gymnasium` or `published`.
            randomizer: `bag7` or `uniform`.
            feature_set: `bcts`, `dt`, `simple` or `board`.
            flat: One vector, or one row per placement.
            render_mode: None, `rgb_array` or `ansi`.

        Raises:
            ValueError: A size is out of range, or a name is unknown.
        """
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode must be rgb_array or ansi, not {render_mode}")
        self.render_mode = render_mode
        self.config = GameConfig(width, height, Rule(rule), Randomizer(randomizer))
        self.feature_set = FeatureSet(feature_set)
        if self.feature_set is FeatureSet.BOARD:
            limits = np.ones(observation_features(self.feature_set, self.config), np.float32)
        else:
            limits = feature_limits(self.feature_set, self.config)
            limits *= feature_scales(self.feature_set, width)
        high = np.append(limits, [1, 1])
        high = np.tile(high.astype(np.float32), (self.config.actions, 1))
        if flat:
            high = high.reshape(-1)
        self.observation_space = spaces.Box(0, high, dtype=np.float32)
        self.action_space = spaces.Discrete(self.config.actions)
        self._game: ShownGame | None = None
        self._flags = np.zeros(self.config.actions, np.uint8)

    @property
    def game(self) -> ShownGame:
        """The game being played.

        Raises:
            RuntimeError: The environment has never been reset.
        """
        if self._game is None:
            raise RuntimeError("the environment must be reset first")
        return self._game

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a game; see the class.

        Args:
            seed: 0..2**64-1, or None.
            options: Ignored.
        """
        super().reset(seed=seed)
        if seed is not None or self._game is None:
            game_seed = seed
            if game_seed is None:
                game_seed = int(self.np_random.integers(2**64, dtype=np.uint64))
            self._game = ShownGame(self.config, game_seed)
        else:
            self._game.restart()
        return self._observation(), self._info(0)

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Make a placement; see the class.

        Raises:
            ValueError: The game is over.
        """
        game = self.game
        if not game.game_over and not self._flags[action] & LEGAL:
            return self._observation(), ILLEGAL_REWARD, True, False, self._info(0)
        before = game.score
        lines = game.place(int(action))
        reward = float(game.score - before)
        return self._observation(), reward, game.game_over, False, self._info(lines)

    def action_masks(self) -> NDArray[np.bool_]:
        """The candidates, bool[4W]: what sb3-contrib's maskable algorithms ask for."""
        candidates: NDArray[np.bool_] = (self._flags & CANDIDATE) != 0
        return candidates

    def render(self) -> Any:
        """The board with the active piece: an RGB array, or text."""
        if self.render_mode == "ansi":
            return pictures.as_text(self.game)
        if self.render_mode == "rgb_array":
            return pictures.as_image(self.game)
        return None

    def _observation(self) -> NDArray[np.float32]:
        features, self._flags = self.game.afterstates(self.feature_set)
        if self.feature_set is FeatureSet.BOARD:
            features = unpack_cells(features, self.config.height)
        candidate = (self._flags & CANDIDATE) != 0
        fatal = (self._flags & ENDS_GAME) != 0
        rows = np.column_stack((features, candidate, fatal)).astype(np.float32, copy=False)
        return rows.reshape(self.observation_space.shape)

    def _info(self, lines_cleared: int) -> dict[str, Any]:
        game = self.game
        return {
            "action_mask": ((self._flags & LEGAL) != 0).astype(np.int8),
            "lines_cleared": lines_cleared,
            "lines": game.lines,
            "placements": game.placements,
            "score": game.score,
            "game_number": game.episode,
        }
