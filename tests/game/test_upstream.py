"""The faults of tetris-gymnasium 0.3.1 that `game.upstream` names: one test each.

A test that fails after an upgrade says which workaround is no longer needed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import requires
from typing import Any

import numpy as np
import pytest
from mltetris_server.game.config import GameConfig
from mltetris_server.game.engine import new_games
from mltetris_server.game.pieces import matrix
from mltetris_server.game.upstream import PieceFeed, UpstreamGame, pieces_of
from tetris_gymnasium.components.tetromino import Pixel
from tetris_gymnasium.components.tetromino_holder import TetrominoHolder
from tetris_gymnasium.components.tetromino_queue import TetrominoQueue
from tetris_gymnasium.components.tetromino_randomizer import BagRandomizer, TrueRandomizer
from tetris_gymnasium.envs.tetris import Tetris
from tetris_gymnasium.wrappers.grouped import GroupedActionsObservations
from tetris_gymnasium.wrappers.observation import FeatureVectorObservation

# Columns of bedrock left of the board.
PADDING = 4


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("randomizer", lambda: TrueRandomizer(7)),
        ("queue", lambda: TetrominoQueue(BagRandomizer(7))),
        ("holder", TetrominoHolder),
        ("base_pixels", lambda: [Pixel(0, [0, 0, 0]), Pixel(1, [1, 1, 1])]),
    ],
)
def test_parts_cannot_be_passed(name: str, make: Callable[[], Any]) -> None:
    with pytest.raises(AttributeError, match=name):
        Tetris(**{name: make()})


def _first_pieces(seed: int) -> tuple[int, ...]:
    env = Tetris()
    env.reset(seed=seed)
    return tuple(int(env.queue.get_next_tetromino()) for _ in range(40))


def test_seed_0_does_not_seed() -> None:
    assert _first_pieces(1) == _first_pieces(1)
    assert len({_first_pieces(0) for _ in range(4)}) > 1


@pytest.mark.skipif(
    tuple(int(part) for part in np.__version__.split(".")[:2]) < (2, 3),
    reason="numpy before 2.3 still took the abstract type",
)
def test_rgb_rendering_crashes_on_new_numpy() -> None:
    env = Tetris(render_mode="rgb_array")
    env.reset(seed=1)
    with pytest.raises(TypeError):
        env.render()


def test_features_exceed_their_declared_bound() -> None:
    env = Tetris()
    wrapper = FeatureVectorObservation(env)
    assert wrapper.observation_space.high.max() == 7
    env.reset(seed=1)
    env.board[1:20, PADDING + 4] = 2
    vector = wrapper.observation({**env._get_obs(), "board": env.board.copy()})
    assert vector.max() >= 19
    assert not wrapper.observation_space.contains(vector)


def test_the_feature_masks_wipe_the_top_row() -> None:
    env = Tetris()
    wrapper = FeatureVectorObservation(env)
    env.reset(seed=1)
    board = env.board.copy()
    board[:20, PADDING + 4] = 2

    def seen(mask_type: type) -> int:
        mask = np.zeros(board.shape, mask_type)
        observation = {"board": board.copy(), "active_tetromino_mask": mask}
        return int(wrapper.observation(observation)[4])

    assert seen(np.uint8) == 19  # the column is 20 high
    assert seen(np.bool_) == 20


def test_a_placement_that_ends_the_game_is_observed_as_an_empty_board() -> None:
    env = Tetris()
    grouped = GroupedActionsObservations(env)
    grouped.reset(seed=1)
    env.board[:20, PADDING + 3 : PADDING + 7] = 2
    boards = grouped.observation(env._get_obs())
    action = 4 * 5
    assert grouped.legal_actions_mask[action] == 1
    assert not boards[action].any()
    assert grouped.step(action)[2]


def test_the_observation_does_not_look_at_y_0() -> None:
    env = Tetris()
    grouped = GroupedActionsObservations(env)
    grouped.reset(seed=1)
    # A square that would start on a filled cell in the top row only.
    env.active_tetromino = env.tetrominoes[1]
    env.board[0, PADDING + 4] = 2
    boards = grouped.observation(env._get_obs())
    action = 4 * 5
    assert boards[action].any(), "observed as an ordinary placement"
    _, reward, over, _, _ = grouped.step(action)
    assert (reward, over) == (0, True)


def test_clockwise_is_counterclockwise() -> None:
    env = Tetris()
    env.reset(seed=1)
    env.active_tetromino = env.tetrominoes[2]
    env.step(env.actions.rotate_clockwise)
    # The T's nose pointed up and now points left.
    assert (env.active_tetromino.matrix > 0).tolist() == [
        [False, True, False],
        [True, True, False],
        [False, True, False],
    ]


def test_the_first_swap_does_not_look_for_filled_cells() -> None:
    env = Tetris()
    env.reset(seed=1)
    env.board[:2, PADDING + 3 : PADDING + 7] = 2
    env.gravity_enabled = False
    over = env.step(env.actions.swap)[2]
    assert not over
    assert env.collision(env.active_tetromino, env.x, env.y)


def test_the_mask_of_the_piece_is_a_square() -> None:
    env = Tetris()
    env.reset(seed=1)
    env.active_tetromino = env.tetrominoes[0]
    env.reset_tetromino_position()
    assert env._get_obs()["active_tetromino_mask"].sum() == 16


def test_it_pulls_jax_and_opencv() -> None:
    names = " ".join(requires("tetris-gymnasium") or ()).lower()
    assert "jax" in names
    assert "opencv" in names


def test_our_module_imports_it_only_when_used() -> None:
    code = (
        "import sys, mltetris_server.game.upstream;"
        "print([name for name in ('tetris_gymnasium', 'cv2', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_pieces_are_its_pieces() -> None:
    env = Tetris()
    for piece in range(1, 8):
        theirs = env.tetrominoes[piece - 1]
        for rotation in range(4):
            np.testing.assert_array_equal(theirs.matrix != 0, matrix(piece, rotation) != 0)
            theirs = env.rotate(theirs)


def test_our_pieces_are_fed_to_it() -> None:
    config = GameConfig()
    games = new_games(config, 2, seed=5)
    feed = PieceFeed(pieces_of(games, 1))
    first = [feed.get_next_tetromino() + 1 for _ in range(7)]
    assert sorted(first) == [1, 2, 3, 4, 5, 6, 7]
    upstream = UpstreamGame(config, games, 1)
    assert upstream.tetris.active_tetromino.id - 1 == first[0] == games.pieces[1, 0]
    assert [int(piece) + 1 for piece in upstream.tetris.queue.get_queue()] == first[1:5]
