"""A board: ghost, motion, trace."""

from __future__ import annotations

import pytest
from mltetris_viewer.model.boards import (
    MAX_DROP_SECONDS,
    MAX_FLASH_SECONDS,
    Board,
    fits,
    ghost_cells,
    landing_cells,
)
from viewer.making import cells, frame, placed

O_AT_TOP = (4, 5, 14, 15)


def test_a_piece_lands_on_the_floor_of_an_empty_board() -> None:
    assert landing_cells(cells(), 10, 20, O_AT_TOP) == (184, 185, 194, 195)


def test_a_piece_lands_on_what_is_below_it() -> None:
    # The right half of the O meets a cell in row 18: the piece stays above it.
    assert landing_cells(cells(".....1....", ".........."), 10, 20, O_AT_TOP) == (
        164,
        165,
        174,
        175,
    )


def test_a_piece_that_collides_already_stays() -> None:
    board = bytearray(cells())
    board[14] = 3
    assert landing_cells(bytes(board), 10, 20, O_AT_TOP) == O_AT_TOP


def test_without_a_piece_there_is_no_ghost() -> None:
    assert ghost_cells(frame(active=())) == ()


def test_with_values_the_ghost_is_the_best_placement() -> None:
    shown = frame()
    for action, value, where in ((0, 1.5, [190]), (4, 2.5, [192]), (8, 2.5, [199])):
        entry = shown.values.add()
        entry.action, entry.value = action, value
        entry.cells.extend(where)
    assert ghost_cells(shown) == (192,)


def test_the_next_placement_is_shown_in_motion() -> None:
    first = frame(seconds=10.0)
    board = Board(first)
    landed = (184, 185, 194, 195)
    assert board.update(placed(first, landed, cells("....22....", "....22....")), now=100.0)
    motion = board.motion
    assert motion is not None
    assert motion.cells == landed and motion.before == cells()
    assert motion.drop(100.0) == 0.0
    assert 0.0 < motion.drop(100.0 + MAX_DROP_SECONDS / 2) < 1.0
    assert motion.drop(100.0 + MAX_DROP_SECONDS) == 1.0
    assert board.moving(100.0 + MAX_DROP_SECONDS / 2)
    assert not board.moving(100.0 + MAX_DROP_SECONDS)


def test_cleared_rows_flash_after_the_drop() -> None:
    before = cells("1111..1111")
    first = frame(1, before)
    board = Board(first)
    board.update(placed(first, (194, 195), cells(), cleared_rows=(19,)), now=0.0)
    motion = board.motion
    assert motion is not None
    assert motion.landed() == cells("1111221111")
    assert motion.flash(MAX_DROP_SECONDS) == 0.0
    assert motion.flash(MAX_DROP_SECONDS + MAX_FLASH_SECONDS / 2) == pytest.approx(0.5)
    assert motion.ends_at() == pytest.approx(MAX_DROP_SECONDS + MAX_FLASH_SECONDS)


def test_motion_ends_before_the_next_placement() -> None:
    first = frame()
    board = Board(first)
    after = cells("....22....")
    board.update(placed(first, (194, 195), after, cleared_rows=(19,), seconds=0.1), now=0.0)
    assert board.motion is not None
    assert board.motion.ends_at() < 0.1


@pytest.mark.parametrize(
    "change",
    [
        {"placements": 3},
        {"episode": 2},
        {"sample": 0.01},
        {"occupied": True},
    ],
    ids=["frames were skipped", "another game", "too fast for the eye", "does not fit"],
)
def test_what_cannot_be_shown_in_motion_is_shown_at_once(change: dict[str, float]) -> None:
    first = frame(board_cells=cells("....1....." if "occupied" in change else ""))
    board = Board(first)
    second = placed(first, (194, 195), cells("....22...."))
    if "placements" in change:
        second.placements = 3
    if "episode" in change:
        second.episode = 2
    if "sample" in change:
        second.sample_time.FromMilliseconds(10)
    assert board.update(second, now=0.0)
    assert board.motion is None
    assert board.frame.cells == second.cells


def test_a_frame_seen_before_changes_nothing() -> None:
    first = frame()
    board = Board(first)
    assert not board.update(frame(), now=1.0)


def test_the_trace_begins_anew_with_every_game() -> None:
    board = Board(frame(1, placements=5, lines=1))
    board.update(frame(2, placements=9, lines=3), now=0.0)
    assert board.trace.points() == [(5.0, 1.0), (9.0, 3.0)]
    board.update(frame(3, placements=1, lines=0, episode=2), now=0.0)
    assert board.trace.points() == [(1.0, 0.0)]


def test_a_board_must_have_as_many_cells_as_it_says() -> None:
    assert fits(frame())
    assert not fits(frame(board_cells=b"\0" * 199))
    assert not fits(frame(width=0, height=0, board_cells=b""))
