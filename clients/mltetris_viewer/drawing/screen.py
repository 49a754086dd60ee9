"""The whole window: which parts are out of date, and painting those."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import pygame

from mltetris_viewer.actions import Action
from mltetris_viewer.drawing import board as board_drawing
from mltetris_viewer.drawing import fonts, icons, shapes
from mltetris_viewer.drawing.bars import draw_header, draw_toolbar
from mltetris_viewer.drawing.board import EMPTY_SHAPE, draw_board, draw_frame
from mltetris_viewer.drawing.fonts import Type
from mltetris_viewer.drawing.info import draw_race_strip, draw_race_title, draw_side
from mltetris_viewer.drawing.overlays import draw_headline, draw_help, draw_toasts
from mltetris_viewer.drawing.palette import GUIDELINE, Palette
from mltetris_viewer.drawing.panel import draw_panel
from mltetris_viewer.layout import MIN_SIZE, Box, Layout, arrange
from mltetris_viewer.model.boards import Board
from mltetris_viewer.model.status import headline
from mltetris_viewer.model.viewer import ViewerModel
from mltetris_viewer.toolbar import Toolbar, toolbar


@dataclass(frozen=True)
class Interface:
    """What of the window's state is the window's own.

    Attributes:
        help_open: whether the help lies over everything.
        mouse: where the pointer is, None outside the window.
    """

    help_open: bool = False
    mouse: tuple[int, int] | None = None


class Screen:
    """Paints a model on a surface, each part only when what it shows has changed.

    Attributes:
        layout: where everything stood at the last `draw`.
        bar: the buttons at the last `draw`.
    """

    def __init__(self, palette: Palette = GUIDELINE) -> None:
        self._palette = palette
        self._drawn: dict[str, Hashable] = {}
        self._overlay: Hashable = None
        self.layout: Layout = arrange((1280, 720), ())
        self.bar: Toolbar | None = None
        self._type = Type(self.layout.unit)

    def draw(
        self, target: pygame.Surface, model: ViewerModel, interface: Interface, now: float
    ) -> list[pygame.Rect]:
        """Brings `target` up to date; returns the rectangles that changed, none if nothing did."""
        self._arrange(target, model)
        layout = self.layout
        self.bar = bar = toolbar(layout, model, help_open=interface.help_open)
        overlay = (interface.help_open, tuple(toast.text for toast in model.toasts))
        if overlay != self._overlay:
            # Something lay over the parts, or will: all of them anew.
            self._drawn.clear()
            self._overlay = overlay
        if interface.help_open and self._would_change(model, bar, interface, now):
            # The veil below the help is see-through: it must not be laid on itself.
            self._drawn.clear()
        if not self._drawn:
            target.fill(self._palette.ground)
        changed = self._parts(target, model, bar, interface, now)
        if changed and (interface.help_open or model.toasts):
            if interface.help_open:
                draw_help(target, layout, self._palette, self._type)
            draw_toasts(target, layout, model.toasts, self._palette, self._type)
            return [target.get_rect()]
        return [pygame.Rect(box) for box in changed]

    def forget(self) -> None:
        """Paints everything anew the next time."""
        self._drawn.clear()

    def _arrange(self, target: pygame.Surface, model: ViewerModel) -> None:
        shapes_of = [
            (board.frame.width, board.frame.height) for _, board in sorted(model.boards.items())
        ]
        # In a smaller window the right and the bottom are cut off.
        size = max(target.get_width(), MIN_SIZE[0]), max(target.get_height(), MIN_SIZE[1])
        layout = arrange(size, shapes_of or [EMPTY_SHAPE])
        if layout == self.layout and self._drawn:
            return
        if layout.unit != self.layout.unit:
            clear_caches()
        self.layout = layout
        self._type = Type(layout.unit)
        self._drawn.clear()

    def _would_change(
        self, model: ViewerModel, bar: Toolbar, interface: Interface, now: float
    ) -> bool:
        keys = self._keys(model, bar, interface, now)
        return any(self._drawn.get(name) != key for name, key in keys.items())

    def _keys(
        self, model: ViewerModel, bar: Toolbar, interface: Interface, now: float
    ) -> dict[str, Hashable]:
        """What each part shows, as something that can be compared."""
        run = model.run
        revision = (model.selected, run.revision, run.state) if run is not None else model.selected
        sequence = (model.curves.last_sequence, model.metrics.sequence, model.curves.caught_up)
        moving = now if model.moving(now) else None
        frames = tuple((n, b.frame.sequence) for n, b in sorted(model.boards.items()))
        race = frames if len(frames) > 1 else None
        return {
            "header": (revision, model.link, model.runs.place(model.selected)),
            "stage": (model.selected, frames, headline(model, now)),
            "wells": moving,
            "panel": (revision, sequence, race),
            "toolbar": (bar, self._hovered(bar, interface)),
        }

    def _hovered(self, bar: Toolbar, interface: Interface) -> Action | None:
        if interface.mouse is None or interface.help_open:
            return None
        button = bar.at(interface.mouse)
        return button.action if button is not None and button.enabled else None

    def _parts(
        self,
        target: pygame.Surface,
        model: ViewerModel,
        bar: Toolbar,
        interface: Interface,
        now: float,
    ) -> list[Box]:
        layout, palette, type_ = self.layout, self._palette, self._type
        hovered = self._hovered(bar, interface)
        button = next((b for b in bar.buttons if b.action is hovered), None)
        panel = layout.panel
        # In the order in which they may lie on each other: the wells are a part of the stage.
        paint: dict[str, tuple[Sequence[Box], Callable[[], None]]] = {
            "header": (
                [layout.header],
                lambda: draw_header(target, layout.header, model, palette, type_),
            ),
            "stage": ([layout.stage], lambda: self._beside(target, model)),
            "wells": (self._wells(), lambda: self._boards(target, model, now)),
            "panel": (
                [panel] if panel is not None else [],
                lambda: draw_panel(target, panel, model, palette, type_) if panel else None,
            ),
            "toolbar": (
                [layout.toolbar],
                lambda: draw_toolbar(target, layout.toolbar, bar, button, palette, type_),
            ),
        }
        changed: list[Box] = []
        for name, key in self._keys(model, bar, interface, now).items():
            boxes, draw = paint[name]
            if name in self._drawn and self._drawn[name] == key:
                continue
            self._drawn[name] = key
            if name == "stage":
                self._drawn.pop("wells", None)
            if name != "wells":
                for box in boxes:
                    target.fill(palette.ground, box)
            draw()
            changed.extend(boxes)
        return changed

    def _wells(self) -> list[Box]:
        return [place.well for place in self.layout.boards]

    def _beside(self, target: pygame.Surface, model: ViewerModel) -> None:
        """What stands around the boards."""
        palette, type_, places = self._palette, self._type, self.layout.boards
        boards = sorted(model.boards.items())
        for place in places:
            draw_frame(target, place, palette)
        if len(places) == 1:
            draw_side(target, places[0], boards[0][1] if boards else None, palette, type_)
            return
        for (number, board), place in zip(boards, places, strict=True):
            draw_race_title(target, place, number, board, palette, type_)
            draw_race_strip(target, place, board, palette, type_)

    def _boards(self, target: pygame.Surface, model: ViewerModel, now: float) -> None:
        """The boards themselves, and the headline over them."""
        boards: list[Board | None] = [board for _, board in sorted(model.boards.items())]
        for board, place in zip(boards or [None], self.layout.boards, strict=True):
            draw_board(target, place, board, self._palette, self._type, now)
        said = headline(model, now)
        if said is not None:
            stage = self.layout.stage
            draw_headline(target, self._wells(), stage, said, self._palette, self._type)


def clear_caches() -> None:
    """Lets go of every kept picture and font."""
    shapes.clear_cache()
    icons.clear_cache()
    board_drawing.clear_cache()
    fonts.clear_cache()
