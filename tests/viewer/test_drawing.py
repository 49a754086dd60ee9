"""What is painted, by its pixels."""

from __future__ import annotations

import pygame
import pytest
from mltetris_api.v1 import run_pb2
from mltetris_viewer.drawing.palette import GUIDELINE
from mltetris_viewer.drawing.screen import Interface, Screen
from mltetris_viewer.layout import MIN_SIZE, BoardPlace
from mltetris_viewer.model import events
from mltetris_viewer.model.viewer import ViewerModel
from viewer.making import cells, connected, frame, placed, point, run

RUN = "train-aaaaaa"
pytestmark = pytest.mark.usefixtures("display")


def middle(place: BoardPlace, column: int, row: int) -> tuple[int, int]:
    """The pixel in the middle of a cell."""
    x = place.well.x + column * place.cell + place.cell // 2
    return x, place.well.y + row * place.cell + place.cell // 2


def painted(
    model: ViewerModel, now: float = 0.0, size: tuple[int, int] = (1280, 720)
) -> tuple[pygame.Surface, Screen]:
    """The model on a fresh surface, and the screen that painted it."""
    surface = pygame.Surface(size)
    screen = Screen()
    screen.draw(surface, model, Interface(), now)
    return surface, screen


def colour(surface: pygame.Surface, at: tuple[int, int]) -> tuple[int, ...]:
    return tuple(surface.get_at(at))[:3]


def is_empty(surface: pygame.Surface, at: tuple[int, int]) -> bool:
    return sum(colour(surface, at)) < 80


@pytest.mark.parametrize("size", [MIN_SIZE, (1280, 720), (1920, 1080), (3840, 2160)], ids=str)
def test_every_cell_has_its_piece_s_colour(size: tuple[int, int]) -> None:
    board = cells("1234567...", "7654321.12")
    model = connected(run())
    model.apply(events.FramesArrived(RUN, [frame(board_cells=board, active=())]), 0.0)
    surface, screen = painted(model, size=size)
    place = screen.layout.boards[0]
    for index, piece in enumerate(board):
        row, column = divmod(index, 10)
        at = middle(place, column, row)
        if piece:
            assert colour(surface, at) == GUIDELINE.pieces[piece], (column, row)
        else:
            assert is_empty(surface, at), (column, row)


