"""`mltetris/Keys-v0` plays exactly as tetris-gymnasium's own environment does, key by key."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from mltetris_server.game.config import FeatureSet, GameConfig, Randomizer, n_features, raw_scales
from mltetris_server.game.engine import afterstates
from mltetris_server.game.keys import Key
from mltetris_server.game.keys_environment import KeysEnv, KeysGame
from mltetris_server.game.pieces import matrix
from mltetris_server.game.players import PLAYERS, choose_linear
from mltetris_server.game.upstream import PieceFeed, pieces_of
from numpy.typing import NDArray
from tetris_gymnasium.envs.tetris import Tetris

UNIFORM = Randomizer.UNIFORM
ROTATION_OF = {
    (piece, matrix(piece, rotation).tobytes()): rotation
    for piece in range(1, 8)
    for rotation in reversed(range(4))
}


@dataclass
class Seen:
    """What a comparison went through, so that a test can tell it was not an empty one."""

    steps: int = 0
    episodes: int = 0
    lines: int = 0
    hard_drops: int = 0
    settled_by_gravity: int = 0
    swaps: int = 0
    swaps_refused: int = 0
    turned_held: int = 0  # pieces taken out of the holder in another rotation than 0
    escapes: int = 0  # swaps onto filled cells that gravity got out of
    blocked: int = 0  # games that ended with nothing placed
    blocked_spawns: int = 0

    def __iadd__(self, other: Seen) -> Seen:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


def fed_tetris(config: GameConfig, game: KeysGame) -> Tetris:
    """tetris-gymnasium's environment at the start of a game with `game`'s pieces."""
    tetris = Tetris(width=config.width, height=config.height)
    feed = PieceFeed(pieces_of(game.keys.games, 0))
    tetris.randomizer = feed
    tetris.queue.randomizer = feed
    tetris.reset()
    return tetris


class Chooser:
    """Good placements by keys, with random keys and swaps between."""

    def __init__(self, seed: int, recklessness: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.recklessness = recklessness
        self._at = (-1, 0, 0)
        self._target = 0

    def key(self, game: KeysGame) -> int:
        if self.rng.random() < self.recklessness:
            return int(self.rng.integers(8))
        at = (game.episode, game.placements, game.piece)
        if at != self._at:
            self._at = at
            self._target = self._best(game)
            if self.rng.random() < 0.2:
                return Key.SWAP
        column, rotation = divmod(self._target, 4)
        here, turned = game.keys.poses[0, :2].tolist()
        if turned != rotation:
            quarter = (rotation - turned) % 4 == 1
            return Key.ROTATE_CLOCKWISE if quarter else Key.ROTATE_COUNTERCLOCKWISE
        if here != column:
            return Key.MOVE_RIGHT if here < column else Key.MOVE_LEFT
        return int(self.rng.choice((Key.HARD_DROP, Key.HARD_DROP, Key.MOVE_DOWN, Key.NO_OP)))

    def _best(self, game: KeysGame) -> int:
        width = game.config.width
        features = np.empty((4 * width, n_features(FeatureSet.BCTS, width)), np.float32)
        flags = np.empty(4 * width, np.uint8)
        scales = raw_scales(FeatureSet.BCTS, width)
        afterstates(game.keys.games, 0, FeatureSet.BCTS.code, scales, features, flags)
        return int(choose_linear(features, flags, np.array(PLAYERS["bcts"].weights, np.float32)))


def _one_hot(index: int, size: int) -> list[bool]:
    return [k == index for k in range(size)]


def _expected(tetris: Tetris) -> NDArray[np.uint8]:
    """Our observation, made of nothing but upstream's state."""
    cells = np.zeros(tetris.board.shape, np.bool_)
    piece = tetris.active_tetromino
    cells[tetris.get_tetromino_slices(piece, tetris.x, tetris.y)] = piece.matrix > 0
    parts: list[bool] = [
        *(tetris.crop_padding(tetris.board) > 0).flat,
        *tetris.crop_padding(cells).flat,
        *_one_hot(_rotation(piece), 4),
        not tetris.has_swapped,
    ]
    held = tetris.holder.get_tetrominoes()
    parts += _one_hot(held[0].id - 2, 7) if held else [False] * 7
    parts += _one_hot(_rotation(held[0]), 4) if held else [False] * 4
    for coming in tetris.queue.get_queue():
        parts += _one_hot(int(coming), 7)
    return np.array(parts, np.uint8)


