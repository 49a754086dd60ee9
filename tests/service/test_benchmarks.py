"""Benchmarks on a real server with real workers: results, scores, the leaderboard, and refusals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from mltetris_api.v1 import benchmark_pb2, run_pb2, trainer_pb2
from mltetris_server.storage import History, bundle
from support.calls import Client, import_requests, simple_model
from support.checkpoints import a_checkpoint
from support.server import ServerProcess

SPRINT = "sprint-40-lines"
FINAL = {run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_STOPPED, run_pb2.RUN_STATE_FAILED}
ENDLESS = 10**9
PATIENCE_S = 120.0


def request(*players: str, **fields: Any) -> trainer_pb2.StartRunRequest:
    policy = fields.pop("restart_policy", None)
    named = [run_pb2.Player(slot=name) for name in players]
    spec = run_pb2.BenchmarkSpec(players=named, **fields)
    return trainer_pb2.StartRunRequest(benchmark=spec, restart_policy=policy)


def start(client: Client, *players: str, **fields: Any) -> str:
    run_id: str = client.call("StartRun", request(*players, **fields)).run.id
    return run_id


def until(client: Client, run_id: str, condition: Any) -> run_pb2.Run:
    """Looks at a run until it is as `condition` wants it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        asked = trainer_pb2.GetRunRequest(run=run_id)
        run: run_pb2.Run = client.stub.GetRun(asked, timeout=PATIENCE_S, wait_for_ready=True).run
        if condition(run):
            return run
        assert run.state != run_pb2.RUN_STATE_FAILED, (run.error.message, run.log_tail)
        time.sleep(0.05)
    raise AssertionError(run)


def ended(client: Client, run_id: str) -> run_pb2.Run:
    return until(client, run_id, lambda run: run.state in FINAL)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    data = tmp_path_factory.mktemp("benchmarks") / "data"
    with ServerProcess(data, "--max-runs", "2") as server:
        client = Client(server)
        yield client
        client.channel.close()


def listed(client: Client, **asked: Any) -> list[Any]:
    return list(client.call("ListSlots", trainer_pb2.ListSlotsRequest(**asked)).slots)


def copy(client: Client, slot: str, name: str, *, overwrite: bool = False) -> None:
    asked = trainer_pb2.SaveSlotRequest(name=name, slot=slot, overwrite=overwrite)
    client.call("SaveSlot", asked)


def test_a_suite_is_played_scored_and_becomes_the_leaderboard(served: Client) -> None:
    copy(served, "bcts", "mine")
    first = ended(served, start(served, "random", "mine", suite=SPRINT))
    assert first.state == run_pb2.RUN_STATE_SUCCEEDED
    result = first.benchmark_result
    assert (result.suite, result.official, result.complete) == (SPRINT, True, True)
    assert result.score_kind == benchmark_pb2.SCORE_KIND_SPRINT_EFFICIENCY
    assert [(player.name, player.games) for player in result.players] == [
        ("random", 100),
        ("mine", 100),
    ]
    assert [source.slot for source in first.sources] == ["random", "mine"]
    assert [s.sha256 for s in first.sources] == [p.sha256 for p in result.players]
    assert result.players[1].score > 0.9 > result.players[0].score
    assert (first.benchmark.max_lines, first.benchmark.seed) == (40, 0)

    again = ended(served, start(served, "random", "mine", suite=SPRINT, threads=3))
    assert [
        (p.name, p.score, p.score_error, p.mean_lines, p.placements, p.best_lines)
        for p in again.benchmark_result.players
    ] == [
        (p.name, p.score, p.score_error, p.mean_lines, p.placements, p.best_lines)
        for p in result.players
    ]
    assert again.benchmark_result.differences == result.differences

    asked = trainer_pb2.ListBenchmarkScoresRequest(suite=SPRINT, player="mine", page_size=1)
    page = served.call("ListBenchmarkScores", asked)
    assert [score.run for score in page.scores] == [again.id]
    asked.page_token = page.next_page_token
    assert [s.run for s in served.call("ListBenchmarkScores", asked).scores] == [first.id]

    # What played counts, not what it was called: bcts has its copy's score.
    slots = listed(served, suite=SPRINT)
    assert [slot.name for slot in slots[:3]] == ["bcts", "mine", "random"]
    for slot in slots[:2]:
        (score,) = slot.benchmark_scores
        assert (score.run, score.player) == (again.id, "mine")
    assert not any(slot.benchmark_scores for slot in slots[3:])
    update = trainer_pb2.UpdateSlotRequest(
        name="mine",
        update=trainer_pb2.SlotUpdate(name="renamed"),
        update_mask=FieldMask(paths=["name"]),
    )
    assert served.call("UpdateSlot", update).slot.benchmark_scores
    copy(served, "dt10", "renamed", overwrite=True)
    slot = served.call("GetSlot", trainer_pb2.GetSlotRequest(name="renamed")).slot
    assert not slot.benchmark_scores, "it was overwritten: another model"

    for run in (first.id, again.id):
        served.call("DeleteRun", trainer_pb2.DeleteRunRequest(run=run))
    assert not any(slot.benchmark_scores for slot in listed(served))
    served.call("DeleteSlot", trainer_pb2.DeleteSlotRequest(name="renamed"))


@pytest.mark.parametrize("changed", [{"games": 3}, {"seed": 1, "games": 3}])
def test_a_part_of_a_suite_is_not_official(served: Client, changed: dict[str, int]) -> None:
    run = ended(served, start(served, "bcts", suite=SPRINT, **changed))
    assert run.benchmark_result.complete and not run.benchmark_result.official
    asked = trainer_pb2.ListBenchmarkScoresRequest(suite=SPRINT)
    assert not served.call("ListBenchmarkScores", asked).scores


