"""Features and flags of afterstates, against plain-Python definitions."""

from __future__ import annotations

import numpy as np
import pytest
from mltetris_server.game import afterstates as afterstates_module
from mltetris_server.game.config import (
    FeatureSet,
    GameConfig,
    Randomizer,
    Rule,
    feature_limits,
    feature_scales,
    n_features,
    raw_scales,
)
from mltetris_server.game.engine import (
    CANDIDATE,
    ENDS_GAME,
    LEGAL,
    LINES_SHIFT,
    Games,
    afterstates,
    new_games,
    place,
    reset_game,
)
from mltetris_server.game.pieces import BITS, LEFT, TWIN, TWIN_SHIFT, WIDTH
from numpy.typing import NDArray
from support.plain_tetris import (
    Landed,
    bcts_features,
    board_features,
    column_transitions,
    cumulative_wells,
    diversity,
    drop,
    dt_features,
    heights,
    hole_depth,
    holes,
    parse,
    row_transitions,
    set_board,
    simple_features,
)

DEFINITIONS = {
    FeatureSet.SIMPLE: simple_features,
    FeatureSet.BCTS: bcts_features,
    FeatureSet.DT: dt_features,
    FeatureSet.BOARD: board_features,
}
SIZES = [(4, 4), (5, 9), (10, 20), (10, 10), (32, 40)]


def look(
    games: Games, feature_set: FeatureSet, scales: NDArray[np.float32] | None = None
) -> tuple[int, NDArray[np.float32], NDArray[np.uint8]]:
    """What `afterstates` says of board 0."""
    width = int(games.settings[0])
    features = np.full((4 * width, n_features(feature_set, width)), np.nan, np.float32)
    flags = np.full(4 * width, 255, np.uint8)
    if scales is None:
        scales = raw_scales(feature_set, width)
    count = afterstates(games, 0, feature_set.code, scales, features, flags)
    return count, features, flags


