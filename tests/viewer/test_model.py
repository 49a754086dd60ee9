"""What the viewer shows, and what its keys do, without window or server."""

from __future__ import annotations

import pytest
from mltetris_api.v1 import run_pb2
from mltetris_viewer.actions import Action, command, refusal, steer
from mltetris_viewer.model import commands, events
from mltetris_viewer.model.numbers import numbers, progress
from mltetris_viewer.model.status import headline
from mltetris_viewer.model.viewer import TOAST_SECONDS, Link, ViewerModel
from viewer.making import connected, frame, point, run


def test_the_newest_live_run_is_watched() -> None:
    model = connected(
        run("train-old", created=1),
        run("train-live", created=2),
        run("train-ended", run_pb2.RUN_STATE_STOPPED, created=3),
    )
    assert model.selected == "train-live"


def test_without_a_live_run_the_newest_is_watched() -> None:
    ended = [run(f"train-{n}", run_pb2.RUN_STATE_SUCCEEDED, created=n) for n in (1, 2)]
    assert connected(*ended).selected == "train-2"


def test_a_run_with_a_worker_comes_before_a_queued_one() -> None:
    queued = run("train-queued", run_pb2.RUN_STATE_QUEUED, created=2)
    assert connected(run("train-going", created=1), queued).selected == "train-going"


def test_nothing_is_chosen_before_every_run_is_known() -> None:
    model = ViewerModel("localhost:50051", None, 0.0)
    model.apply(events.LinkUp(), 0.0)
    model.apply(events.RunSeen(run("train-first", created=1)), 0.0)
    assert model.selected is None
    model.apply(events.RunSeen(run("train-second", created=2)), 0.0)
    model.apply(events.RunsCaughtUp(), 0.0)
    assert model.selected == "train-second"


def test_the_viewer_waits_for_a_run_and_then_follows_the_next_one() -> None:
    model = connected()
    said = headline(model, 0.0)
    assert said is not None and said.title == "Waiting for a run"
    model.apply(events.RunSeen(run("train-a", created=1)), 1.0)
    assert model.selected == "train-a"
    model.apply(events.RunSeen(run("train-b", created=2)), 2.0)
    assert model.selected == "train-a", "a run that goes on is not left"
    stopped = run("train-a", run_pb2.RUN_STATE_STOPPED, revision=2, created=1)
    model.apply(events.RunSeen(stopped), 3.0)
    assert model.selected == "train-b"


def test_a_run_chosen_by_hand_is_not_left() -> None:
    model = connected(run("train-a", created=1), run("train-b", created=2))
    model.step_run(1, 0.0)
    assert model.selected == "train-a"
    stopped = run("train-a", run_pb2.RUN_STATE_STOPPED, revision=2, created=1)
    model.apply(events.RunSeen(stopped), 1.0)
    assert model.selected == "train-a"
    model.step_run(1, 2.0)
    assert model.selected == "train-b", "around the end"


def test_a_run_asked_for_by_name_is_said_to_be_missing() -> None:
    model = connected(run("train-other"), requested="train-gone")
    said = headline(model, 0.0)
    assert said is not None and "train-gone" in said.lines[0]
    assert model.selected == "train-gone"


def test_a_deleted_run_makes_way() -> None:
    model = connected(run("train-a", created=1), run("train-b", created=2))
    model.apply(events.RunDeleted("train-b"), 1.0)
    assert model.selected == "train-a"


def test_another_run_starts_with_a_clean_sheet() -> None:
    model = connected(run("train-a", created=1), run("train-b", created=2))
    model.apply(events.FramesArrived("train-b", [frame()]), 0.0)
    model.apply(events.PointsArrived("train-b", [point(1, 10, lines=3)], True), 0.0)
    model.step_run(1, 0.0)
    assert not model.boards and not len(model.curves.lines)
    # What was still on its way from the other run is not shown as this one's.
    model.apply(events.FramesArrived("train-b", [frame(2)]), 0.0)
    model.apply(events.PointsArrived("train-b", [point(2, 20, lines=4)], True), 0.0)
    assert not model.boards and not len(model.curves.lines)


def test_an_older_revision_does_not_undo_a_newer_one() -> None:
    model = connected(run(revision=3))
    paused = run(state=run_pb2.RUN_STATE_PAUSED, revision=5)
    model.apply(events.CommandDone(1, paused), 0.0)
    model.apply(events.RunSeen(run(revision=4)), 0.0)
    assert model.run == paused


