"""tetris-gymnasium's eight keys as a Gymnasium environment that any MlpPolicy can read."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mltetris_server.game import pictures
from mltetris_server.game.config import GameConfig, Randomizer
from mltetris_server.game.display import Pose
from mltetris_server.game.games import upcoming
from mltetris_server.game.keys import (
    QUEUE,
    Key,
    KeyGames,
    new_key_games,
    observation_size,
    observe,
    press,
    reset_keys,
)
from mltetris_server.game.pieces import BITS, HEIGHT, WIDTH, matrix


class KeysGame:
    """One game played key by key, with the piece that filled each cell.

    Two with the same config, seed and number of restarts get the same pieces, which are
    those of a `ShownGame` too.
    """

    def __init__(self, config: GameConfig, seed: int) -> None:
        """Start at the first piece of a game.

        Args:
            config: The game; its rule must be `gymnasium`.
            seed: 0..2**64-1.

        Raises:
            ValueError: The rule is another, or the seed is out of range.
        """
        self.config = config
        self._keys = new_key_games(config, 1, seed)
        self._games = self._keys.games
        self._cells = np.zeros((config.height, config.width), np.uint8)

    @property
    def keys(self) -> KeyGames:
        """The compiled state, board 0: for kernels that choose, not to be changed."""
        return self._keys

    @property
    def cells(self) -> NDArray[np.uint8]:
        """The board, uint8[height, width], top row first: 0 or the piece that filled the cell.

        A copy. The active piece is not in it.
        """
        return self._cells.copy()

    @property
    def piece(self) -> int:
        """The active piece, 1..7."""
        return int(self._games.pieces[0, 0])

    @property
    def active(self) -> Pose:
        """The active piece where it is; it may cover filled cells, as after a swap."""
        column, rotation, y, _ = self._keys.poses[0].tolist()
        shape = matrix(self.piece, rotation)
        x = column - shape.shape[0] // 2
        rows, columns = np.nonzero(shape)
        cells = (rows + y) * self.config.width + columns + x
        return Pose(self.piece, rotation, x, y, tuple(cells.tolist()))

    @property
    def held(self) -> tuple[int, int] | None:
        """The held piece, 1..7, and its rotation, 0..3; None while the holder is empty."""
        piece, rotation = self._keys.holders[0].tolist()
        return (piece, rotation) if piece else None

    @property
    def may_swap(self) -> bool:
        """Whether the active piece may still be swapped."""
        return not self._keys.poses[0, 3]

    @property
    def queue(self) -> tuple[int, ...]:
        """The four pieces after the active one, next first, 1..7."""
        pieces = np.zeros(QUEUE, np.int64)
        upcoming(self._games, 0, pieces)
        return tuple(pieces.tolist())

    @property
    def episode(self) -> int:
        """Number of the game, from 1."""
        return int(self._games.episode[0])

    @property
    def placements(self) -> int:
        """Pieces that have settled in this game, the one that ended it included."""
        return int(self._games.placements[0])

    @property
    def lines(self) -> int:
        """Lines cleared in this game."""
        return int(self._games.lines[0])

    @property
    def score(self) -> int:
        """Sum of the rewards of this game."""
        return int(self._games.score[0])

    @property
    def game_over(self) -> bool:
        """Whether the game has ended."""
        return bool(self._games.over[0])

    def observation(self) -> NDArray[np.uint8]:
        """What can be seen, uint8[2 * W * H + 44]; see `keys.observe`."""
        out = np.empty(observation_size(self.config), np.uint8)
        observe(self._keys, 0, out)
        return out

    def press(self, key: int) -> int:
        """Press a key, and let gravity act.

        Args:
            key: A `Key`, 0..7.

        Returns:
            The number of lines cleared.

        Raises:
            ValueError: The game is over, or there is no such key.
        """
        if self.game_over:
            raise ValueError("the game is over")
        lines, _ = press(self._keys, 0, key)
        if lines < 0:
            raise ValueError(f"there is no key {key}: keys are 0..{len(Key) - 1}")
        if self._keys.settled[0, 0]:
            self._colour()
        return int(lines)

    def restart(self) -> None:
        """Start the next game: the next episode, with its own pieces."""
        reset_keys(self._keys, 0)
        self._cells[...] = 0

    def _colour(self) -> None:
        """Bring `_cells` up to what has just settled."""
        piece, rotation, left, row = self._keys.settled[0].tolist()
        bottom = self.config.height - 1 - row
        for column in range(int(WIDTH[piece, rotation])):
            for k in range(int(HEIGHT[piece, rotation])):
                if int(BITS[piece, rotation, column]) >> k & 1:
                    self._cells[bottom - k, left + column] = piece
        full = self._cells.all(axis=1)
        lines = int(full.sum())
        if lines:
            kept = self._cells[~full]
            self._cells[:lines] = 0
            self._cells[lines:] = kept


class KeysEnv(gymnasium.Env[NDArray[np.uint8], np.int64]):
    """`mltetris/Keys-v0`: tetris-gymnasium's own game, one key at a time.

    It exists to be compared with: `mltetris/Placement-v0` is far easier to learn.

    Action: Discrete(8), tetris-gymnasium's keys: 0 move left, 1 move right, 2 move down,
    3 rotate clockwise, 4 rotate counterclockwise, 5 hard drop, 6 swap with the holder,
    7 nothing. See `keys.Key` about the turns, and the module `keys` for the rules.

    Observation: Box(0, 1, (2 * W * H + 44,), uint8), made for an MlpPolicy: the filled
    cells, the active piece's cells, its rotation, whether it may be swapped, the held
    piece and its rotation, and the four pieces of the queue, all one-hot; `keys.observe`
    has the order. A byte each, so that a replay buffer of a million fits in memory.

    Reward: tetris-gymnasium's defaults: 1 + W * lines**2 for a step in which a piece
    settles, and 0 for any other and for the one that ends the game.

    Info: `lines_cleared` (in this step), `lines`, `placements` and `score` of the game, and
    its `game_number` (`episode` is what the monitors of Gymnasium and Stable-Baselines3
    put there).

    `reset(seed=s)` starts the first game of seed s, with the pieces that
    `mltetris/Placement-v0` has there; `reset()` goes on to that seed's next game. An
    episode is never truncated: gravity ends every game of bad play.
    """

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 10}  # noqa: RUF012 (Gymnasium's)

    def __init__(
        self,
        width: int = 10,
        height: int = 20,
        randomizer: str = Randomizer.BAG7,
        render_mode: str | None = None,
    ) -> None:
        """A game of the given kind; its rule is `gymnasium`.

        Args:
            width: Columns, 4..32.
            height: Rows, 4..40.
            randomizer: `bag7` or `uniform`.
            render_mode: None, `rgb_array` or `ansi`.

        Raises:
            ValueError: A size is out of range, or a name is unknown.
        """
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode must be rgb_array or ansi, not {render_mode}")
        self.render_mode = render_mode
        self.config = GameConfig(width, height, randomizer=Randomizer(randomizer))
        self.observation_space = spaces.Box(0, 1, (observation_size(self.config),), np.uint8)
        self.action_space = spaces.Discrete(len(Key))
        self._game: KeysGame | None = None

    @property
    def game(self) -> KeysGame:
        """The game being played.

        Raises:
            RuntimeError: The environment has never been reset.
        """
        if self._game is None:
            raise RuntimeError("the environment must be reset first")
        return self._game

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
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
            self._game = KeysGame(self.config, game_seed)
        else:
            self._game.restart()
        return self._game.observation(), self._info(0)

    def step(self, action: np.int64) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Press a key; see the class.

        Raises:
            ValueError: The game is over, or there is no such key.
        """
        game = self.game
        before = game.score
        lines = game.press(int(action))
        reward = float(game.score - before)
        return game.observation(), reward, game.game_over, False, self._info(lines)

    def render(self) -> Any:
        """The board with the active piece: an RGB array, or text."""
        if self.render_mode == "ansi":
            return pictures.as_text(self.game)
        if self.render_mode == "rgb_array":
            return pictures.as_image(self.game)
        return None

    def _info(self, lines_cleared: int) -> dict[str, Any]:
        game = self.game
        return {
            "lines_cleared": lines_cleared,
            "lines": game.lines,
            "placements": game.placements,
            "score": game.score,
            "game_number": game.episode,
        }
