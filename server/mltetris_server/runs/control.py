"""What callers may tell a live run, in every state it can be in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_api.v1.run_pb2 import RunReason
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.errors import InvalidArgument, Unavailable, WrongState
from mltetris_server.runs import specs, states
from mltetris_server.runs.run import LiveRun

_WORKING: Final = frozenset({states.RUNNING, states.PAUSED})
_NOT_YET: Final = frozenset({states.QUEUED, states.STARTING})

_PACED: Final = frozenset({"training", "demo"})
"""Kinds of runs with a game that is paced for the eye."""

UPDATABLE: Final = (
    "display_name",
    "learning_rate",
    "exploration",
    "budget",
    "evaluation_period",
)
"""Paths that UpdateRunRequest.update_mask may name."""

_ASKED: Final = frozenset({"budget", "evaluation_period"})
"""What stands in the spec, so that it can be changed before the run begins."""


async def pause(live: LiveRun) -> run_pb2.Run:
    """Holds a run; returns when it is held. Of a PAUSED one: nothing changes."""
    async with live.lock:
        _require_working(live.run, "paused")
        if live.state == states.PAUSED and not live.waits:
            if live.run.reason:
                # From now on it is the caller who holds it.
                changed = live.snapshot()
                changed.reason = RunReason.RUN_REASON_UNSPECIFIED
                await live.store(changed)
            return live.snapshot()
        command = live.send(worker_pb2.AttachResponse(pause=worker_pb2.Pause()))
    return _became(states.PAUSED, await live.answered(command), "held")


async def pause_for_space(live: LiveRun) -> None:
    """Holds a RUNNING run for as long as the disk is full."""
    async with live.lock:
        if live.state != states.RUNNING:
            return

        def apply(run: run_pb2.Run) -> None:
            if run.state == states.PAUSED:
                run.reason = RunReason.RUN_REASON_DISK_FULL

        live.send(worker_pb2.AttachResponse(pause=worker_pb2.Pause()), apply)


async def resume_for_space(live: LiveRun) -> None:
    """Lets a run go on that is held for the disk's sake, and no other."""
    async with live.lock:
        if live.state == states.PAUSED and live.run.reason == RunReason.RUN_REASON_DISK_FULL:
            live.send(worker_pb2.AttachResponse(resume=worker_pb2.Resume()))


async def resume(live: LiveRun) -> run_pb2.Run:
    """Lets a run go on; returns when it does. Of a RUNNING one: nothing changes."""
    async with live.lock:
        _require_working(live.run, "resumed")
        if live.state == states.RUNNING and not live.waits:
            return live.snapshot()
        command = live.send(worker_pb2.AttachResponse(resume=worker_pb2.Resume()))
    return _became(states.RUNNING, await live.answered(command), "resumed")


async def stop(live: LiveRun, timeout_s: float) -> run_pb2.Run:
    """Ends a run with its last checkpoint kept; returns when it is final."""
    await live.stop(RunReason.RUN_REASON_STOPPED_BY_CALLER)
    if not await live.ended_within(timeout_s):
        raise Unavailable(f"run {live.id} is still stopping after {timeout_s:g} s; look again")
    return live.snapshot()


async def set_speed(live: LiveRun, request: trainer_pb2.SetSpeedRequest) -> run_pb2.Run:
    """Sets the paces that are given; from the start, of a run that has not begun."""
    watched = request.HasField("placements_per_second")
    training = request.HasField("max_training_rate")
    kind = live.run.WhichOneof("spec") or ""
    if training and kind != "training":
        raise InvalidArgument.field("max_training_rate", f"a {kind} trains nothing")
    if watched and kind not in _PACED:
        raise InvalidArgument.field("placements_per_second", f"a {kind} always plays at full speed")

    def change(control: run_pb2.RunControl) -> None:
        if watched:
            control.placements_per_second = request.placements_per_second
        if training:
            control.max_training_rate = request.max_training_rate

    return await _steer(live, change)


async def set_mode(live: LiveRun, request: trainer_pb2.SetModeRequest) -> run_pb2.Run:
    """Sets mode and view, where given; from the start, of a run that has not begun."""
    kind = live.run.WhichOneof("spec") or ""
    if request.view == run_pb2.RUN_VIEW_TRAINING and kind != "training":
        raise InvalidArgument.field("view", f"a {kind} trains nothing: it has only the SHOWCASE")
    if request.mode == run_pb2.RUN_MODE_VISUAL and kind not in _PACED:
        raise InvalidArgument.field("mode", f"a {kind} always plays at full speed")

    def change(control: run_pb2.RunControl) -> None:
        if request.mode:
            control.mode = request.mode
        if request.view:
            control.view = request.view

    return await _steer(live, change)


async def _steer(live: LiveRun, change: Callable[[run_pb2.RunControl], None]) -> run_pb2.Run:
    async with live.lock:
        state = live.state
        if state not in _WORKING | _NOT_YET:
            raise WrongState(
                f"run {live.id} is {states.name(state)}: it cannot be steered any more"
            )
        # From what it was told last, not from what it has confirmed: two callers at once, one
        # setting the speed and one the mode, must not undo each other.
        control = run_pb2.RunControl()
        control.CopyFrom(live.wanted_control)
        change(control)
        live.wanted_control = control
        if state in _NOT_YET:
            changed = live.snapshot()
            changed.control.CopyFrom(control)
            await live.store(changed)
            if not live.attached:
                return live.snapshot()
        command = live.send(
            worker_pb2.AttachResponse(control=control),
            lambda run: run.control.CopyFrom(control),
        )
    return await live.answered(command)