def test_one_that_is_stopped_keeps_what_is_complete(served: Client) -> None:
    run_id = start(served, "random", "bcts", games=30, max_lines=ENDLESS, threads=2)
    until(served, run_id, lambda run: run.metrics.placements > 0)
    refused = served.refusal("DeleteRun", trainer_pb2.DeleteRunRequest(run=run_id))
    assert refused.code == grpc.StatusCode.FAILED_PRECONDITION
    run = served.call("StopRun", trainer_pb2.StopRunRequest(run=run_id)).run
    assert run.state == run_pb2.RUN_STATE_STOPPED
    result = run.benchmark_result
    assert not result.complete and not result.official
    assert result.players[1].games == 0
    assert len(result.differences) == 1


def test_the_suites_are_listed_the_standard_one_first(served: Client) -> None:
    suites = served.call("ListBenchmarkSuites", trainer_pb2.ListBenchmarkSuitesRequest()).suites
    assert [suite.name for suite in suites] == ["standard-10x20-bag", "literature-10x10", SPRINT]
    literature = suites[1]
    assert (literature.game.width, literature.game.height) == (10, 10)
    assert literature.game.rule == run_pb2.RULE_PUBLISHED
    assert literature.game.randomizer == run_pb2.RANDOMIZER_UNIFORM
    assert (literature.seed, literature.max_lines) == (0, 0)
    assert suites[2].score_kind == benchmark_pb2.SCORE_KIND_SPRINT_EFFICIENCY


def test_what_cannot_be_is_refused_and_its_field_is_named(served: Client) -> None:
    narrow = bundle.pack(a_checkpoint(2000, model=simple_model(8), mean_lines=None))
    served.stub.ImportSlot(import_requests("narrow", narrow))
    missing = grpc.StatusCode.NOT_FOUND
    bad = grpc.StatusCode.INVALID_ARGUMENT
    game = run_pb2.GameSpec(width=10)
    for asked, code, field in (
        (request("bcts", games=0), bad, "benchmark.games"),
        (request(), bad, "benchmark.players"),
        (request("bcts", "random", "bcts"), bad, "benchmark.players[2]"),
        (request("bcts", suite="nonesuch"), bad, "benchmark.suite"),
        (request("bcts", suite=SPRINT, game=game), bad, "benchmark.game"),
        (request("bcts", suite=SPRINT, max_lines=5), bad, "benchmark.max_lines"),
        (request("bcts", max_lines=0), bad, "benchmark.max_lines"),
        (request("bcts", threads=65), bad, "benchmark.threads"),
        (request("bcts", "narrow"), bad, "benchmark.players[1]"),
        (request("narrow", suite=SPRINT), bad, "benchmark.players[0]"),
        (request("bcts", "nobody"), missing, None),
    ):
        refused = served.refusal("StartRun", asked)
        assert refused.code == code, (asked, refused)
        assert refused.fields == ([field] if field else []), (asked, refused)
    for method, asked in (
        ("ListSlots", trainer_pb2.ListSlotsRequest(suite="nonesuch")),
        ("ListSlots", trainer_pb2.ListSlotsRequest(suite=SPRINT, order_by="name")),
        ("ListBenchmarkScores", trainer_pb2.ListBenchmarkScoresRequest(suite="nonesuch")),
    ):
        refused = served.refusal(method, asked)
        assert (refused.code, refused.fields) == (bad, ["suite"])


def test_a_worker_that_dies_leaves_no_game_twice(server: ServerProcess) -> None:
    """The next one begins anew: the games of the first are dropped, and played again."""
    client = Client(server)
    policy = run_pb2.RestartPolicy(max_restarts=1)
    policy.backoff.FromMilliseconds(10)
    run_id = start(
        client, "bcts", "random", suite="literature-10x10", restart_policy=policy, threads=1
    )
    until(client, run_id, lambda run: run.metrics.episodes >= 10)
    (worker,) = server.workers()
    worker.kill()
    run = ended(client, run_id)
    client.channel.close()
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.error
    assert run.restarts == 1
    assert [player.games for player in run.benchmark_result.players] == [400, 400]
    assert run.benchmark_result.official
    server.terminate()
    with History(server.data_dir / "mltetris.db") as history:
        games = [(e.player, e.number) for e in history.episodes(run_id, 10_000)]
        assert len(history.scores.page()[0]) == 2
    assert sorted(games) == [
        (name, number) for name in ("bcts", "random") for number in range(1, 401)
    ]


def test_a_server_that_is_killed_loses_no_game(server: ServerProcess) -> None:
    """The worker plays on, and what it had to say meanwhile is told to the next server, once."""
    client = Client(server)
    run_id = start(client, "bcts", suite="literature-10x10", threads=1)
    until(client, run_id, lambda run: run.metrics.episodes >= 10)
    server.kill()
    server.start()
    run = ended(client, run_id)
    client.channel.close()
    assert (run.state, run.restarts) == (run_pb2.RUN_STATE_SUCCEEDED, 0)
    assert run.benchmark_result.official
    server.terminate()
    with History(server.data_dir / "mltetris.db") as history:
        numbers = [episode.number for episode in history.episodes(run_id, 10_000)]
        assert len(history.scores.page()[0]) == 1
    assert sorted(numbers) == list(range(1, 401))