def _rotation(piece: object) -> int:
    """The rotation of a piece of theirs; 0 for every square."""
    shape = (piece.matrix > 0).astype(np.uint8)  # type: ignore[attr-defined]
    return ROTATION_OF[piece.id - 1, shape.tobytes()]  # type: ignore[attr-defined]


def _compare(tetris: Tetris, game: KeysGame, theirs: dict[str, NDArray[np.uint8]]) -> None:
    cells = tetris.crop_padding(tetris.board).astype(np.int64)
    np.testing.assert_array_equal(np.maximum(cells - 1, 0), game.cells)
    pose = game.active
    assert (pose.piece, pose.x, pose.y) == (
        tetris.active_tetromino.id - 1,
        tetris.x - tetris.padding,
        tetris.y,
    )
    np.testing.assert_array_equal(
        matrix(pose.piece, pose.rotation), tetris.active_tetromino.matrix > 0
    )
    held = tetris.holder.get_tetrominoes()
    assert (game.held is None) == (not held)
    if game.held is not None:
        assert game.held[0] == held[0].id - 1
        np.testing.assert_array_equal(matrix(*game.held), held[0].matrix > 0)
    assert game.may_swap is not tetris.has_swapped
    assert game.queue == tuple(int(piece) + 1 for piece in tetris.queue.get_queue())
    shown = game.cells
    if not shown.flat[list(pose.cells)].any():
        shown.flat[list(pose.cells)] = pose.piece
    projected = tetris.crop_padding(theirs["board"]).astype(np.int64)
    np.testing.assert_array_equal(np.maximum(projected - 1, 0), shown)


def _compare_observations(tetris: Tetris, observation: NDArray[np.uint8], squares: int) -> None:
    """All but the squares' rotations, which upstream does not tell apart."""
    expected, ours = _expected(tetris), observation.copy()
    if tetris.active_tetromino.id == 3:
        expected[squares : squares + 4] = ours[squares : squares + 4]
    held = tetris.holder.get_tetrominoes()
    if held and held[0].id == 3:
        expected[squares + 12 : squares + 16] = ours[squares + 12 : squares + 16]
    np.testing.assert_array_equal(expected, ours)


def _fill(tetris: Tetris, game: KeysGame, rng: np.random.Generator) -> None:
    """Give both the same random board: holes, overhangs, cells where pieces appear."""
    shape = (game.config.height, game.config.width)
    empty = rng.random(shape) > rng.choice((0.05, 0.2, 0.5))
    empty[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] = True  # no full rows
    cells = np.where(empty, 0, rng.integers(1, 8, size=shape)).astype(np.uint8)
    tetris.crop_padding(tetris.board)[...] = np.where(cells, cells + 1, 0)
    game._cells[...] = cells
    rows = np.arange(shape[0] - 1, -1, -1)
    game.keys.games.columns[0] = ((cells != 0) << rows[:, None]).sum(axis=0)


def compare(
    config: GameConfig, seed: int, steps: int, recklessness: float, random_boards: bool = False
) -> Seen:
    """Play so many keys, game after game, and assert that both agree on everything.

    Args:
        config: The game.
        seed: Of the pieces and of the choices.
        steps: How many keys.
        recklessness: Probability of a random key instead of one towards a good placement.
        random_boards: Games start on a board filled at random instead of an empty one.
    """
    env = KeysEnv(config.width, config.height, config.randomizer)
    env.reset(seed=seed)
    game = env.game
    chooser = Chooser(seed, recklessness)
    cells = 2 * config.width * config.height
    seen = Seen()
    while seen.steps < steps:
        if seen.episodes:
            env.reset()
        tetris = fed_tetris(config, game)
        if random_boards:
            _fill(tetris, game, chooser.rng)
        _compare_observations(tetris, game.observation(), cells)
        seen.episodes += 1
        while seen.steps < steps and not game.game_over:
            _compare_step(tetris, env, chooser.key(game), seen)
    return seen