def random_board(config: GameConfig, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A board with stacks, holes, overhangs and rows that are nearly full."""
    board = rng.random((config.height, config.width)) < rng.choice([0.3, 0.7, 0.95])
    board[: rng.integers(0, config.height)] = False
    # No row of a real board is full.
    board[np.arange(config.height), rng.integers(0, config.width, config.height)] = False
    return np.asarray(board)


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_every_afterstate_is_described_by_the_definitions(
    rule: Rule, size: tuple[int, int]
) -> None:
    config = GameConfig(*size, rule)
    rng = np.random.default_rng(size)
    games = new_games(config, 1, seed=1)
    cleared = fatal = 0
    for _ in range(3 if size[0] == 32 else 25):
        board = random_board(config, rng)
        set_board(games, 0, board)
        piece = int(rng.integers(1, 8))
        games.pieces[0, 0] = piece
        count, _, flags = look(games, FeatureSet.BCTS)
        assert count == np.count_nonzero(flags & CANDIDATE) > 0
        features = {}
        for feature_set in FeatureSet:
            same_count, features[feature_set], same_flags = look(games, feature_set)
            np.testing.assert_array_equal(flags, same_flags)
            assert same_count == count
        boards: set[tuple[object, ...]] = set()
        for action in range(config.actions):
            landed = drop(board, piece, action, config)
            if not isinstance(landed, Landed):
                assert not any(rows[action].any() for rows in features.values())
                if landed == "illegal":
                    assert flags[action] == 0
                else:
                    assert int(flags[action]) & ~CANDIDATE == LEGAL | ENDS_GAME
                    fatal += 1
                continue
            lines = len(landed.cleared)
            assert int(flags[action]) & ~CANDIDATE == LEGAL | lines << LINES_SHIFT
            assert bool(flags[action] & CANDIDATE) == (tuple(sorted(landed.cells)) not in boards)
            boards.add(tuple(sorted(landed.cells)))
            for feature_set, define in DEFINITIONS.items():
                assert list(features[feature_set][action]) == define(landed)
            cleared += lines
    if size != (32, 40):
        assert cleared > 0
        assert fatal > 0


def test_known_values_of_dellacheries_wells() -> None:
    # The board in MDPTetris' documentation of the feature: 6 + 1 + 1 + 12.
    board = parse(
        """
        ........
        ........
        ...#....
        ...##...
        .#.##...
        .#####.#
        .#####.#
        #####..#
        ...###.#
        #.#..#.#
        """
    )
    assert cumulative_wells(board) == 20


def test_known_values_of_the_others() -> None:
    board = parse(
        """
        .....
        .#...
        ##...
        .#..#
        #..##
        """
    )
    assert heights(board) == [3, 4, 0, 1, 2]
    assert sorted(holes(board)) == [(3, 0), (4, 1)]
    assert hole_depth(board) == 1 + 3
    assert diversity(board) == 1  # 1, -4, 1, 1
    assert row_transitions(board) == 2 + 4 + 2 + 4 + 2
    assert column_transitions(board) == 3 + 3 + 1 + 1 + 1


def test_known_values_of_the_diversity() -> None:
    assert diversity(parse(".....")) == 1  # all flat
    assert diversity(parse("....#\n...##\n.#.##\n.####\n#####")) == 3  # 2, -1, 2, 1
    assert diversity(parse("#....\n#...#\n#...#\n#...#\n#####")) == 1  # -4, 0, 0, 3


def test_an_empty_board_and_a_bar() -> None:
    games = new_games(GameConfig(10, 20), 1, seed=1)
    games.pieces[0, 0] = 1
    count, features, flags = look(games, FeatureSet.BCTS)
    assert count == 17
    # Upright in the leftmost column: rotation 3 there; rotation 1 would be column 1, a repeat.
    assert flags[3] == LEGAL | CANDIDATE
    assert flags[4 * 1 + 1] == LEGAL
    assert list(features[3]) == [1.5, 0, 0, 10, 0, 0, 0, 0]
    assert list(features[4 * 2]) == [0, 0, 0, 10, 0, 0, 0, 0]
    _, features, _ = look(games, FeatureSet.SIMPLE)
    assert list(features[3]) == [4, *[0] * 9, 4, 0, 4]


def test_number_of_candidates_of_each_piece() -> None:
    games = new_games(GameConfig(10, 20), 1, seed=1)
    counts = []
    for piece in range(1, 8):
        games.pieces[0, 0] = piece
        counts.append(look(games, FeatureSet.BCTS)[0])
    assert counts == [17, 9, 34, 17, 17, 34, 34]


@pytest.mark.parametrize("feature_set", list(FeatureSet))
def test_scaled_features_are_the_raw_ones_times_the_scales(feature_set: FeatureSet) -> None:
    config = GameConfig(10, 20, randomizer=Randomizer.UNIFORM)
    games = new_games(config, 1, seed=2)
    scales = feature_scales(feature_set, 10)
    limits = feature_limits(feature_set, config)
    for _ in range(200):
        _, raw, flags = look(games, feature_set)
        _, scaled, scaled_flags = look(games, feature_set, scales)
        np.testing.assert_array_equal(flags, scaled_flags)
        np.testing.assert_allclose(scaled, raw * scales, rtol=1e-6)
        assert (raw >= 0).all()
        assert (raw <= limits).all()
        if place(games, 0, int(np.flatnonzero(flags & CANDIDATE)[-1]))[1]:
            reset_game(games, 0)


def test_row_transitions_do_not_depend_on_the_boards_height() -> None:
    """A network trained on a short board must read a tall one the same way."""
    low, tall = (new_games(GameConfig(10, height), 1, seed=3) for height in (10, 40))
    for action in (20, 4, 33, 12, 25):
        assert place(low, 0, action) == place(tall, 0, action)
        for feature_set in FeatureSet:
            np.testing.assert_array_equal(look(low, feature_set)[1], look(tall, feature_set)[1])


def test_looking_changes_nothing() -> None:
    games = new_games(GameConfig(), 2, seed=4)
    for action in (20, 4, 33, 12, 25):
        place(games, 0, action)
    before = games._replace(**{name: value.copy() for name, value in games._asdict().items()})
    for feature_set in FeatureSet:
        look(games, feature_set)
    for name in games._fields:
        np.testing.assert_array_equal(getattr(games, name), getattr(before, name))


def test_a_twins_placements_are_all_there_before_it() -> None:
    """`afterstates` takes a twin's rows from the rotation it repeats, lane by lane."""
    order = afterstates_module._ROTATIONS
    for piece in range(1, 8):
        for rotation in range(4):
            twin = int(TWIN[piece, rotation])
            if twin < 0:
                continue
            assert np.array_equal(BITS[piece, rotation], BITS[piece, twin])
            between = order[order.index(twin) + 1 : order.index(rotation)]
            assert all(int(TWIN[piece, other]) == twin for other in between)
            assert order.index(twin) < order.index(rotation)
            left, twin_left = int(LEFT[piece, rotation]), int(LEFT[piece, twin])
            assert left - twin_left == int(TWIN_SHIFT[piece, rotation]) <= 0
            span = int(WIDTH[piece, rotation])
            for width in range(4, 33):
                lanes = min(width, width - span - left + 1) + left
                assert lanes <= min(width, width - span - twin_left + 1) + twin_left


@pytest.mark.parametrize("wrong", ["features", "flags", "scales", "set"])
def test_arrays_that_do_not_fit_are_refused(wrong: str) -> None:
    games = new_games(GameConfig(), 1, seed=1)
    features = np.zeros((39 if wrong == "features" else 40, 8), np.float32)
    flags = np.zeros(39 if wrong == "flags" else 40, np.uint8)
    scales = np.ones(7 if wrong == "scales" else 8, np.float32)
    codes = {FeatureSet.BCTS.code}
    if wrong == "set":
        codes = {feature_set.code for feature_set in FeatureSet} - codes
    for code in codes:
        with pytest.raises(ValueError, match="do not fit"):
            afterstates(games, 0, code, scales, features, flags)
