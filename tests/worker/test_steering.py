"""Steering: what the server says, what holds from then on, and what is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from mltetris_api.v1.run_pb2 import RunControl, RunMode, RunView, TrainingSpec
from mltetris_api.worker.v1.worker_pb2 import (
    AttachRequest,
    AttachResponse,
    Pause,
    Resume,
    SaveLatest,
    StateReport,
    Stop,
    Update,
    Watch,
    Welcome,
    WorkerState,
)
from mltetris_server.worker.clocks import RunClock
from mltetris_server.worker.mailbox import Mailbox
from mltetris_server.worker.steering import Steering

RUNNING = WorkerState.WORKER_STATE_RUNNING
PAUSED = WorkerState.WORKER_STATE_PAUSED
VISUAL = RunControl(
    mode=RunMode.RUN_MODE_VISUAL, view=RunView.RUN_VIEW_SHOWCASE, placements_per_second=8
)


class Line:
    """A link that keeps what is said."""

    def __init__(self) -> None:
        self.state: WorkerState.ValueType = WorkerState.WORKER_STATE_UNSPECIFIED
        self.reports: list[StateReport] = []

    def send(self, event: AttachRequest) -> None:
        self.reports.append(event.state)


class Scene:
    """Steering with everything around it."""

    def __init__(self, *, paused: bool = False) -> None:
        self.mailbox = Mailbox()
        self.line = Line()
        self.clock = RunClock()
        self.updates: list[Update] = []
        self.saves: list[Callable[[], None]] = []
        self.steering = Steering(
            self.mailbox,
            self.line,
            Welcome(control=VISUAL, paused=paused),
            self.clock,
            update=self._update,
            save=self.saves.append,
        )
        self.steering.begin(training=TrainingSpec(seed=3))

    def _update(self, update: Update) -> list[str]:
        self.updates.append(update)
        return [f"learning_rate -> {update.learning_rate:g}"]

    def say(self, *messages: AttachResponse) -> None:
        for message in messages:
            self.mailbox.put(message)
        self.steering.check()

    @property
    def answers(self) -> list[tuple[int, WorkerState.ValueType]]:
        return [(report.command, report.state) for report in self.line.reports[1:]]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_first_report_says_what_is_run(scene: Scene) -> None:
    assert scene.line.reports == [StateReport(state=RUNNING, training=TrainingSpec(seed=3))]
    assert scene.line.state == RUNNING


def test_a_run_may_start_held() -> None:
    scene = Scene(paused=True)
    assert scene.steering.paused
    assert scene.line.reports[0].state == PAUSED
    assert scene.clock.elapsed == 0


def test_pause_and_resume_are_answered_with_the_new_state(scene: Scene) -> None:
    scene.say(AttachResponse(command=1, pause=Pause()))
    assert scene.steering.paused
    assert scene.line.state == PAUSED
    held_at = scene.clock.elapsed
    assert scene.clock.elapsed == held_at
    scene.say(AttachResponse(command=2, resume=Resume()))
    assert not scene.steering.paused
    assert scene.answers == [(1, PAUSED), (2, RUNNING)]
    assert scene.steering.changes == ["paused", "resumed"]


def test_a_command_that_changes_nothing_is_answered_too(scene: Scene) -> None:
    scene.say(AttachResponse(command=1, resume=Resume()))
    assert scene.answers == [(1, RUNNING)]
    assert scene.steering.changes == []


def test_control_takes_effect_and_says_what_changed(scene: Scene) -> None:
    control = RunControl(
        mode=RunMode.RUN_MODE_HEADLESS, view=RunView.RUN_VIEW_TRAINING, placements_per_second=20
    )
    scene.say(AttachResponse(command=1, control=control))
    assert not scene.steering.visual
    assert scene.steering.shows_training
    assert scene.steering.placements_per_second == 20
    assert scene.answers == [(1, RUNNING)]
    assert scene.steering.changes == [
        "mode visual -> headless",
        "view showcase -> training",
        "placements_per_second 8 -> 20",
    ]


def test_who_begins_to_watch_is_owed_a_frame(scene: Scene) -> None:
    assert not scene.steering.frame_owed
    scene.say(AttachResponse(watch=Watch(max_fps=30, include_values=True)))
    assert scene.steering.frame_owed
    assert (scene.steering.max_fps, scene.steering.include_values) == (30, True)
    scene.say(AttachResponse(watch=Watch()))
    assert not scene.steering.frame_owed
    assert scene.answers == []


def test_an_update_is_done_and_told(scene: Scene) -> None:
    scene.say(AttachResponse(command=1, update=Update(learning_rate=0.001)))
    assert [u.learning_rate for u in scene.updates] == [0.001]
    assert scene.steering.changes == ["learning_rate -> 0.001"]
    assert scene.answers == [(1, RUNNING)]


def test_saving_is_answered_once_it_is_done(scene: Scene) -> None:
    scene.say(AttachResponse(command=1, save_latest=SaveLatest()))
    assert scene.answers == []
    scene.saves[0]()
    assert scene.answers == [(1, RUNNING)]


def test_stop_ends_the_run(scene: Scene) -> None:
    assert not scene.steering.ending
    scene.say(AttachResponse(command=1, stop=Stop()))
    assert scene.steering.stopping
    assert scene.steering.ending
    assert not scene.steering.left


def test_a_server_that_is_gone_ends_the_run(scene: Scene) -> None:
    scene.mailbox.leave()
    scene.steering.check()
    assert scene.steering.ending
    assert scene.steering.left
    assert not scene.steering.stopping


def test_after_a_break_the_servers_view_holds(scene: Scene) -> None:
    welcome = Welcome(control=VISUAL, paused=True, watch=Watch(max_fps=10))
    welcome.control.placements_per_second = 2
    scene.say(AttachResponse(welcome=welcome))
    assert scene.steering.paused
    assert scene.steering.placements_per_second == 2
    assert scene.steering.max_fps == 10
    assert scene.answers == [(0, PAUSED)]


def test_messages_take_effect_in_order(scene: Scene) -> None:
    scene.say(
        AttachResponse(command=1, pause=Pause()),
        AttachResponse(command=2, update=Update(learning_rate=0.5)),
        AttachResponse(command=3, resume=Resume()),
    )
    assert scene.answers == [(1, PAUSED), (2, PAUSED), (3, RUNNING)]


def test_a_wait_ends_with_the_message_and_not_with_the_time(scene: Scene) -> None:
    ended = threading.Event()

    def wait() -> None:
        scene.steering.wait(time.monotonic() + 3600)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    scene.mailbox.put(AttachResponse(command=1, pause=Pause()))
    assert ended.wait(60)
    assert scene.steering.paused


def test_a_wait_without_an_end_ends_when_the_server_is_gone(scene: Scene) -> None:
    waiting = threading.Thread(target=scene.steering.wait, daemon=True)
    waiting.start()
    scene.mailbox.leave()
    waiting.join(60)
    assert not waiting.is_alive()
