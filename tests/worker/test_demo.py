"""Demos in real worker processes."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.v1.run_pb2 import DemoSpec, Episode, GameSpec, RunControl, RunMode, RunReason
from mltetris_api.worker.v1.worker_pb2 import (
    AttachResponse,
    Pause,
    Resume,
    Stop,
    Update,
    Watch,
    WorkerState,
)
from mltetris_server.game.config import FeatureSet
from worker.conftest import Serve, StartWorker
from worker.fake_server import PATIENCE, FakeServer, sequences
from worker.models import keep_model, keep_reference

PAUSED = WorkerState.WORKER_STATE_PAUSED
RUNNING = WorkerState.WORKER_STATE_RUNNING
FULL_SPEED = RunControl(mode=RunMode.RUN_MODE_HEADLESS, placements_per_second=4)


def frames(server: FakeServer) -> list[list[BoardFrame]]:
    return [list(event.frames.frames) for event in server.events("frames")]


def episodes(server: FakeServer) -> list[Episode]:
    return [e for event in server.events("episodes") for e in event.episodes.episodes]


def finish(server: FakeServer) -> RunReason.ValueType:
    server.say(AttachResponse(stop=Stop()))
    return server.await_events("finished")[0].finished.reason


def test_a_race_shows_the_same_pieces_on_both_boards(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serve(demo=DemoSpec(slots=["one", "two"], seed=0))
    keep_model(server, "one", 1)
    keep_model(server, "two", 2)
    server.welcome.control.placements_per_second = 200
    server.welcome.watch.max_fps = 100
    process = start_worker(server)
    server.await_events("frames", 60)
    server.wait_for(lambda: len(episodes(server)) >= 3)
    for pair in frames(server):
        assert [frame.board for frame in pair] == [0, 1]
        assert [frame.player for frame in pair] == ["one", "two"]
        active = [(f.active.piece, tuple(f.next)) for f in pair if not f.game_over]
        assert len(set(active)) <= 1
    assert len({frame.cells for pair in frames(server) for frame in pair}) > 60
    report = server.events("state")[0].state
    assert report.state == RUNNING
    assert report.demo.seed == 0
    assert report.demo.HasField("seed")
    assert report.demo.game.width == 10
    assert finish(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER
    assert process.wait(PATIENCE) == 0


def test_it_plays_its_games_and_ends(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(demo=DemoSpec(slots=["one", "two"], games=3, seed=5))
    server.welcome.control.CopyFrom(FULL_SPEED)
    keep_model(server, "one", 1)
    keep_model(server, "two", 2)
    process = start_worker(server)
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_BUDGET_SPENT
    assert process.wait(PATIENCE) == 0
    played = episodes(server)
    assert sorted((e.player, e.number) for e in played) == [
        (player, number) for player in ("one", "two") for number in (1, 2, 3)
    ]
    points = [event.metrics for event in server.events("metrics")]
    assert [point.sequence for point in points] == list(range(1, len(points) + 1))
    last = points[-1]
    assert last.episodes == 6
    assert last.placements == sum(e.placements for e in played)
    assert last.best_lines == max(e.lines for e in played)
    assert last.progress == 1
    assert server.events("frames") == []  # nobody watched
    numbers = sequences(server.received)
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_seed_gives_the_same_games_at_any_pace(serve: Serve, start_worker: StartWorker) -> None:
    results = []
    for control in (FULL_SPEED, RunControl(placements_per_second=1_000)):
        server = serve(demo=DemoSpec(slots=["one"], games=2, seed=9))
        server.welcome.control.CopyFrom(control)
        keep_model(server, "one", 1)
        start_worker(server)
        server.await_events("finished")
        results.append([(e.lines, e.placements, e.score) for e in episodes(server)])
    assert results[0] == results[1]


def test_reference_players_play(serve: Serve, start_worker: StartWorker) -> None:
    """bcts goes on and on, random soon ends."""
    server = serve(demo=DemoSpec(slots=["random", "bcts"], seed=3000))
    server.welcome.control.CopyFrom(FULL_SPEED)
    server.welcome.watch.CopyFrom(Watch(max_fps=20, include_values=True))
    keep_reference(server, "random", "bcts")
    process = start_worker(server)
    server.wait_for(lambda: len(episodes(server)) >= 20)
    assert server.events("state")[0].state.demo.game.width == 10
    server.wait_for(lambda: bool(frames(server)))
    assert finish(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER
    assert process.wait(PATIENCE) == 0
    played = episodes(server)
    assert {e.player for e in played} == {"random"}
    assert max(e.lines for e in played) <= 3
    assert max(e.placements for e in played) < 80
    random, bcts = frames(server)[-1]
    assert (random.player, bcts.player) == ("random", "bcts")
    assert bcts.lines > 100
    assert len({value.value for value in random.values}) <= 1, "all are worth the same"
    assert len({value.value for value in bcts.values}) > 1


def test_a_random_players_games_repeat(serve: Serve, start_worker: StartWorker) -> None:
    results = []
    for _ in range(2):
        server = serve(demo=DemoSpec(slots=["random"], games=20, seed=3000))
        server.welcome.control.CopyFrom(FULL_SPEED)
        keep_reference(server, "random")
        start_worker(server)
        server.await_events("finished")
        results.append([(e.lines, e.placements, e.score) for e in episodes(server)])
    assert results[0] == results[1]
    assert len(set(results[0])) > 5


def test_it_pauses_and_goes_on(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(demo=DemoSpec(slots=["one"], seed=1))
    server.welcome.control.placements_per_second = 100
    server.welcome.watch.max_fps = 100
    keep_model(server, "one", 1)
    start_worker(server)
    server.await_events("frames", 5)
    answer = server.await_answer(server.say(AttachResponse(pause=Pause())))
    assert answer.state.state == PAUSED
    # Whatever comes after the answer shows a board that stands still.
    count = len(server.events("frames"))
    server.await_events("heartbeat", len(server.events("heartbeat")) + 2)
    still = frames(server)[count - 1 :]
    assert len({pair[0].SerializeToString(deterministic=True) for pair in still[1:]}) <= 1
    answer = server.await_answer(server.say(AttachResponse(resume=Resume())))
    assert answer.state.state == RUNNING
    server.await_events("frames", count + 10)
    assert finish(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER


def test_a_wait_for_the_next_placement_is_no_wait_for_a_command(
    serve: Serve, start_worker: StartWorker
) -> None:
    """At one placement in ten seconds everything is answered before the next is made."""
    server = serve(demo=DemoSpec(slots=["one"], seed=1))
    server.welcome.control.placements_per_second = 0.1
    server.welcome.watch.max_fps = 30
    keep_model(server, "one", 1)
    start_worker(server)
    server.wait_for(lambda: any(pair[0].placements == 1 for pair in frames(server)))
    server.await_answer(server.say(AttachResponse(pause=Pause())))
    server.await_answer(server.say(AttachResponse(resume=Resume())))
    assert frames(server)[-1][0].placements <= 2
    fast = RunControl(mode=RunMode.RUN_MODE_VISUAL, placements_per_second=500)
    server.await_answer(server.say(AttachResponse(control=fast)))
    server.wait_for(lambda: frames(server)[-1][0].placements > 20 or len(episodes(server)) > 1)
    assert finish(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER


def test_who_begins_to_watch_a_held_run_sees_it(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(demo=DemoSpec(slots=["one"], seed=1))
    server.welcome.paused = True
    keep_model(server, "one", 1)
    start_worker(server)
    assert server.await_events("state")[0].state.state == PAUSED
    assert server.events("frames") == []
    server.say(AttachResponse(watch=Watch(max_fps=1)))
    server.await_events("frames", 1)
    server.say(AttachResponse(watch=Watch(max_fps=1, include_values=True)))
    server.await_events("frames", 2)
    first, second = (pair[0] for pair in frames(server)[:2])
    assert first.placements == second.placements == 0
    assert len(first.values) == 0
    assert len(second.values) > 5
    assert second.sequence > first.sequence
    assert finish(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER


def test_nobody_watching_means_no_frames(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(demo=DemoSpec(slots=["one"], seed=1))
    server.welcome.control.placements_per_second = 200
    server.welcome.watch.max_fps = 50
    keep_model(server, "one", 1)
    start_worker(server)
    server.await_events("frames", 3)
    server.say(AttachResponse(watch=Watch()))
    # The answer to a command that came after the Watch: from here on, none.
    server.await_answer(server.say(AttachResponse(update=Update())))
    count = len(server.events("frames"))
    server.await_events("metrics", len(server.events("metrics")) + 3)
    assert len(server.events("frames")) == count
    server.say(AttachResponse(watch=Watch(max_fps=50)))
    server.await_events("frames", count + 3)


def test_the_frame_rate_is_a_limit(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(demo=DemoSpec(slots=["one"], seed=1))
    server.welcome.control.placements_per_second = 500
    server.welcome.watch.max_fps = 10
    keep_model(server, "one", 1)
    start_worker(server)
    server.await_events("frames", 10)
    times = [pair[0].sample_time.ToNanoseconds() for pair in frames(server)[1:]]
    gaps = [after - before for before, after in pairwise(times)]
    assert sum(gaps) / len(gaps) > 0.08e9


def test_an_unknown_slot_fails_the_run(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(demo=DemoSpec(slots=["nobody"]))
    process = start_worker(server)
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_WORKER_ERROR
    assert finished.error.code == 5  # NOT_FOUND
    assert "nobody" in finished.error.message
    assert process.wait(PATIENCE) == 1


def test_a_damaged_slot_fails_the_run(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(demo=DemoSpec(slots=["torn"]))
    keep_model(server, "torn", 1)
    server.keep_slot("torn", server.slots["torn"].header.model_json, {"policy.safetensors": b"no"})
    process = start_worker(server)
    finished = server.await_events("finished")[0].finished
    assert finished.error.code == 15  # DATA_LOSS
    assert "policy.safetensors" in finished.error.message
    assert process.wait(PATIENCE) == 1


def test_a_slot_that_cannot_play_this_game_fails_the_run(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serve(demo=DemoSpec(slots=["narrow"], game=GameSpec(width=8)))
    keep_model(server, "narrow", 1, features=FeatureSet.SIMPLE)
    start_worker(server)
    finished = server.await_events("finished")[0].finished
    assert finished.error.code == 3  # INVALID_ARGUMENT
    assert "narrow" in finished.error.message


def test_no_torch_is_loaded(serve: Serve, start_worker: StartWorker) -> None:
    """A demo is small and quickly there."""
    server = serve(demo=DemoSpec(slots=["one"], seed=1))
    keep_model(server, "one", 1)
    process = start_worker(server)
    server.await_events("state")
    try:
        maps = {Path(m.path).name for m in psutil.Process(process.pid).memory_maps()}
    except (AttributeError, psutil.AccessDenied):
        pytest.skip("this system does not say what a process has loaded")
    assert not any("torch" in name for name in maps)


def test_a_broken_line_loses_nothing(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(demo=DemoSpec(slots=["one"], seed=1, games=40))
    server.welcome.control.placements_per_second = 1_000
    server.welcome.watch.max_fps = 30
    keep_model(server, "one", 1)
    process = start_worker(server)
    for count in (2, 4, 6):
        server.await_events("metrics", count)
        server.break_line()
        server.wait_for(lambda count=count: server.conversations >= count // 2 + 1)
    server.await_events("finished")
    assert process.wait(PATIENCE) == 0
    numbers = sequences(server.received)
    assert numbers == list(range(1, len(numbers) + 1))
    assert sorted(e.number for e in episodes(server)) == list(range(1, 41))


def test_after_a_break_the_servers_view_holds(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(demo=DemoSpec(slots=["one"], seed=1))
    keep_model(server, "one", 1)
    start_worker(server)
    server.await_events("state")
    server.welcome.paused = True
    server.break_line()
    reports = server.await_events("state", 2)
    assert reports[1].state.state == PAUSED
    assert reports[1].state.command == 0
    assert server.events("hello")[1].hello.state == RUNNING


def test_a_worker_leaves_when_its_server_is_gone(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(demo=DemoSpec(slots=["one"], seed=1), grace=0.5)
    keep_model(server, "one", 1)
    process = start_worker(server)
    server.await_events("state")
    server.stop()
    assert process.wait(PATIENCE) == 3


def test_a_held_worker_leaves_too(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(demo=DemoSpec(slots=["one"], seed=1), grace=0.5)
    server.welcome.paused = True
    keep_model(server, "one", 1)
    process = start_worker(server)
    server.await_events("state")
    server.stop()
    assert process.wait(PATIENCE) == 3


def test_a_polite_signal_stops_the_run(serve: Serve, start_worker: StartWorker) -> None:
    if os.name != "posix":
        pytest.skip("this system has no polite signal")
    server = serve(demo=DemoSpec(slots=["one"], seed=1))
    keep_model(server, "one", 1)
    process = start_worker(server)
    server.await_events("state")
    process.send_signal(signal.SIGINT)  # the terminal's Ctrl-C is not for the worker
    server.await_events("metrics", len(server.events("metrics")) + 1)
    process.send_signal(signal.SIGTERM)
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_STOPPED_BY_CALLER
    assert process.wait(PATIENCE) == 0
