"""The buttons at the bottom of the window: where they stand and what they say. No pygame here."""

from __future__ import annotations

from dataclasses import dataclass

from mltetris_api.v1 import run_pb2

from mltetris_viewer.actions import Action, refusal
from mltetris_viewer.layout import Box, Layout
from mltetris_viewer.model import words
from mltetris_viewer.model.viewer import ViewerModel


@dataclass(frozen=True)
class Button:
    """One button.

    Attributes:
        action: what it does.
        box: where it stands.
        icon: name of its picture; empty for none.
        label: what it says; empty for a picture alone.
        key: the key that does the same.
        enabled: whether it can be used now.
        active: whether it stands for something that is on.
    """

    action: Action
    box: Box
    icon: str
    label: str
    key: str
    enabled: bool
    active: bool = False


@dataclass(frozen=True)
class Readout:
    """A value between buttons.

    Attributes:
        box: where it stands.
        label: what it is.
        value: how much.
    """

    box: Box
    label: str
    value: str


@dataclass(frozen=True)
class Toolbar:
    """All of the bar."""

    buttons: tuple[Button, ...]
    pace: Readout

    def at(self, point: tuple[int, int]) -> Button | None:
        """The button at a pixel."""
        return next((button for button in self.buttons if button.box.contains(point)), None)


#: Widths in units: action, width, key; None is the readout of the pace.
_LEFT: tuple[tuple[Action | None, float, str], ...] = (
    (Action.PAUSE, 164, "Space"),
    (Action.SLOWER, 66, "−"),
    (None, 84, ""),
    (Action.FASTER, 66, "+"),
    (Action.MODE, 146, "M"),
    (Action.VIEW, 150, "V"),
    (Action.TRAINING_RATE, 118, "L"),
)
_RIGHT: tuple[tuple[Action, float, str], ...] = (
    (Action.PREVIOUS_RUN, 66, "P"),
    (Action.NEXT_RUN, 66, "N"),
    (Action.SNAPSHOT, 66, "S"),
    (Action.HELP, 66, "H"),
    (Action.QUIT, 66, "Q"),
)


def toolbar(layout: Layout, model: ViewerModel, *, help_open: bool) -> Toolbar:
    """The bar for the model's present state."""
    px = layout.px
    bar = layout.toolbar
    top, height, gap = bar.y + px(6), bar.h - px(18), px(8)
    buttons: list[Button] = []

    def add(action: Action, x: int, width: int, key: str) -> None:
        icon, label = _face(action, model)
        active = action is Action.HELP and help_open
        enabled = refusal(model, action) is None
        box = Box(x, top, width, height)
        buttons.append(Button(action, box, icon, label, key, enabled, active))

    x = px(18)
    pace = Readout(Box(x, top, 0, height), "", "")
    for action, units, key in _LEFT:
        if action is None:
            pace = Readout(Box(x, top, px(units), height), "pace", _pace(model))
        else:
            add(action, x, px(units), key)
        x += px(units) + gap
    x = layout.size[0] - px(18) - sum(px(units) + gap for _, units, _ in _RIGHT) + gap
    for action, units, key in _RIGHT:
        add(action, x, px(units), key)
        x += px(units) + gap
    return Toolbar(tuple(buttons), pace)


def _pace(model: ViewerModel) -> str:
    run = model.run
    if run is None or not run.control.placements_per_second:
        return "–"
    if run.control.mode == run_pb2.RUN_MODE_HEADLESS:
        return "full"
    return words.pace(model.wishes.pace(run))


def _face(action: Action, model: ViewerModel) -> tuple[str, str]:
    """A button's picture and words."""
    run = model.run
    if run is None:
        run = run_pb2.Run()
    control = run.control
    match action:
        case Action.PAUSE:
            return _pause_face(model, run)
        case Action.MODE:
            return "mode", words.mode(control.mode)
        case Action.VIEW:
            return "view", words.view(control.view)
        case Action.TRAINING_RATE:
            rate = model.wishes.training_rate(run)
            return "rate", f"{words.compact(rate)}/s" if rate else "Full"
        case _:
            return action.value, ""


def _pause_face(model: ViewerModel, run: run_pb2.Run) -> tuple[str, str]:
    paused = run.state == run_pb2.RUN_STATE_PAUSED
    to_be_paused = model.wishes.paused(run)
    if to_be_paused and not paused:
        return "pause", "Pausing"
    if paused and not to_be_paused:
        return "play", "Resuming"
    return ("play", "Resume") if paused else ("pause", "Pause")
