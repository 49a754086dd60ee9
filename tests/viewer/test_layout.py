"""Where things stand: nothing out of the window, nothing on something else."""

from __future__ import annotations

from itertools import combinations

import pytest
from mltetris_viewer.layout import MIN_SIZE, Box, arrange
from mltetris_viewer.toolbar import toolbar
from viewer.making import connected, run

SIZES = [MIN_SIZE, (800, 600), (1280, 720), (1024, 768), (900, 1200), (2560, 1080), (3840, 2160)]
BOARDS = [
    [(10, 20)],
    [(10, 10)],
    [(32, 40)],
    [(4, 4)],
    [(10, 20)] * 2,
    [(10, 20)] * 3,
    [(10, 20)] * 4,
    [(10, 20), (32, 8)],
]


def apart(one: Box, other: Box) -> bool:
    return (
        one.right <= other.x
        or other.right <= one.x
        or one.bottom <= other.y
        or other.bottom <= one.y
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("boards", BOARDS, ids=str)
def test_everything_has_its_own_room(size: tuple[int, int], boards: list[tuple[int, int]]) -> None:
    layout = arrange(size, boards)
    rooms = [layout.header, layout.toolbar, layout.stage]
    if layout.panel is not None:
        rooms.append(layout.panel)
    window = Box(0, 0, *size)
    for room in rooms:
        assert room.w > 0 and room.h > 0
        assert window.contains((room.x, room.y))
        assert window.contains((room.right - 1, room.bottom - 1))
    assert all(apart(one, other) for one, other in combinations(rooms, 2))

    assert len(layout.boards) == len(boards)
    parts = []
    for place, (columns, rows) in zip(layout.boards, boards, strict=True):
        assert (place.well.w, place.well.h) == (place.cell * columns, place.cell * rows)
        parts += [place.well, place.info, *([place.title] if place.title.w else [])]
    for part in parts:
        assert layout.stage.contains((part.x, part.y))
        assert layout.stage.contains((part.right - 1, part.bottom - 1))
    assert all(apart(one, other) for one, other in combinations(parts, 2))


@pytest.mark.parametrize("boards", [1, 2, 3, 4])
def test_at_usual_sizes_there_is_room_for_the_panel(boards: int) -> None:
    for size in ((1280, 720), (1920, 1080), (3840, 2160)):
        assert arrange(size, [(10, 20)] * boards).panel is not None


def test_a_bigger_window_has_bigger_cells() -> None:
    cells = [
        arrange(size, [(10, 20)]).boards[0].cell for size in ((640, 400), (1280, 720), (3840, 2160))
    ]
    assert cells == sorted(set(cells))


def test_changing_the_view_moves_nothing_else() -> None:
    showcase, training = arrange((1280, 720), [(10, 20)]), arrange((1280, 720), [(10, 10)])
    assert showcase.panel == training.panel
    assert showcase.boards[0].info == training.boards[0].info


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_buttons_stand_in_the_bar_side_by_side(size: tuple[int, int]) -> None:
    layout = arrange(size, [(10, 20)])
    bar = toolbar(layout, connected(run()), help_open=False)
    boxes = [button.box for button in bar.buttons] + [bar.pace.box]
    assert all(layout.toolbar.contains((box.x, box.y)) for box in boxes)
    assert all(layout.toolbar.contains((box.right - 1, box.bottom - 1)) for box in boxes)
    assert all(apart(one, other) for one, other in combinations(boxes, 2))
    for button in bar.buttons:
        assert bar.at((button.box.centre_x, button.box.centre_y)) == button
