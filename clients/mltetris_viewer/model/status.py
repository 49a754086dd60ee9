"""What the window has to say about the watched run, in words over the board."""

from __future__ import annotations

from dataclasses import dataclass

from mltetris_api.v1 import run_pb2

from mltetris_viewer.model import words
from mltetris_viewer.model.viewer import Link, Tone, ViewerModel


@dataclass(frozen=True)
class Headline:
    """A few words over the board.

    Attributes:
        title: one or two words.
        lines: what more there is to say, a sentence each.
        tone: how it is meant.
    """

    title: str
    lines: tuple[str, ...]
    tone: Tone


def headline(model: ViewerModel, now: float) -> Headline | None:
    """The most important thing that the board itself does not show, None while all is well."""
    if model.link is Link.CONNECTING:
        return Headline("Connecting", (f"to the server at {model.address}",), Tone.INFO)
    if model.link is Link.DOWN:
        gone = words.seconds(now - model.link_since)
        return Headline(
            "Connection lost",
            (_sentence(model.link_reason), f"Trying again for {gone} now"),
            Tone.WARNING,
        )
    run = model.run
    if run is None:
        return _no_run(model)
    return _of_run(run)


def _no_run(model: ViewerModel) -> Headline | None:
    if not model.listed:
        return Headline("Connecting", (f"to the server at {model.address}",), Tone.INFO)
    if model.selected is not None:
        lines = [f"The server has no run {model.selected}"]
        if len(model.runs):
            lines.append("N and P show the runs there are")
        return Headline("Not found", tuple(lines), Tone.WARNING)
    return Headline(
        "Waiting for a run",
        ("The first one to start is shown here", "Start one with:  mltetris train"),
        Tone.INFO,
    )


def _of_run(run: run_pb2.Run) -> Headline | None:
    state = run.state
    reason = words.reason(run)
    if state == run_pb2.RUN_STATE_QUEUED:
        place = f"Place {run.queue_position} in the queue" if run.queue_position else ""
        return Headline("Queued", _filled(place), Tone.INFO)
    if state == run_pb2.RUN_STATE_STARTING:
        return Headline("Starting", ("Its worker process is coming up",), Tone.INFO)
    if state == run_pb2.RUN_STATE_STOPPING:
        return Headline("Stopping", ("Its last checkpoint is being written",), Tone.WARNING)
    if state == run_pb2.RUN_STATE_PAUSED:
        return Headline("Paused", (), Tone.WARNING)
    if state == run_pb2.RUN_STATE_SUCCEEDED:
        title = "Goal reached" if run.reason == run_pb2.RUN_REASON_GOAL_REACHED else "Finished"
        why = "" if run.reason == run_pb2.RUN_REASON_GOAL_REACHED else _sentence(reason)
        return Headline(title, _filled(why, _result(run)), Tone.GOOD)
    if state == run_pb2.RUN_STATE_STOPPED:
        return Headline("Stopped", _filled(_sentence(reason), _result(run)), Tone.INFO)
    if state == run_pb2.RUN_STATE_FAILED:
        return Headline(
            "Failed", _filled(_sentence(reason), _sentence(run.error.message)), Tone.BAD
        )
    return None


def _result(run: run_pb2.Run) -> str:
    if not run.HasField("best_evaluation"):
        return ""
    best = run.best_evaluation
    floor = "at least " if best.cut_off_games else ""
    return f"Best evaluation: {floor}{words.lines(best.mean_lines)} lines a game"


def _sentence(half: str) -> str:
    return half[:1].upper() + half[1:]


def _filled(*lines: str) -> tuple[str, ...]:
    return tuple(line for line in lines if line)