def test_a_restarted_server_may_have_lost_revisions() -> None:
    model = connected(run(revision=9))
    model.apply(events.LinkDown("gone"), 1.0)
    failed = run(state=run_pb2.RUN_STATE_FAILED, revision=7)
    model.apply(events.LinkUp(), 2.0)
    model.apply(events.RunSeen(failed), 2.0)
    assert model.run == failed


def test_a_lost_connection_is_said_with_its_age() -> None:
    model = connected(run())
    model.apply(events.LinkDown("no server answers"), 10.0)
    said = headline(model, 22.0)
    assert said is not None and said.title == "Connection lost"
    assert any("12 s" in line for line in said.lines)
    model.apply(events.LinkUp(), 23.0)
    assert model.link is Link.UP and headline(model, 23.0) is None
    assert model.toasts[-1].text == "Connected again"


@pytest.mark.parametrize(
    ("state", "reason", "title", "part"),
    [
        (run_pb2.RUN_STATE_QUEUED, 0, "Queued", "Place 2"),
        (run_pb2.RUN_STATE_STARTING, 0, "Starting", "worker"),
        (run_pb2.RUN_STATE_PAUSED, 0, "Paused", ""),
        (run_pb2.RUN_STATE_STOPPING, 0, "Stopping", "checkpoint"),
        (run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_REASON_GOAL_REACHED, "Goal reached", "1,043"),
        (run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_REASON_BUDGET_SPENT, "Finished", "budget"),
        (run_pb2.RUN_STATE_STOPPED, run_pb2.RUN_REASON_STOPPED_BY_CALLER, "Stopped", "stopped"),
        (run_pb2.RUN_STATE_FAILED, run_pb2.RUN_REASON_WORKER_DIED, "Failed", "Exit code -9"),
    ],
)
def test_every_state_is_said(
    state: run_pb2.RunState.ValueType,
    reason: run_pb2.RunReason.ValueType,
    title: str,
    part: str,
) -> None:
    shown = run(state=state)
    shown.reason = reason
    shown.queue_position = 2
    shown.best_evaluation.mean_lines = 1043
    if state == run_pb2.RUN_STATE_FAILED:
        shown.error.message = "exit code -9"
    said = headline(connected(shown), 0.0)
    assert said is not None
    assert said.title == title
    assert part in " ".join(said.lines)


def test_a_running_run_needs_no_headline() -> None:
    assert headline(connected(run()), 0.0) is None


def test_toasts_go_by_themselves_and_do_not_pile_up() -> None:
    model = connected(run())
    for number in range(5):
        model.apply(events.CommandFailed(number, f"message {number}"), 1.0)
    assert [toast.text for toast in model.toasts] == ["message 2", "message 3", "message 4"]
    model.expire(1.0 + TOAST_SECONDS - 0.1)
    assert len(model.toasts) == 3
    model.expire(1.0 + TOAST_SECONDS)
    assert not model.toasts


def test_a_board_that_does_not_fit_is_refused_aloud() -> None:
    model = connected(run())
    model.apply(events.FramesArrived("train-aaaaaa", [frame(board_cells=b"\0")]), 0.0)
    assert not model.boards
    assert "board" in model.toasts[0].text


def test_pause_asks_for_the_other_state() -> None:
    assert command(connected(run()), Action.PAUSE) == commands.Pause("train-aaaaaa")
    held = connected(run(state=run_pb2.RUN_STATE_PAUSED))
    assert command(held, Action.PAUSE) == commands.Resume("train-aaaaaa")


def test_pressing_twice_is_pausing_and_going_on_however_fast() -> None:
    model = connected(run())
    orders = [steer(model, Action.PAUSE, 0.0) for _ in range(2)]
    assert [type(order[1]) for order in orders if order is not None] == [
        commands.Pause,
        commands.Resume,
    ]
    # The stream of changes may be faster than the answer to the command.
    model = connected(run())
    steer(model, Action.PAUSE, 0.0)
    paused = run(state=run_pb2.RUN_STATE_PAUSED, revision=2)
    model.apply(events.RunSeen(paused), 0.0)
    assert command(model, Action.PAUSE) == commands.Resume("train-aaaaaa")