def test_the_active_piece_is_solid_and_its_ghost_an_outline() -> None:
    model = connected(run())
    model.apply(events.FramesArrived(RUN, [frame(piece=3, active=(4, 13, 14, 15))]), 0.0)
    surface, screen = painted(model)
    place = screen.layout.boards[0]
    purple = GUIDELINE.pieces[3]
    for column, row in ((4, 0), (3, 1), (4, 1), (5, 1)):
        assert colour(surface, middle(place, column, row)) == purple
    for column, row in ((4, 18), (3, 19), (4, 19), (5, 19)):
        inside = colour(surface, middle(place, column, row))
        x, y = middle(place, column, row)
        edge = colour(surface, (x, y - place.cell // 2 + max(2, place.cell // 10)))
        assert inside != purple
        assert sum(edge) > 2 * sum(inside), "the outline stands out"
    assert is_empty(surface, middle(place, 7, 19))


def test_a_placement_falls_flashes_and_rests() -> None:
    model = connected(run())
    first = frame(1, cells("1111..1111"), active=())
    model.apply(events.FramesArrived(RUN, [first]), 0.0)
    second = placed(first, (184, 185, 194, 195), cells("....22...."), cleared_rows=(19,))
    second.active.ClearField("cells")
    model.apply(events.FramesArrived(RUN, [second]), 10.0)
    motion = model.boards[0].motion
    assert motion is not None
    yellow, cyan = GUIDELINE.pieces[2], GUIDELINE.pieces[1]

    surface, screen = painted(model, 10.0)
    place = screen.layout.boards[0]
    assert colour(surface, middle(place, 4, 18 - motion.drop_rows)) == yellow
    assert is_empty(surface, middle(place, 4, 18))
    assert colour(surface, middle(place, 0, 19)) == cyan

    surface, _ = painted(model, 10.0 + motion.drop_seconds + 0.1 * motion.flash_seconds)
    assert colour(surface, middle(place, 4, 18)) == yellow
    assert min(colour(surface, middle(place, 0, 19))) > 180, "the cleared row is lit"

    surface, _ = painted(model, motion.ends_at())
    assert is_empty(surface, middle(place, 4, 18))
    assert is_empty(surface, middle(place, 0, 19))
    assert colour(surface, middle(place, 4, 19)) == yellow


def test_nothing_is_painted_while_nothing_changes(display: pygame.Surface) -> None:
    model = connected(run())
    model.apply(events.FramesArrived(RUN, [frame()]), 0.0)
    screen = Screen()
    assert screen.draw(display, model, Interface(), 0.0)
    assert screen.draw(display, model, Interface(), 1.0) == []


def test_in_motion_only_the_well_is_painted(display: pygame.Surface) -> None:
    model = connected(run())
    first = frame()
    model.apply(events.FramesArrived(RUN, [first]), 0.0)
    screen = Screen()
    screen.draw(display, model, Interface(), 0.0)
    model.apply(events.FramesArrived(RUN, [placed(first, (194, 195), cells("....22...."))]), 1.0)
    screen.draw(display, model, Interface(), 1.0)
    assert screen.draw(display, model, Interface(), 1.02) == [
        pygame.Rect(screen.layout.boards[0].well)
    ]


def test_painting_again_gives_the_same_picture_as_painting_afresh(display: pygame.Surface) -> None:
    """What is left standing from the picture before must be what belongs there."""
    model = connected(run(), run("train-b", run_pb2.RUN_STATE_STOPPED))
    screen = Screen()

    def same(now: float, interface: Interface = Interface()) -> None:  # noqa: B008
        screen.draw(display, model, interface, now)
        afresh = pygame.Surface(display.get_size())
        Screen().draw(afresh, model, interface, now)
        assert pygame.image.tobytes(display, "RGB") == pygame.image.tobytes(afresh, "RGB")

    same(0.0)
    first = frame()
    model.apply(events.FramesArrived(RUN, [first]), 0.0)
    same(0.0)
    model.apply(events.FramesArrived(RUN, [placed(first, (194, 195), cells("....22...."))]), 1.0)
    for now in (1.0, 1.05, 1.1, 2.0):
        same(now)
    model.apply(
        events.PointsArrived(RUN, [point(n, 1000 * n, mean_lines=n) for n in range(1, 50)], True),
        2.0,
    )
    same(2.0)
    same(2.1, Interface(help_open=True))
    model.apply(events.CommandFailed(1, "something went wrong"), 2.1)
    same(2.2, Interface(help_open=True))
    same(2.3)
    model.expire(100.0)
    same(100.0, Interface(mouse=(60, 690)))
    model.apply(events.LinkDown("gone"), 100.0)
    same(101.0)
    same(105.0)
    model.apply(events.LinkUp(), 106.0)
    model.expire(200.0)
    same(200.0)
    model.apply(events.FramesArrived(RUN, [frame(9, width=10, height=10)]), 200.0)
    same(200.0)


@pytest.mark.parametrize("boards", [2, 3, 4])
def test_in_a_race_every_board_is_shown(boards: int) -> None:
    model = connected(run("demo-aaaaaa", demo=True))
    frames = [
        frame(1, cells(str(number + 1) * 3), board=number, player=f"slot-{number}", active=())
        for number in range(boards)
    ]
    model.apply(events.FramesArrived("demo-aaaaaa", frames), 0.0)
    surface, screen = painted(model)
    assert len(screen.layout.boards) == boards
    for number, place in enumerate(screen.layout.boards):
        assert colour(surface, middle(place, 1, 19)) == GUIDELINE.pieces[number + 1]


def test_a_curve_grows_to_the_right_and_up() -> None:
    model = connected(run())
    points = [point(n, 1000 * n, mean_lines=n, mean_reward=float(n)) for n in range(1, 200)]
    model.apply(events.PointsArrived(RUN, points, True), 0.0)
    surface, screen = painted(model)
    panel = screen.layout.panel
    assert panel is not None
    blue = GUIDELINE.curves[1]
    drawn = [
        (x, y)
        for x in range(panel.x, panel.right)
        for y in range(panel.centre_y - panel.h // 6, panel.bottom)
        if colour(surface, (x, y)) == blue
    ]
    assert len(drawn) > 50
    rightmost, leftmost = max(drawn), min(drawn)
    assert rightmost[0] - leftmost[0] > panel.w // 2
    assert rightmost[1] < leftmost[1], "higher on the screen is less"


@pytest.mark.parametrize("state", [s for s in run_pb2.RunState.values() if s])
def test_every_state_can_be_painted_at_every_size(state: run_pb2.RunState.ValueType) -> None:
    shown = run(state=state)
    shown.display_name = "名 \n\0 " + "long " * 40
    shown.error.message = "word " * 80
    model = connected(shown)
    model.apply(
        events.PointsArrived(RUN, [point(1, 0, loss=float("nan"), mean_lines=0.0)], True), 0.0
    )
    for size in ((200, 100), MIN_SIZE, (900, 1200), (1920, 1080)):
        painted(model, size=size)


def test_an_unknown_piece_still_is_a_filled_cell() -> None:
    model = connected(run())
    board = bytearray(cells())
    board[199] = 9
    model.apply(events.FramesArrived(RUN, [frame(board_cells=bytes(board), active=())]), 0.0)
    surface, screen = painted(model)
    assert not is_empty(surface, middle(screen.layout.boards[0], 9, 19))
