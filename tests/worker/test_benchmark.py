"""Benchmarks in real worker processes."""

from __future__ import annotations

import hashlib
import time

import pytest
from mltetris_api.v1.benchmark_pb2 import SCORE_KIND_SPRINT_EFFICIENCY, BenchmarkResult
from mltetris_api.v1.run_pb2 import (
    BenchmarkSpec,
    CheckpointKind,
    Episode,
    GameSpec,
    Player,
    Rule,
    RunCheckpoint,
    RunReason,
)
from mltetris_api.worker.v1.worker_pb2 import (
    AttachResponse,
    GetCheckpointRequest,
    Pause,
    Resume,
    Stop,
    Watch,
    WorkerState,
)
from mltetris_server.game.config import FeatureSet
from worker.conftest import Serve, StartWorker
from worker.fake_server import PATIENCE, FakeServer
from worker.models import keep_model, keep_reference

BUDGET_SPENT = RunReason.RUN_REASON_BUDGET_SPENT
SHORT = GameSpec(height=8, rule=Rule.RULE_PUBLISHED)
ENDLESS = 10**9
FINGERPRINT = hashlib.sha256(b"a manifest").hexdigest()


def slots(*names: str) -> list[Player]:
    return [Player(slot=name) for name in names]


def a_server(serve: Serve, **spec: object) -> FakeServer:
    """A server with the reference players, which wants a benchmark."""
    asked = {"players": slots("bcts", "random"), "game": SHORT, "games": 6, "seed": 4} | spec
    server = serve()
    server.welcome.benchmark.CopyFrom(BenchmarkSpec(**asked))  # type: ignore[arg-type]
    keep_reference(server, "bcts", "random", "dt10")
    for stored in server.slots.values():
        stored.header.manifest_sha256 = FINGERPRINT
    return server


def results(server: FakeServer) -> list[BenchmarkResult]:
    return [event.benchmark_result for event in server.events("benchmark_result")]


def episodes(server: FakeServer) -> list[Episode]:
    return [e for event in server.events("episodes") for e in event.episodes.episodes]


def games(server: FakeServer) -> list[tuple[object, ...]]:
    """What of the games does not depend on the clock."""
    return sorted(
        (e.board, e.number, e.player, e.lines, e.placements, e.score, e.cut_off)
        for e in episodes(server)
    )