def _compare_step(tetris: Tetris, env: KeysEnv, key: int, seen: Seen) -> None:
    game = env.game
    may_swap, settled, filled = game.may_swap, game.placements, np.count_nonzero(game.cells)
    theirs, reward, over, truncated, info = tetris.step(key)
    observation, our_reward, our_over, our_truncated, our_info = env.step(np.int64(key))
    assert (our_reward, our_over, our_truncated) == (reward, over, truncated)
    assert our_info["lines_cleared"] == info["lines_cleared"]
    _compare(tetris, game, theirs)
    _compare_observations(tetris, observation, 2 * game.cells.size)

    seen.steps += 1
    seen.lines += int(info["lines_cleared"])
    has_settled = game.placements > settled
    seen.hard_drops += key == Key.HARD_DROP
    seen.settled_by_gravity += has_settled and key != Key.HARD_DROP
    if key == Key.SWAP:
        seen.swaps += may_swap
        seen.swaps_refused += not may_swap
        if may_swap and not has_settled:
            seen.turned_held += game.active.rotation != 0
            seen.escapes += bool(tetris.collision(tetris.active_tetromino, tetris.x, 0))
    if over:
        nothing = bool(np.count_nonzero(game.cells) == filled and not info["lines_cleared"])
        seen.blocked += nothing
        seen.blocked_spawns += not nothing


@pytest.mark.parametrize(
    ("config", "steps", "recklessness"),
    [
        (GameConfig(), 1500, 0.1),
        (GameConfig(), 1000, 1.0),
        (GameConfig(10, 10, randomizer=UNIFORM), 1500, 0.3),
        (GameConfig(6, 8), 1500, 0.2),
        (GameConfig(5, 5, randomizer=UNIFORM), 1000, 0.5),
        (GameConfig(4, 4), 1000, 0.7),
        (GameConfig(32, 40), 400, 0.1),
    ],
    ids=lambda value: f"{value.width}x{value.height}" if isinstance(value, GameConfig) else None,
)
def test_a_slice(config: GameConfig, steps: int, recklessness: float) -> None:
    seen = compare(config, seed=steps, steps=steps, recklessness=recklessness)
    assert seen.steps == steps
    assert min(seen.hard_drops, seen.swaps, seen.swaps_refused) > 0
    if config.height < 40:
        assert seen.settled_by_gravity > 0
        assert seen.lines > 0 or recklessness == 1
    if config.height < 20:
        assert seen.blocked_spawns > 0


@pytest.mark.parametrize("config", [GameConfig(10, 20), GameConfig(5, 6)], ids=str)
def test_random_boards(config: GameConfig) -> None:
    """Swaps onto filled cells: their games end, or go on below what is in the way."""
    seen = compare(config, 1, 1500, 0.7, random_boards=True)
    assert min(seen.blocked, seen.escapes) > 5
    assert seen.turned_held > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_keys() -> None:
    seen = Seen()
    for seed, recklessness in enumerate((0.02, 0.1, 0.3, 0.6, 1.0)):
        for config in (
            GameConfig(),
            GameConfig(10, 20, randomizer=UNIFORM),
            GameConfig(10, 10),
            GameConfig(8, 12, randomizer=UNIFORM),
            GameConfig(7, 9),
            GameConfig(5, 40),
            GameConfig(4, 6, randomizer=UNIFORM),
        ):
            seen += compare(config, seed, 2_500, recklessness)
            seen += compare(config, 100 + seed, 500, recklessness, random_boards=True)
    assert seen.steps >= 100_000
    assert seen.lines > 1_000
    assert min(seen.hard_drops, seen.settled_by_gravity, seen.swaps, seen.swaps_refused) > 1_000
    assert min(seen.turned_held, seen.blocked, seen.blocked_spawns) > 500
    assert seen.escapes > 50