def test_what_was_asked_of_one_run_is_not_expected_of_another() -> None:
    model = connected(run("train-a", created=1), run("train-b", created=2))
    assert steer(model, Action.PAUSE, 0.0) is not None
    model.step_run(1, 0.0)
    assert command(model, Action.PAUSE) == commands.Pause("train-a")


def test_pressing_faster_twice_goes_two_steps_before_the_first_is_answered() -> None:
    model = connected(run(pace=8.0))
    sent = [steer(model, Action.FASTER, 0.0) for _ in range(2)]
    paces = [order[1].placements_per_second for order in sent if order is not None]  # type: ignore[union-attr]
    assert paces == [15.0, 30.0]
    assert model.wishes.pace(run()) == 30.0
    for order in sent:
        assert order is not None
        model.apply(events.CommandFailed(order[0], "refused"), 0.0)
    assert model.wishes.pace(run()) == 8.0, "what was refused is not shown"


@pytest.mark.parametrize(("pace", "step", "then"), [(8, 1, 15), (8, -1, 4), (7, 1, 8), (7, -1, 4),
                                                    (1000, 1, 1000), (0.1, -1, 0.5)])  # fmt: skip
def test_paces(pace: float, step: int, then: float) -> None:
    assert commands.next_pace(pace, step) == then


def test_how_fast_it_learns_goes_round() -> None:
    model = connected(run())
    rates = []
    for _ in range(6):
        order = steer(model, Action.TRAINING_RATE, 0.0)
        assert order is not None and isinstance(order[1], commands.SetTrainingRate)
        rates.append(order[1].placements_per_second)
    assert rates == [1_000, 5_000, 20_000, 100_000, 0, 1_000]
    assert commands.next_training_rate(7_000) == 20_000


@pytest.mark.parametrize(
    ("run_", "action", "why"),
    [
        (run(demo=True), Action.TRAINING_RATE, "learns nothing"),
        (run(state=run_pb2.RUN_STATE_STOPPED), Action.PAUSE, "ended"),
        (run(state=run_pb2.RUN_STATE_QUEUED), Action.MODE, "queued"),
        (run(mode=run_pb2.RUN_MODE_HEADLESS), Action.FASTER, "full speed"),
        (run(demo=True), Action.VIEW, "demo"),
        (run(), Action.NEXT_RUN, "no other run"),
        (run(kind=run_pb2.RUN_KIND_BENCHMARK), Action.FASTER, "A benchmark always plays"),
        (run(kind=run_pb2.RUN_KIND_SIMULATION), Action.MODE, "A simulation always plays"),
        (run(kind=run_pb2.RUN_KIND_SIMULATION), Action.VIEW, "A simulation has only the one view"),
    ],
)
def test_what_cannot_be_done_is_said(run_: run_pb2.Run, action: Action, why: str) -> None:
    model = connected(run_)
    assert why in (refusal(model, action) or "")
    assert command(model, action) is None


def test_without_a_connection_nothing_is_sent() -> None:
    model = connected(run())
    model.apply(events.LinkDown("gone"), 1.0)
    assert steer(model, Action.PAUSE, 1.0) is None
    assert "no connection" in model.toasts[-1].text


def test_a_token_that_may_only_look_steers_nothing() -> None:
    model = connected(run())
    assert refusal(model, Action.PAUSE) is None
    model.may_steer = False
    assert steer(model, Action.PAUSE, 1.0) is None
    assert "only look" in model.toasts[-1].text
    assert refusal(model, Action.SNAPSHOT) is None


def test_an_ended_run_does_not_promise_time_left() -> None:
    shown = run()
    newest = point(1, 10, progress=0.8)
    newest.eta.seconds = 14
    assert progress(shown, newest).note == "80%  ·  14 s left"
    shown.state = run_pb2.RUN_STATE_STOPPED
    assert progress(shown, newest).note == "ended at 80%"
    shown.state = run_pb2.RUN_STATE_SUCCEEDED
    assert progress(shown, newest).share == 1.0


def test_an_evaluation_with_games_cut_off_is_a_lower_bound() -> None:
    shown = run()
    shown.last_evaluation.mean_lines = 2400
    shown.last_evaluation.cut_off_games = 4
    assert numbers(shown, run_pb2.MetricPoint(), race=False)[0].value == "≥ 2,400"
