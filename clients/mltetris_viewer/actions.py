"""What keys and buttons do."""

from __future__ import annotations

import enum

from mltetris_api.v1 import run_pb2
from mltetris_client.names import is_final

from mltetris_viewer.model import commands, words
from mltetris_viewer.model.viewer import Link, Tone, ViewerModel


class Action(enum.Enum):
    """Something a person can do. The value names its picture."""

    PAUSE = "pause"
    SLOWER = "slower"
    FASTER = "faster"
    MODE = "mode"
    VIEW = "view"
    TRAINING_RATE = "rate"
    NEXT_RUN = "next"
    PREVIOUS_RUN = "previous"
    SNAPSHOT = "snapshot"
    HELP = "help"
    QUIT = "quit"


_PACED = frozenset({run_pb2.RUN_KIND_TRAINING, run_pb2.RUN_KIND_DEMO})
"""Kinds of runs whose watched game can be paced."""

STEERING = frozenset(
    {
        Action.PAUSE,
        Action.SLOWER,
        Action.FASTER,
        Action.MODE,
        Action.VIEW,
        Action.TRAINING_RATE,
    }
)


def refusal(model: ViewerModel, action: Action) -> str | None:
    """Why an action cannot be done now, as one line; None where it can."""
    if action in (Action.NEXT_RUN, Action.PREVIOUS_RUN):
        return None if len(model.runs) > 1 else "There is no other run"
    if action not in STEERING:
        return None
    if not model.may_steer:
        return "Your token may only look"
    if model.link is not Link.UP:
        return "There is no connection to the server"
    run = model.run
    if run is None:
        return "There is no run"
    if is_final(run):
        return "The run has ended"
    if run.state not in words.STEERABLE_STATES:
        return f"The run is {words.state(run).lower()}"
    kind = words.kind(run).lower()
    if action in (Action.SLOWER, Action.FASTER, Action.MODE) and run.kind not in _PACED:
        return f"A {kind} always plays at full speed"
    headless = run.control.mode == run_pb2.RUN_MODE_HEADLESS
    if action in (Action.SLOWER, Action.FASTER) and headless:
        return "Headless runs at full speed: M changes to visual"
    training = run.kind == run_pb2.RUN_KIND_TRAINING
    if action is Action.VIEW and not training:
        return f"A {kind} has only the one view"
    if action is Action.TRAINING_RATE and not training:
        return f"A {kind} learns nothing"
    return None


def command(model: ViewerModel, action: Action) -> commands.Command | None:
    """The command that a steering action sends now; None where it would change nothing."""
    run = model.run
    if run is None or refusal(model, action) is not None:
        return None
    wishes = model.wishes
    match action:
        case Action.PAUSE:
            return commands.Resume(run.id) if wishes.paused(run) else commands.Pause(run.id)
        case Action.SLOWER | Action.FASTER:
            pace = wishes.pace(run)
            wanted = commands.next_pace(pace, 1 if action is Action.FASTER else -1)
            return commands.SetSpeed(run.id, wanted) if wanted != pace else None
        case Action.MODE:
            headless = wishes.mode(run) == run_pb2.RUN_MODE_HEADLESS
            mode = run_pb2.RUN_MODE_VISUAL if headless else run_pb2.RUN_MODE_HEADLESS
            return commands.SetMode(run.id, mode)
        case Action.VIEW:
            training = wishes.view(run) == run_pb2.RUN_VIEW_TRAINING
            view = run_pb2.RUN_VIEW_SHOWCASE if training else run_pb2.RUN_VIEW_TRAINING
            return commands.SetView(run.id, view)
        case Action.TRAINING_RATE:
            rate = commands.next_training_rate(wishes.training_rate(run))
            return commands.SetTrainingRate(run.id, rate)
    return None


def steer(model: ViewerModel, action: Action, now: float) -> tuple[int, commands.Command] | None:
    """The numbered command for a steering action, or None and a toast that says why not."""
    why_not = refusal(model, action)
    if why_not is not None:
        model.toast(why_not, Tone.WARNING, now)
        return None
    wanted = command(model, action)
    return (model.command_sent(wanted), wanted) if wanted is not None else None
