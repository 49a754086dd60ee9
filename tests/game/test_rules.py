"""What a placement does, under both rules and on boards of several sizes."""

from __future__ import annotations

import numpy as np
import pytest
from mltetris_server.game.config import GameConfig, Randomizer, Rule
from mltetris_server.game.engine import ILLEGAL, Games, landing_row, new_games, place, reset_game
from mltetris_server.game.pieces import matrix
from support.plain_tetris import Landed, board_of, drop, parse, set_board, spawns

I, O, T, S, Z, J, L = range(1, 8)  # noqa: E741 (the pieces' names)


def game(rows: str, piece: int, following: int = O, rule: str = "gymnasium") -> Games:
    """One game with a given board and pieces, as high as its drawing."""
    board = parse(rows)
    height, width = board.shape
    games = new_games(GameConfig(width, height, Rule(rule)), 1, seed=1)
    set_board(games, 0, board)
    games.pieces[0] = (piece, following)
    return games


def at(column: int, rotation: int = 0) -> int:
    return 4 * column + rotation


def test_a_piece_falls_and_rows_are_cleared() -> None:
    games = game("......\n......\n......\n#.....\n###...\n####..", O)
    assert place(games, 0, at(5)) == (1, False)
    expected = parse("......\n......\n......\n......\n#.....\n###.##")
    np.testing.assert_array_equal(board_of(games, 0), expected)


@pytest.mark.parametrize(
    ("lines", "rows", "piece", "action"),
    [
        (0, "....\n....\n....\n....\n....", O, at(1)),
        (1, "....\n....\n....\n....\n.###", I, at(0, 3)),
        (2, "....\n....\n....\n##..\n##..", O, at(3)),
        (3, "....\n.#..\n.###\n.###\n.###", I, at(0, 3)),
        (4, "....\n.###\n.###\n.###\n.###", I, at(0, 3)),
    ],
)
def test_score(lines: int, rows: str, piece: int, action: int) -> None:
    games = game(rows, piece)
    assert place(games, 0, action) == (lines, False)
    assert games.score[0] == 1 + 4 * lines**2
    assert games.lines[0] == lines
    assert games.placements[0] == 1


def test_rows_that_are_not_neighbours_are_cleared_at_once() -> None:
    games = game("....\n....\n.###\n.#.#\n.###\n.##.", I)
    assert place(games, 0, at(0, 3)) == (2, False)
    np.testing.assert_array_equal(board_of(games, 0), parse("....\n....\n....\n....\n##.#\n###."))


