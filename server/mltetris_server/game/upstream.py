"""Everything about tetris-gymnasium 0.3.1: the reference our rules are held to, and its faults.

For tests and benchmarks only: nothing else imports this module, and it imports the
package (whose installation brings jax and OpenCV along) only when it is used.

Faults found in 0.3.1, each shown by a test in tests/game/test_upstream.py, and what is done here:

- `Tetris(randomizer=...)`, `queue=`, `holder=` and `base_pixels=` raise AttributeError:
  the constructor sets these attributes only where the argument is None. Here they are
  replaced after construction.
- `reset(seed=0)` does not seed: 0 counts as no seed. Here pieces come from our own
  streams.
- `render_mode="rgb_array"` crashes on numpy >= 2.3 (`astype(np.integer)`). Not used here.
- `FeatureVectorObservation` declares an upper bound of 7 and returns values above 19;
  not used here.
- `FeatureVectorObservation` indexes the board with an integer mask, which wipes row 0
  (and row 1 where the mask has ones). `feature_vector` passes a boolean mask.
- A placement that ends the game is observed as an empty board.
- The observation drops a piece from y = 0 without looking at y = 0, where `step`
  looks: a placement that ends the game can be observed as an ordinary one.
  `ends_game` asks as `step` does.
- The key `rotate_clockwise` turns the piece counterclockwise, and `rotate_counterclockwise`
  clockwise. `keys` does what the numbers do.
- The first swap of a game never looks whether the new piece's cells are free, as if the
  board were still empty then. `keys` plays it so.
- `active_tetromino_mask` marks the whole square that holds the piece, not its cells. Not
  used here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.config import ROTATIONS, GameConfig
from mltetris_server.game.games import Games
from mltetris_server.game.randomness import draw_piece

if TYPE_CHECKING:
    from collections.abc import Iterator


class PieceFeed:
    """A randomizer, as upstream understands it, that deals given pieces."""

    def __init__(self, pieces: Iterator[int]) -> None:
        self.size = 7
        self._pieces = pieces

    def get_next_tetromino(self) -> int:
        """The next piece, numbered from 0 as upstream does."""
        return next(self._pieces) - 1

    def reset(self, seed: int | None = None) -> None:
        """Nothing: the pieces are given."""


def pieces_of(games: Games, i: int) -> Iterator[int]:
    """The pieces of board i's game from the active one on, 1..7; the game does not change."""
    streams = games.streams[i : i + 1].copy()
    bags = games.bags[i : i + 1].copy()
    randomizer = int(games.settings[3])
    yield from (int(piece) for piece in games.pieces[i])
    while True:
        yield int(draw_piece(streams, bags, 0, randomizer))


class UpstreamGame:
    """tetris-gymnasium's GroupedActionsObservations, playing the pieces of board i of `games`.

    It observes 4W boards, one per placement.
    """

    def __init__(self, config: GameConfig, games: Games, i: int) -> None:
        from tetris_gymnasium.envs.tetris import Tetris
        from tetris_gymnasium.wrappers.grouped import GroupedActionsObservations
        from tetris_gymnasium.wrappers.observation import FeatureVectorObservation

        self.config = config
        self.tetris = Tetris(width=config.width, height=config.height)
        feed = PieceFeed(pieces_of(games, i))
        self.tetris.randomizer = feed
        self.tetris.queue.randomizer = feed
        self.grouped = GroupedActionsObservations(self.tetris)
        self._features = FeatureVectorObservation(self.tetris)
        self.boards: NDArray[np.uint8]
        self.boards, self.info = self.grouped.reset()

    def step(self, action: int) -> tuple[float, bool, int]:
        """Make a placement; returns (reward, game over, lines cleared)."""
        self.boards, reward, over, _, self.info = self.grouped.step(action)
        return float(reward), bool(over), int(self.info["lines_cleared"])

    @property
    def cells(self) -> NDArray[np.uint8]:
        """The board without the active piece, uint8[H, W], numbered as ours: 0, 1..7."""
        return self._own_numbers(self.tetris.board)

    @property
    def legal(self) -> NDArray[np.bool_]:
        """bool[4W]."""
        mask: NDArray[np.bool_] = self.info["action_mask"] > 0
        return mask

    def afterstate(self, action: int) -> NDArray[np.uint8]:
        """The board observed for a placement, uint8[H, W], numbered as ours."""
        return self._own_numbers(self.boards[action])

    def ends_game(self, action: int) -> bool:
        """Whether `step` would find the placement blocked where the piece appears."""
        tetris = self.tetris
        piece = tetris.active_tetromino
        for _ in range(action % ROTATIONS):
            piece = tetris.rotate(piece)
        x = action // ROTATIONS + tetris.padding - piece.matrix.shape[1] // 2
        return bool(tetris.collision(piece, x, 0))

    def feature_vector(self, action: int) -> NDArray[np.int64]:
        """FeatureVectorObservation of a placement's afterstate, int64[W + 3]."""
        board = self.boards[action]
        observation: dict[str, Any] = {
            "board": board,
            "active_tetromino_mask": np.zeros(board.shape, np.bool_),
        }
        return np.asarray(self._features.observation(observation), np.int64)

    def _own_numbers(self, padded: NDArray[np.uint8]) -> NDArray[np.uint8]:
        cells = self.tetris.crop_padding(padded)
        # 0 is empty and 1 bedrock there, so that pieces start at 2.
        return np.where(cells == 0, 0, cells - 1).astype(np.uint8)
