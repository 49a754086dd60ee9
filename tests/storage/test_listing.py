"""Lists of runs: every filter, every order, pages that stay true, and plans that read no run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import History, WorkerEvent
from mltetris_server.storage.listing import RunQuery
from sqlalchemy import event

NAMES = ("Größe", "groß", "100% sure", "a_b", "axb", "Zebra", "zebra", "", "ÉTÉ", "x" * 100)
ALGORITHMS = ("", "td", "dqn", "ppo", "cem")
ORDERS = ("create_time", "end_time", "best_lines", "placements", "display_name")


def a_run(number: int, chance: random.Random) -> run_pb2.Run:
    run = run_pb2.Run(id=f"run-{number}", display_name=chance.choice(NAMES))
    run.state = chance.choice(run_pb2.RunState.values()[1:])
    run.create_time.FromSeconds(1_900_000_000 + chance.randrange(50))
    if run.state >= run_pb2.RUN_STATE_SUCCEEDED:
        run.end_time.FromSeconds(1_900_000_100 + chance.randrange(50))
    if chance.random() < 0.6:
        run.best_evaluation.mean_lines = chance.choice([0.0, 1.5, 1e300, chance.random()])
    run.metrics.placements = chance.randrange(20)
    match chance.randrange(4):
        case 0:
            run.kind = run_pb2.RUN_KIND_TRAINING
            algorithm = chance.choice(ALGORITHMS)
            if algorithm and chance.random() < 0.5:
                getattr(run.training, algorithm).SetInParent()
            elif algorithm:
                run.training.algorithm = run_pb2.Algorithm.Value(f"ALGORITHM_{algorithm.upper()}")
            run.training.slot = chance.choice(["mine", ""])
            run.training.warm_start.dataset = chance.choice(["games", ""])
        case 1:
            run.kind = run_pb2.RUN_KIND_DEMO
            run.demo.slots.extend(["mine", "other"][: chance.randrange(3)])
        case 2:
            run.kind = run_pb2.RUN_KIND_BENCHMARK
            run.benchmark.suite = chance.choice(["standard-10x20-bag", ""])
            run.benchmark.players.add(slot="other")
            run.sources.add(slot="mine", sha256="0" * 64)
        case _:
            run.kind = run_pb2.RUN_KIND_SIMULATION
            run.simulation.dataset = chance.choice(["games", "others"])
            run.simulation.player.checkpoint.run = "run-1"
    return run


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[History, list[run_pb2.Run]]]:
    chance = random.Random(7)
    runs = [a_run(number, chance) for number in range(300)]
    with History(tmp_path_factory.mktemp("listing") / "mltetris.db") as history:
        for run in runs:
            history.create_run(run)
        yield history, runs


def pages(history: History, query: RunQuery, size: int) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        page, token, total = history.find_runs(query, size, token)
        found += [run.id for run in page]
        if not token:
            assert len(found) == total
            return found
        assert len(token) <= 2000


def number(run: run_pb2.Run) -> int:
    return int(run.id.removeprefix("run-"))


def key(run: run_pb2.Run, order: str, ascending: bool) -> Any:
    """What the contract says of each order."""
    if order == "create_time":
        return run.create_time.ToMicroseconds()
    if order == "end_time":
        return run.end_time.ToMicroseconds() if run.HasField("end_time") else 2**62
    if order == "placements":
        return run.metrics.placements
    if order == "display_name":
        return run.display_name.casefold()
    if run.HasField("best_evaluation"):
        return run.best_evaluation.mean_lines
    return float("inf") if ascending else -1.0


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_the_pages_of_every_order_join_to_the_whole_list(
    many: tuple[History, list[run_pb2.Run]], order: str, ascending: bool
) -> None:
    history, runs = many
    expected = sorted(
        runs, key=lambda run: (key(run, order, ascending), number(run)), reverse=not ascending
    )
    query = RunQuery(order_by=order, ascending=ascending)
    assert pages(history, query, 7) == [run.id for run in expected]
    assert pages(history, query, 1000) == [run.id for run in expected]


def _training(run: run_pb2.Run, *names: str) -> bool:
    named = run.training.WhichOneof("hyperparameters") or ""
    if run.training.algorithm:
        named = run_pb2.Algorithm.Name(run.training.algorithm).removeprefix("ALGORITHM_").lower()
    return run.HasField("training") and (named or "td") in names


FILTERS: dict[str, tuple[dict[str, Any], Callable[[run_pb2.Run], bool]]] = {
    "all": ({}, lambda run: True),
    "kinds": ({"kinds": [1, 3]}, lambda run: run.kind in (1, 3)),
    "every kind": ({"kinds": [0, 3]}, lambda run: True),
    "states": ({"states": [3, 8]}, lambda run: run.state in (3, 8)),
    "text": ({"text": "ZEBRA"}, lambda run: run.display_name.lower() == "zebra"),
    "text that folds": ({"text": "GRÖSSE"}, lambda run: run.display_name == "Größe"),
    "accents": ({"text": "été"}, lambda run: run.display_name == "ÉTÉ"),
    "text of the id": ({"text": "RUN-29"}, lambda run: "run-29" in run.id),
    "percent": ({"text": "%"}, lambda run: "%" in run.display_name),
    "underscore": ({"text": "a_b"}, lambda run: run.display_name == "a_b"),
    "from": (
        {"created_from_us": 1_900_000_020_000_000},
        lambda run: run.create_time.seconds >= 1_900_000_020,
    ),
    "before": (
        {"created_before_us": 1_900_000_020_000_000},
        lambda run: run.create_time.seconds < 1_900_000_020,
    ),
    "td": ({"algorithms": [1]}, lambda run: _training(run, "td")),
    "unspecified is td": ({"algorithms": [0]}, lambda run: _training(run, "td")),
    "two algorithms": ({"algorithms": [2, 4]}, lambda run: _training(run, "dqn", "cem")),
    "slot": (
        {"slot": "mine"},
        lambda run: run.training.slot == "mine" or "mine" in run.demo.slots or bool(run.sources),
    ),
    "dataset": (
        {"dataset": "games"},
        lambda run: "games" in (run.training.warm_start.dataset, run.simulation.dataset),
    ),
    "suite": (
        {"suite": "standard-10x20-bag"},
        lambda run: run.benchmark.suite == "standard-10x20-bag",
    ),
    "all together": (
        {"kinds": [1], "states": [8], "slot": "mine", "algorithms": [1, 2, 3, 4]},
        lambda run: run.kind == 1 and run.state == 8 and run.training.slot == "mine",
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_lets_through_what_it_says(
    many: tuple[History, list[run_pb2.Run]], name: str
) -> None:
    history, runs = many
    asked, wanted = FILTERS[name]
    expected = {run.id for run in runs if wanted(run)}
    assert expected, "the test would show nothing"
    found = pages(history, RunQuery(**asked), 11)
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_times_beyond_all_times_are_no_error(many: tuple[History, list[run_pb2.Run]]) -> None:
    history, runs = many
    assert len(pages(history, RunQuery(created_from_us=-(10**30)), 1000)) == len(runs)
    assert pages(history, RunQuery(created_from_us=10**30), 1000) == []


def test_an_order_that_there_is_not_is_refused(many: tuple[History, list[run_pb2.Run]]) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        many[0].find_runs(RunQuery(order_by="colour"))
    assert caught.value.fields[0].field == "order_by"


@pytest.mark.parametrize(
    "other",
    [RunQuery(order_by="end_time"), RunQuery(ascending=True), RunQuery(text="x"), RunQuery([1])],
)
def test_a_token_is_of_one_list(many: tuple[History, list[run_pb2.Run]], other: RunQuery) -> None:
    _, token, _ = many[0].find_runs(RunQuery(), 5)
    with pytest.raises(errors.InvalidArgument) as caught:
        many[0].find_runs(other, 5, token)
    assert caught.value.fields[0].field == "page_token"


def test_what_a_run_is_now_is_what_it_is_listed_by(tmp_path: Path) -> None:
    with History(tmp_path / "mltetris.db") as history:
        for number in range(3):
            run = run_pb2.Run(id=f"run-{number}", kind=1, state=3)
            history.create_run(run)
        run.metrics.placements = 99
        run.best_evaluation.mean_lines = 12
        run.display_name = "Renamed"
        run.state = run_pb2.RUN_STATE_SUCCEEDED
        run.end_time.FromSeconds(1)
        history.append(run.id, [WorkerEvent(1)], run=run)
        for query in (
            RunQuery(order_by="placements"),
            RunQuery(order_by="best_lines"),
            RunQuery(text="renamed"),
            RunQuery(states=[run_pb2.RUN_STATE_SUCCEEDED]),
            RunQuery(order_by="end_time", ascending=True),
        ):
            assert history.find_runs(query, 1)[0] == [run], query


def test_pages_of_names_stay_true_when_the_last_run_of_a_page_is_deleted(tmp_path: Path) -> None:
    with History(tmp_path / "mltetris.db") as history:
        for number in range(6):
            history.create_run(run_pb2.Run(id=f"run-{number}", display_name="ΐ" * 100))
        query = RunQuery(order_by="display_name", ascending=True)
        page, token, _ = history.find_runs(query, 2)
        assert [run.id for run in page] == ["run-0", "run-1"]
        history.delete_run("run-1")
        page, _, total = history.find_runs(query, 2, token)
        assert ([run.id for run in page], total) == (["run-2", "run-3"], 5)


def test_a_page_of_large_runs_ends_early_and_the_next_goes_on(tmp_path: Path) -> None:
    with History(tmp_path / "mltetris.db") as history:
        for number in range(9):
            history.create_run(run_pb2.Run(id=f"run-{number}", log_tail="x" * 1_000_000))
        page, _, total = history.find_runs(RunQuery(), 1000)
        assert ([run.id for run in page], total) == (["run-8", "run-7", "run-6"], 9)
        assert pages(history, RunQuery(), 1000) == [f"run-{n}" for n in reversed(range(9))]


def plans(history: History, ask: Callable[[], object]) -> list[str]:
    """How SQLite goes about everything that `ask` reads."""
    statements: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        statements.append((statement, parameters))

    event.listen(history._reader, "before_cursor_execute", note)
    try:
        ask()
    finally:
        event.remove(history._reader, "before_cursor_execute", note)
    steps: list[str] = []
    with history._reader.connect() as connection:
        for statement, parameters in statements:
            if statement.startswith("SELECT"):
                asked = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps += [row[3] for row in asked]
    assert steps
    return steps


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", FILTERS)
def test_a_list_reads_no_run_that_it_does_not_show(
    many: tuple[History, list[run_pb2.Run]], name: str, order: str
) -> None:
    """By SQLite's own plan: what is left out is left out by the index alone."""
    query = RunQuery(**FILTERS[name][0], order_by=order)
    token = many[0].find_runs(query, 1)[1]
    for step in plans(many[0], lambda: many[0].find_runs(query, 5, token)):
        if " runs" in step:
            assert "COVERING INDEX runs_listing" in step or "INTEGER PRIMARY KEY" in step, step
        assert not step.startswith("SCAN"), step


def test_totals_episodes_and_metrics_are_read_by_their_indexes(
    many: tuple[History, list[run_pb2.Run]],
) -> None:
    history, _ = many
    for step in plans(history, history.stats):
        assert "runs_listing" in step or step in ("SCAN totals", "USE TEMP B-TREE FOR GROUP BY")
    for order in ("time", "lines"):
        for player in ("", "bcts"):
            for step in plans(
                history,
                lambda order=order, player=player: history.list_episodes(  # type: ignore[misc]
                    "run-1", player=player, order_by=order
                ),
            ):
                assert step.startswith("SEARCH"), step
    for step in plans(history, lambda: history.thinned_points("run-1", 10)):
        assert step.startswith("SEARCH") or "GROUP BY" in step, step
    for step in plans(history, history.unfinished_runs):
        assert "SEARCH runs USING INDEX runs_listing" in step or "ORDER BY" in step, step