def test_an_illegal_placement_changes_nothing() -> None:
    games = new_games(GameConfig(), 1, seed=1)
    games.pieces[0] = (I, O)
    before = [array.copy() for array in games]
    for action in (at(0), at(1), at(9), at(0, 1), -1, 40, 10**9):
        assert landing_row(games, 0, I, action) == ILLEGAL
        assert place(games, 0, action) == (-1, False)
    for array, copy in zip(games, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("rule", list(Rule))
def test_a_game_that_is_over_stays_so(rule: Rule) -> None:
    games = new_games(GameConfig(4, 4, rule), 1, seed=2)
    for _ in range(50):
        if place(games, 0, at(2))[1]:
            break
    assert games.over[0] == 1
    before = [array.copy() for array in games]
    assert place(games, 0, at(1)) == (0, True)
    for array, copy in zip(games, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    reset_game(games, 0)
    assert games.episode[0] == 2
    assert games.over[0] == games.score[0] == games.lines[0] == games.placements[0] == 0
    assert not games.columns.any()


def test_gymnasium_a_blocked_placement_ends_the_game_and_places_nothing() -> None:
    rows = "....\n.#..\n.#..\n.#..\n.#.."
    games = game(rows, O)
    assert place(games, 0, at(1)) == (0, True)
    np.testing.assert_array_equal(board_of(games, 0), parse(rows))
    assert (games.placements[0], games.score[0], games.over[0]) == (1, 0, 1)


def test_gymnasium_a_blocked_spawn_ends_the_game_after_lines_are_cleared() -> None:
    # The bar clears a line, and the square still finds its cells taken: the line counts, the
    # reward does not.
    games = game(".##.\n.##.\n.#..\n.#..\n.###", I)
    assert place(games, 0, at(0, 3)) == (1, True)
    assert (games.lines[0], games.score[0], games.over[0]) == (1, 0, 1)


def test_gymnasium_clearing_lines_can_free_the_spawn() -> None:
    games = game("....\n.##.\n.##.\n.###\n.###", I)
    assert place(games, 0, at(0, 3)) == (2, False)
    assert games.score[0] == 1 + 4 * 2**2


def test_gymnasium_a_piece_may_start_below_an_overhang() -> None:
    # The T's matrix has its left cell in the second row: it starts under the cell at the top.
    games = game("#...\n....\n....\n....", T)
    assert landing_row(games, 0, T, at(1)) == 0
    assert place(games, 0, at(1))[0] == 0
    np.testing.assert_array_equal(board_of(games, 0), parse("#...\n....\n.#..\n###."))


def test_published_a_piece_falls_from_above() -> None:
    games = game("#...\n....\n....\n....", T, rule="published")
    assert place(games, 0, at(1)) == (0, True)


def test_published_the_spawn_need_not_be_free() -> None:
    rows = ".##.\n.##.\n.##.\n.##.\n.##."
    games = game(rows, I, rule="published")
    assert place(games, 0, at(0, 3)) == (0, False)
    games = game(rows, I)
    assert place(games, 0, at(0, 3)) == (0, True)


def test_published_a_piece_above_the_top_clears_no_lines() -> None:
    # The bar would complete three rows, but its uppermost cell is above the board.
    games = game(".###\n.###\n.###\n###.", I, rule="published")
    before = board_of(games, 0)
    assert place(games, 0, at(0, 3)) == (0, True)
    np.testing.assert_array_equal(board_of(games, 0), before)
    assert games.score[0] == 0


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize(
    "size", [(4, 4), (5, 7), (10, 20), (32, 6), (4, 40)], ids=lambda s: f"{s[0]}x{s[1]}"
)
def test_random_play_goes_as_in_plain_python(rule: Rule, size: tuple[int, int]) -> None:
    config = GameConfig(*size, rule, Randomizer.UNIFORM)
    rng = np.random.default_rng(size[0])
    games = new_games(config, 1, seed=size[1])
    score = lines = ended = 0
    for _ in range(300):
        board = board_of(games, 0)
        piece, following = (int(piece) for piece in games.pieces[0])
        landings = {action: drop(board, piece, action, config) for action in range(config.actions)}
        legal = [action for action, landed in landings.items() if landed != "illegal"]
        for action in set(landings) - set(legal):
            assert landing_row(games, 0, piece, action) == ILLEGAL
        action = int(rng.choice(legal))
        landed = landings[action]
        made = place(games, 0, action)
        if isinstance(landed, Landed):
            over = not spawns(landed.after, following, config)
            assert made == (len(landed.cleared), over)
            np.testing.assert_array_equal(board_of(games, 0), landed.after)
            lines += len(landed.cleared)
            score += 0 if over else 1 + config.width * len(landed.cleared) ** 2
            assert games.pieces[0, 0] == following
        else:
            assert made == (0, True)
            np.testing.assert_array_equal(board_of(games, 0), board)
        assert (games.score[0], games.lines[0]) == (score, lines)
        if made[1]:
            ended += 1
            reset_game(games, 0)
            score = lines = 0
    assert ended > 0


def test_boards_of_one_games_do_not_touch_each_other() -> None:
    games = new_games(GameConfig(), 3, seed=1)
    place(games, 1, at(5))
    assert games.columns[1].any()
    assert not games.columns[0].any()
    assert not games.columns[2].any()
    assert list(games.placements) == [0, 1, 0]


def test_pieces_are_four_cells_and_their_turns_repeat() -> None:
    for piece in range(1, 8):
        for rotation in range(4):
            assert matrix(piece, rotation).sum() == 4
        np.testing.assert_array_equal(matrix(piece, 4), matrix(piece, 0))