def test_every_game_is_told_and_the_result_adds_them_up(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = a_server(serve, max_lines=200, threads=2)
    process = start_worker(server)
    assert server.await_events("finished")[0].finished.reason == BUDGET_SPENT
    assert process.wait(PATIENCE) == 0
    report = server.events("state")[0].state
    assert report.state == WorkerState.WORKER_STATE_RUNNING
    assert (report.benchmark.game.width, report.benchmark.game.height) == (10, 8)
    assert (report.benchmark.seed, report.benchmark.threads) == (4, 2)
    played = games(server)
    assert [game[:3] for game in played] == [
        (board, number, name)
        for board, name in enumerate(("bcts", "random"))
        for number in range(1, 7)
    ]
    final = results(server)[-1]
    assert final.complete
    assert [player.name for player in final.players] == ["bcts", "random"]
    assert {player.sha256 for player in final.players} == {FINGERPRINT}
    for board, player in enumerate(final.players):
        own = [game for game in played if game[0] == board]
        lines = [int(str(game[3])) for game in own]
        assert (player.games, player.worst_lines, player.best_lines) == (6, min(lines), max(lines))
        assert player.mean_lines == pytest.approx(sum(lines) / 6)
        assert player.placements == sum(int(str(game[4])) for game in own)
        assert player.cut_off_games == sum(bool(game[6]) for game in own)
        assert player.placements_per_second > 0
    (difference,) = final.differences
    assert (difference.first, difference.second, difference.games) == ("bcts", "random", 6)
    assert difference.low <= difference.mean <= difference.high
    last = [event.metrics for event in server.events("metrics")][-1]
    assert (last.episodes, last.progress) == (12, 1)
    assert last.placements == sum(player.placements for player in final.players)
    assert last.best_lines == max(player.best_lines for player in final.players)
    assert server.events("frames") == []  # nobody watched


def test_a_seed_gives_the_same_games_on_any_number_of_threads(
    serve: Serve, start_worker: StartWorker
) -> None:
    found = []
    for threads in (1, 4):
        server = a_server(serve, players=slots("bcts", "dt10", "random"), threads=threads)
        start_worker(server)
        server.await_events("finished")
        found.append(games(server))
    assert len(found[0]) == 18
    assert found[0] == found[1]


def test_a_pause_holds_it_and_a_stop_keeps_what_is_complete(
    serve: Serve, start_worker: StartWorker
) -> None:
    """Of these games bcts' never end, and random's soon do."""
    server = a_server(serve, game=GameSpec(), max_lines=ENDLESS, games=40, threads=2)
    server.welcome.watch.CopyFrom(Watch(max_fps=50))
    process = start_worker(server)
    server.wait_for(lambda: any(event.frames.frames for event in server.events("frames")))
    answer = server.await_answer(server.say(AttachResponse(pause=Pause()))).state
    assert answer.state == WorkerState.WORKER_STATE_PAUSED
    server.say(AttachResponse(watch=Watch(max_fps=40)))
    shown = len(server.events("frames"))
    server.wait_for(lambda: len(server.events("frames")) > shown, "a frame while held")
    here = [(f.player, f.placements) for f in server.events("frames")[-1].frames.frames]
    # Long enough for many slices, were there any.
    time.sleep(0.3)
    server.say(AttachResponse(watch=Watch(max_fps=41)))
    server.wait_for(lambda: len(server.events("frames")) > shown + 1, "another")
    assert [(f.player, f.placements) for f in server.events("frames")[-1].frames.frames] == here
    before = len(server.events("metrics"))
    server.await_answer(server.say(AttachResponse(resume=Resume())))
    server.await_events("metrics", before + 2)
    server.say(AttachResponse(stop=Stop()))
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_STOPPED_BY_CALLER
    assert process.wait(PATIENCE) == 0
    final = results(server)[-1]
    assert not final.complete
    assert sum(player.games for player in final.players) == len(games(server)) < 80
    (notice,) = [event.notice.text for event in server.events("notice")]
    assert f"after {len(games(server))} of 80 games" in notice


def test_who_watches_sees_the_players_boards(serve: Serve, start_worker: StartWorker) -> None:
    server = a_server(serve, game=GameSpec(), max_lines=ENDLESS, players=slots("bcts", "dt10"))
    server.welcome.watch.CopyFrom(Watch(max_fps=30, include_values=True))
    start_worker(server)
    server.wait_for(
        lambda: any(len(event.frames.frames) == 2 for event in server.events("frames")),
        "a frame of both",
    )
    first, second = server.events("frames")[-1].frames.frames
    assert [(f.board, f.player, f.episode) for f in (first, second)] == [
        (0, "bcts", 1),
        (1, "dt10", 1),
    ]
    assert len({value.value for value in first.values}) > 1
    assert len(first.cells) == 200
    assert first.placements > 0
    server.say(AttachResponse(stop=Stop()))
    server.await_events("finished")


def test_a_sprint_is_scored_by_placements(serve: Serve, start_worker: StartWorker) -> None:
    """What the suite decides the server has filled in; how it scores the worker knows."""
    server = a_server(
        serve, suite="sprint-40-lines", game=GameSpec(), max_lines=40, players=slots("bcts")
    )
    start_worker(server)
    server.await_events("finished")
    final = results(server)[-1]
    assert final.score_kind == SCORE_KIND_SPRINT_EFFICIENCY
    shares = [100 / e.placements for e in episodes(server)]
    assert final.players[0].score == pytest.approx(sum(shares) / 6)
    assert final.players[0].cut_off_games == 6


def test_what_is_left_open_is_the_first_players_and_is_told(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = a_server(serve, players=slots("bcts"), games=1, max_lines=5)
    server.welcome.benchmark.ClearField("game")
    server.welcome.benchmark.ClearField("seed")
    start_worker(server)
    server.await_events("finished")
    told = server.events("state")[0].state.benchmark
    assert (told.game.width, told.game.height, told.game.rule) == (10, 20, Rule.RULE_GYMNASIUM)
    assert told.HasField("seed")
    assert 1 <= told.threads <= 64


def test_checkpoints_of_runs_play_under_their_names(
    serve: Serve, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = Player(
        checkpoint=RunCheckpoint(run="train-a", kind=CheckpointKind.CHECKPOINT_KIND_FINAL)
    )
    server = a_server(serve, players=[named, Player(slot="random")], games=2, max_lines=5)
    asked: list[GetCheckpointRequest] = []
    by_slot = server.GetCheckpoint

    def get_checkpoint(request: GetCheckpointRequest, context: object) -> object:
        asked.append(request)
        return by_slot(GetCheckpointRequest(slot=request.slot or "bcts"), context)  # type: ignore[arg-type]

    # The service was registered with what it had then: a server of its own.
    server.stop()
    monkeypatch.setattr(server, "GetCheckpoint", get_checkpoint)
    server.start()
    start_worker(server)
    server.await_events("finished")
    assert asked[0].checkpoint == named.checkpoint
    assert [player.name for player in results(server)[-1].players] == ["train-a:final", "random"]


def test_a_player_that_cannot_play_is_named(serve: Serve, start_worker: StartWorker) -> None:
    server = a_server(serve, players=slots("bcts", "narrow"), game=GameSpec(width=8))
    keep_model(server, "narrow", 1, features=FeatureSet.SIMPLE)
    start_worker(server)
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_WORKER_ERROR
    assert "'narrow' was trained for another width" in finished.error.message


def test_another_worker_begins_anew_and_goes_on_counting(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = a_server(serve, max_lines=50, games=3)
    server.welcome.resumption.metric_sequence = 17
    server.welcome.resumption.elapsed.FromSeconds(1000)
    start_worker(server)
    server.await_events("finished")
    points = [event.metrics for event in server.events("metrics")]
    assert points[0].sequence == 18
    assert points[-1].elapsed.seconds >= 1000
    assert len(games(server)) == 6
    assert not points[-1].HasField("eta")
