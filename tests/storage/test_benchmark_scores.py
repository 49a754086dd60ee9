"""Scores: kept with the end of an official benchmark, found by what played, gone with the run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from mltetris_api.v1 import benchmark_pb2, run_pb2, slot_pb2
from mltetris_server import errors
from mltetris_server.storage import History, WorkerEvent, slot_listing

SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED
STOPPED = run_pb2.RUN_STATE_STOPPED
RUNNING = run_pb2.RUN_STATE_RUNNING
SUITE = "standard-10x20-bag"
OTHER = "literature-10x10"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mltetris.db"


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    with History(path) as history:
        yield history


def sha(name: str) -> str:
    return name.encode().hex().ljust(64, "0")


def a_benchmark(
    run_id: str, scores: dict[str, float], suite: str = SUITE, *, official: bool = True
) -> run_pb2.Run:
    run = run_pb2.Run(id=run_id, kind=run_pb2.RUN_KIND_BENCHMARK, state=RUNNING)
    run.create_time.FromSeconds(1_900_000_000)
    run.benchmark.suite = suite
    run.benchmark_result.CopyFrom(
        benchmark_pb2.BenchmarkResult(
            suite=suite,
            official=official,
            complete=True,
            score_kind=benchmark_pb2.SCORE_KIND_MEAN_LINES,
            players=[
                benchmark_pb2.PlayerResult(
                    name=name,
                    sha256=sha(name),
                    games=50,
                    mean_lines=score,
                    cut_off_games=3,
                    score=score,
                    score_error=1.5,
                )
                for name, score in scores.items()
            ],
        )
    )
    return run


def end(history: History, run: run_pb2.Run, state: run_pb2.RunState.ValueType = SUCCEEDED) -> None:
    """The run is begun, and its worker says its last word."""
    history.create_run(run)
    run.state = state
    run.end_time.FromSeconds(1_900_000_100)
    history.append(run.id, [WorkerEvent(1)], run=run)


def told(history: History, **asked: str) -> list[tuple[str, str, float]]:
    scores, _ = history.scores.page(**asked)
    return [(score.run, score.player, score.score) for score in scores]


def test_an_official_benchmarks_scores_come_with_its_end(history: History) -> None:
    run = a_benchmark("bench-1", {"one": 10.0, "train-a:best": 20.0})
    history.create_run(run)
    assert told(history) == []
    run.state = SUCCEEDED
    run.end_time.FromSeconds(1_900_000_100)
    history.append(run.id, [WorkerEvent(1)], run=run)
    run.display_name = "renamed"
    history.save_run(run)
    (second, first), token = history.scores.page()
    assert not token
    assert (first.player, second.player) == ("one", "train-a:best")
    assert (first.suite, first.run, first.sha256) == (SUITE, "bench-1", sha("one"))
    assert (first.score, first.score_error, first.mean_lines) == (10.0, 1.5, 10.0)
    assert (first.games, first.cut_off_games) == (50, 3)
    assert first.create_time == run.end_time


@pytest.mark.parametrize(
    ("state", "official"), [(SUCCEEDED, False), (STOPPED, True), (run_pb2.RUN_STATE_FAILED, True)]
)
def test_any_other_has_none(
    history: History, state: run_pb2.RunState.ValueType, official: bool
) -> None:
    end(history, a_benchmark("bench-1", {"one": 10.0}, official=official), state)
    assert told(history) == []


def test_an_end_that_is_not_stored_leaves_no_scores(history: History) -> None:
    """Both are one transaction: here the metric point of that number is there already."""
    run = a_benchmark("bench-1", {"one": 10.0})
    history.create_run(run)
    point = run_pb2.MetricPoint(sequence=1)
    history.append(run.id, [WorkerEvent(1, [point])])
    run.state = SUCCEEDED
    with pytest.raises(errors.InvalidArgument):
        history.append(run.id, [WorkerEvent(2, [point])], run=run)
    assert told(history) == []


def test_they_go_with_their_run(history: History, path: Path) -> None:
    end(history, a_benchmark("bench-1", {"one": 10.0}))
    end(history, a_benchmark("bench-2", {"one": 11.0}))
    history.delete_run("bench-1")
    assert told(history) == [("bench-2", "one", 11.0)]
    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*) from benchmark_scores").fetchone() == (1,)


def test_they_are_listed_by_suite_and_player_in_pages(history: History) -> None:
    for k in range(5):
        end(history, a_benchmark(f"bench-{k}", {"one": k, "two": 10 + k}))
        end(history, a_benchmark(f"bench-l{k}", {"one": 20 + k}, OTHER))
    assert told(history, suite=SUITE, player="one") == [
        (f"bench-{k}", "one", k) for k in (4, 3, 2, 1, 0)
    ]
    assert len(told(history, suite=OTHER)) == 5
    assert told(history, suite=OTHER, player="two") == []
    whole = told(history)
    assert len(whole) == 15
    seen: list[tuple[str, str, float]] = []
    token = ""
    while True:
        page, token = history.scores.page(page_size=4, page_token=token)
        seen += [(score.run, score.player, score.score) for score in page]
        if not token:
            break
    assert seen == whole
    _, token = history.scores.page(page_size=4)
    with pytest.raises(errors.InvalidArgument) as caught:
        history.scores.page(suite=SUITE, page_size=4, page_token=token)
    assert caught.value.fields[0].field == "page_token"


def test_the_newest_score_of_each_suite_is_found_by_what_played(history: History) -> None:
    end(history, a_benchmark("bench-1", {"one": 10.0, "two": 30.0}))
    end(history, a_benchmark("bench-2", {"one": 5.0}))
    end(history, a_benchmark("bench-3", {"one": 7.0}, OTHER))
    # More than are asked for at once.
    crowd = [sha(f"nobody {k}") for k in range(1200)]
    newest = history.scores.newest([*crowd, sha("one"), sha("two")])
    assert newest.keys() == {sha("one"), sha("two")}
    assert [(s.suite, s.score) for s in newest[sha("one")]] == [(OTHER, 7.0), (SUITE, 5.0)]
    assert history.scores.newest([]) == {}


def test_a_benchmark_that_begins_anew_drops_the_games_before(history: History) -> None:
    run = a_benchmark("bench-1", {"one": 10.0})
    history.create_run(run)
    other = a_benchmark("bench-2", {"one": 10.0})
    history.create_run(other)

    def games(*numbers: int) -> list[run_pb2.Episode]:
        return [run_pb2.Episode(number=number) for number in numbers]

    history.append("bench-2", [WorkerEvent(1, episodes=games(7))])
    history.append("bench-1", [WorkerEvent(1, episodes=games(1, 2))])
    anew = [
        WorkerEvent(2, episodes=games(3)),
        WorkerEvent(3, begins_anew=True),
        WorkerEvent(4, episodes=games(1)),
    ]
    history.append("bench-1", anew)
    # Sent again, as after a break of the line: nothing is dropped twice.
    history.append("bench-1", anew)
    history.append("bench-1", [WorkerEvent(5, episodes=games(2))])
    assert [episode.number for episode in history.episodes("bench-1")] == [1, 2]
    assert [episode.number for episode in history.episodes("bench-2")] == [7]


def a_slot(name: str, score: float | None, mean: float = 0.0) -> slot_pb2.Slot:
    slot = slot_pb2.Slot(name=name, sha256=sha(name))
    slot.evaluation.mean_lines = mean
    if score is not None:
        slot.benchmark_scores.add(suite=OTHER, score=1000 - score)
        slot.benchmark_scores.add(suite=SUITE, score=score)
    return slot


def test_slots_are_listed_by_a_suites_scores_those_without_last() -> None:
    slots = [a_slot("a", None, 900), a_slot("b", 5), a_slot("c", 0), a_slot("d", 5), a_slot("e", 9)]
    seen: list[str] = []
    token = ""
    while True:
        page, token = slot_listing.page(slots, "score", 2, token, suite=SUITE)
        seen += [slot.name for slot in page]
        if not token:
            break
        assert len(token) <= 200
    assert seen == ["e", "b", "d", "c", "a"]
    by_other, token = slot_listing.page(slots, "", 3, suite=OTHER)
    assert [slot.name for slot in by_other] == ["c", "b", "d"]
    with pytest.raises(errors.InvalidArgument) as caught:
        slot_listing.page(slots, "", 3, token, suite=SUITE)
    assert caught.value.fields[0].field == "page_token"
    for order in ("name", "create_time"):
        with pytest.raises(errors.InvalidArgument) as caught:
            slot_listing.page(slots, order, suite=SUITE)
        assert caught.value.fields[0].field == "suite"