async def save_latest(live: LiveRun) -> None:
    """Lets the worker write its `latest` checkpoint, where it is working; else it is as it is."""
    async with live.lock:
        if live.state not in _WORKING or live.run.WhichOneof("spec") != "training":
            return
        command = live.send(worker_pb2.AttachResponse(save_latest=worker_pb2.SaveLatest()))
    await live.answered(command)


async def update(
    live: LiveRun, update: trainer_pb2.RunUpdate, paths: Sequence[str]
) -> run_pb2.Run | None:
    """Changes what `paths` name, all of it or nothing; returns when the worker has done so.

    None: the run was retired meanwhile, and nothing was changed.
    """
    async with live.lock:
        if live.retired:
            return None
        learning = check_update(live.run, update, paths)
        message = worker_pb2.Update()
        if "learning_rate" in learning:
            given = update.HasField("learning_rate")
            message.learning_rate = update.learning_rate if given else 0.0
        if "exploration" in learning:
            given = update.HasField("exploration")
            message.exploration = update.exploration if given else -1.0
        if "budget" in learning:
            message.budget.CopyFrom(update.budget)
        if "evaluation_period" in learning:
            # Zero: its default, which the worker knows.
            message.evaluation_period.CopyFrom(update.evaluation_period)

        def apply(run: run_pb2.Run) -> None:
            for control in (run.control, live.wanted_control):
                for name in ("learning_rate", "exploration"):
                    if name in learning and update.HasField(name):
                        setattr(control, name, getattr(update, name))
                    elif name in learning:
                        control.ClearField(name)
            if "budget" in learning:
                run.training.budget.CopyFrom(update.budget)
            if "evaluation_period" in learning:
                evaluation = run.training.evaluation
                if update.HasField("evaluation_period"):
                    evaluation.period.CopyFrom(update.evaluation_period)
                else:
                    evaluation.ClearField("period")

        changed = live.snapshot()
        if "display_name" in paths:
            changed.display_name = update.display_name or specs.display_name(changed)
        if live.state == states.QUEUED:
            apply(changed)
        await live.store(changed)
        if not learning or live.state == states.QUEUED:
            return live.snapshot()
        command = live.send(worker_pb2.AttachResponse(update=message), apply)
    return await live.answered(command)


def check_update(
    run: run_pb2.Run, update: trainer_pb2.RunUpdate, paths: Sequence[str]
) -> frozenset[str]:
    """Returns which of `paths` concern the learning, if `run` may be updated so.

    Raises:
        InvalidArgument: a path that is none, or not for this kind of run, or a bad value.
        WrongState: the run is not in a state for it.
    """
    if not paths:
        raise InvalidArgument.field("update_mask", f"name at least one of {', '.join(UPDATABLE)}")
    for i, path in enumerate(paths):
        if path not in UPDATABLE:
            raise InvalidArgument.field(
                f"update_mask.paths[{i}]", f"must be one of {', '.join(UPDATABLE)}"
            )
    if "display_name" in paths:
        specs.check_display_name("update.display_name", update.display_name)
    learning = frozenset(paths) - {"display_name"}
    if not learning:
        return learning
    if run.WhichOneof("spec") != "training":
        names = ", ".join(sorted(learning))
        raise InvalidArgument.field("update_mask", f"only a training has {names}")
    specs.check_steering(run.training, learning)
    if "budget" in learning:
        specs.check_target("update.budget", update.budget, run.training.evaluation)
    changeable = _WORKING | ({states.QUEUED} if learning <= _ASKED else frozenset())
    if run.state not in changeable:
        raise WrongState(
            f"run {run.id} is {states.name(run.state)}: {_when(run.state, 'changed so')}"
        )
    return learning


def _became(state: states.State, run: run_pb2.Run, done: str) -> run_pb2.Run:
    """Returns `run` as the worker's answer left it, if that is what its caller asked for."""
    if run.state != state:
        # Another caller's StopRun came before the answer.
        raise WrongState(f"run {run.id} is {states.name(run.state)}: it was not {done} before that")
    return run


def _require_working(run: run_pb2.Run, done: str) -> None:
    if run.state not in _WORKING:
        raise WrongState(f"run {run.id} is {states.name(run.state)}: {_when(run.state, done)}")


def refuse_final(run: run_pb2.Run, done: str) -> WrongState:
    """Returns the answer to a command for a final run."""
    return WrongState(f"run {run.id} is {states.name(run.state)}: {_when(run.state, done)}")


def _when(state: states.State, done: str) -> str:
    if state == states.QUEUED:
        return f"it can be {done} once it is RUNNING; StopRun takes it off the queue"
    if state == states.STARTING:
        return f"it can be {done} in a moment, once it is RUNNING"
    if state == states.STOPPING:
        return f"it cannot be {done} any more"
    return f"it has ended and cannot be {done}; start another, from its checkpoint if you like"
