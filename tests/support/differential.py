"""Playing the engine and tetris-gymnasium side by side, comparing everything at every placement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mltetris_server.game.config import FeatureSet, GameConfig, n_features, raw_scales
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, LEGAL, LINES_SHIFT, afterstates
from mltetris_server.game.packing import unpack_cells
from mltetris_server.game.players import PLAYERS, choose_linear
from mltetris_server.game.upstream import UpstreamGame
from numpy.typing import NDArray


@dataclass
class Seen:
    """What a comparison went through, so that a test can tell it was not an empty one."""

    placements: int = 0
    episodes: int = 0
    lines: int = 0
    blocked: int = 0  # placements that ended the game by themselves
    blocked_spawns: int = 0
    overhangs: int = 0  # placements upstream observes as ordinary though they end the game

    def __iadd__(self, other: Seen) -> Seen:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


def compare(config: GameConfig, seed: int, placements: int, recklessness: float) -> Seen:
    """Play so many placements, game after game, and assert that both agree on everything.

    Args:
        config: The game; its rule must be gymnasium's.
        seed: Of the pieces and of the choices.
        placements: How many.
        recklessness: Probability of a random legal placement instead of a good one.
    """
    rng = np.random.default_rng(seed)
    seen = Seen()
    game = ShownGame(config, seed)
    upstream = UpstreamGame(config, game.games, 0)
    seen.episodes = 1
    for _ in range(placements):
        if game.game_over:
            game.restart()
            upstream = UpstreamGame(config, game.games, 0)
            seen.episodes += 1
        flags = _compare_afterstates(game, upstream, seen)
        action = _choose(game, flags, rng, recklessness)
        _compare_step(game, upstream, action, flags, seen)
        seen.placements += 1
    return seen


def _raw(game: ShownGame, feature_set: FeatureSet) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    width = game.config.width
    features = np.empty((4 * width, n_features(feature_set, width)), np.float32)
    flags = np.empty(4 * width, np.uint8)
    scales = raw_scales(feature_set, width)
    afterstates(game.games, 0, feature_set.code, scales, features, flags)
    return features, flags


def _compare_afterstates(game: ShownGame, upstream: UpstreamGame, seen: Seen) -> NDArray[np.uint8]:
    features, flags = _raw(game, FeatureSet.SIMPLE)
    packed, same_flags = _raw(game, FeatureSet.BOARD)
    np.testing.assert_array_equal(flags, same_flags)
    cells = unpack_cells(packed, game.config.height).reshape(-1, *game.cells.shape)
    np.testing.assert_array_equal((flags & LEGAL) != 0, upstream.legal)
    here = game.cells
    np.testing.assert_array_equal(here, upstream.cells)
    boards: dict[bytes, int] = {}
    for action in np.flatnonzero(flags & LEGAL):
        action = int(action)
        ends = bool(flags[action] & ENDS_GAME)
        assert ends == upstream.ends_game(action)
        if ends:
            # Upstream shows an empty board, or, where y = 0 alone is blocked, a wrong one.
            seen.overhangs += bool(upstream.afterstate(action).any())
            assert not features[action].any()
            assert not cells[action].any()
            continue
        after = here.copy()
        after.flat[list(game.landing_cells(action))] = game.piece
        full = (after != 0).all(axis=1)
        lines = int(full.sum())
        after = np.vstack((np.zeros((lines, after.shape[1]), np.uint8), after[~full]))
        np.testing.assert_array_equal(after, upstream.afterstate(action))
        np.testing.assert_array_equal(cells[action], after != 0)
        assert flags[action] >> LINES_SHIFT == lines
        # A candidate is the first action that leaves its board.
        covered = repr(game.landing_cells(action)).encode()
        assert bool(flags[action] & CANDIDATE) == (covered not in boards)
        boards.setdefault(covered, action)
        np.testing.assert_array_equal(features[action], features[boards[covered]])
        if flags[action] & CANDIDATE:
            np.testing.assert_array_equal(features[action], upstream.feature_vector(action))
    return flags


def _choose(
    game: ShownGame, flags: NDArray[np.uint8], rng: np.random.Generator, recklessness: float
) -> int:
    if rng.random() < recklessness:
        return int(rng.choice(np.flatnonzero(flags & LEGAL)))
    features, flags = _raw(game, FeatureSet.BCTS)
    weights = np.array(PLAYERS["bcts"].weights, np.float32)
    return int(choose_linear(features, flags, weights))


def _compare_step(
    game: ShownGame, upstream: UpstreamGame, action: int, flags: NDArray[np.uint8], seen: Seen
) -> None:
    before = game.score
    reward, over, lines = upstream.step(action)
    assert game.place(action) == lines == flags[action] >> LINES_SHIFT
    assert game.game_over == over
    assert game.score - before == reward
    np.testing.assert_array_equal(game.cells, upstream.cells)
    seen.lines += lines
    if over:
        blocked = bool(flags[action] & ENDS_GAME)
        seen.blocked += blocked
        seen.blocked_spawns += not blocked
