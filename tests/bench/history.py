"""How fast lists, histories, episodes, lineages and totals answer while two runs write.

In tests/, with the machine otherwise quiet:

../.venv/bin/python -m bench.history                              minutes, and 3 GB
../.venv/bin/python -m bench.history --runs 500 --points 200000   for a look

It fills a history in a temporary folder, by default with 10,000 runs and 10,000,000 metric points,
through the real schema: a few runs through the server's own code, the others as their copies. One
run in a hundred is as long as a run may be, 10,000 points. Then it starts the real server on it,
with two runs whose (small) workers each write 50 points a second, ten times what real ones write
at most, and asks it through real gRPC calls.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_api.v1 import (
    run_pb2,
    system_pb2,
    system_pb2_grpc,
    trainer_pb2,
    trainer_pb2_grpc,
)
from mltetris_server.storage import DataDir, History, WorkerEvent
from mltetris_server.storage.run_columns import columns, sources
from mltetris_server.storage.schema import run_sources, runs
from sqlalchemy import Connection, insert, text
from support.server import ServerProcess
from support.small import small_service

from bench.report import Row, as_table, quantile

LONGEST = 10_000
EPISODES = 50
_LONG_SHARE = 0.01
_ALGORITHMS = ("td", "dqn", "ppo", "cem")
_ASKED = "p99 < 50 ms"


def a_run(number: int, placements: int, chance: random.Random) -> run_pb2.Run:
    """A run that has ended, about as large as one is."""
    run = run_pb2.Run(
        id=f"train-{number:06}",
        display_name=f"{chance.choice(['quick', 'long', 'careful', 'wild'])} try {number}",
        kind=run_pb2.RUN_KIND_TRAINING,
        state=chance.choice(
            [run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_STOPPED, run_pb2.RUN_STATE_FAILED]
        ),
        command="mltetris train --seed 1 --target-lines 1000 --max-time 180 --algorithm td",
    )
    algorithm = chance.choice(_ALGORITHMS)
    run.training.algorithm = run_pb2.Algorithm.Value(f"ALGORITHM_{algorithm.upper()}")
    getattr(run.training, algorithm).SetInParent()
    run.training.game.width, run.training.game.height = 10, 20
    run.training.budget.target_mean_lines = 1000
    if number and chance.random() < 0.3:
        run.training.checkpoint.run = f"train-{chance.randrange(number):06}"
        run.sources.add(checkpoint=run.training.checkpoint, sha256="c" * 64)
    elif chance.random() < 0.1:
        run.training.slot = chance.choice(["bcts", "mine"])
        run.sources.add(slot=run.training.slot, sha256="b" * 64)
    created = 1_900_000_000 + 600 * number
    run.create_time.FromSeconds(created)
    run.start_time.FromSeconds(created + 1)
    run.end_time.FromSeconds(created + chance.randrange(60, 6000))
    run.metrics.placements = placements
    run.best_evaluation.mean_lines = chance.expovariate(1 / 1000)
    run.best_evaluation.games = 20
    run.last_evaluation.CopyFrom(run.best_evaluation)
    for kind in (1, 2, 3):
        run.checkpoints.add(kind=run_pb2.CheckpointKind.ValueType(kind), placements=placements)
    if run.state == run_pb2.RUN_STATE_FAILED:
        run.log_tail = "a line of its log, as long as such lines are\n" * 40
    return run


def a_point(sequence: int, chance: random.Random) -> run_pb2.MetricPoint:
    """A point with everything that a training measures."""
    point = run_pb2.MetricPoint(sequence=sequence, placements=138_000 * sequence)
    point.time.FromMilliseconds(1_900_000_000_000 + 1000 * sequence)
    point.episodes = 300 * sequence
    point.score = chance.uniform(0, 1e6)
    point.lines = chance.randrange(20_000)
    point.mean_reward = chance.gauss(-9, 1)
    point.mean_lines = chance.expovariate(1 / 1000)
    point.best_lines = 100 * sequence
    point.loss = chance.expovariate(1)
    point.exploration = 0.003
    point.learning_rate = 3e-3 / sequence
    point.placements_per_second = chance.gauss(138_000, 10_000)
    point.elapsed.FromSeconds(sequence)
    if sequence % 3 == 0:
        evaluation = point.evaluation
        evaluation.games, evaluation.mean_lines = 20, chance.expovariate(1 / 1000)
        evaluation.standard_error = chance.random()
        evaluation.best_lines, evaluation.max_lines = chance.randrange(20_000), 100_000
        evaluation.placements = point.placements
    return point


def build(path: Path, run_count: int, point_count: int) -> None:
    """Fills a history with so many runs, and about so many points."""
    chance = random.Random(1)
    long_count = max(1, round(run_count * _LONG_SHARE))
    short = max(40, (point_count - long_count * LONGEST) // run_count)
    lengths = {"long": LONGEST} | {
        f"short-{place}": max(20, round(short * share))
        for place, share in enumerate((0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75))
    }
    with History(path) as history:
        for name, length in lengths.items():
            history.create_run(run_pb2.Run(id=name, kind=run_pb2.RUN_KIND_TRAINING, state=7))
            games = [
                run_pb2.Episode(number=n, lines=chance.randrange(5000), placements=9999, view=1)
                for n in range(EPISODES)
            ]
            for event, start in enumerate(range(1, length + 1, 256), 1):
                stop = min(start + 256, length + 1)
                points = [a_point(sequence, chance) for sequence in range(start, stop)]
                now = games if event == 1 else []
                history.append(name, [WorkerEvent(event, points, now)])
        templates = [name for name in lengths if name != "long"]
        for start in range(0, run_count, 100):
            with history._engine.begin() as connection:
                for number in range(start, min(start + 100, run_count)):
                    long = number % round(1 / _LONG_SHARE) == 50
                    _copy(connection, number, "long" if long else chance.choice(templates), chance)
        for name in lengths:
            history.delete_run(name)
        with history._engine.begin() as connection:
            # As it would be had the totals been counted.
            connection.execute(text("UPDATE totals SET value = 1000000000"))


def _copy(connection: Connection, number: int, template: str, chance: random.Random) -> None:
    """Another run with the points and episodes of the run `template`."""
    kept = "number, points, episodes, last_point, leveled"
    row = connection.execute(
        text(f"SELECT {kept} FROM runs WHERE id = :id"), {"id": template}
    ).one()
    run = a_run(number, 138_000 * row.last_point, chance)
    made = connection.execute(
        insert(runs).values(
            id=run.id,
            create_time_us=run.create_time.ToMicroseconds(),
            secret_hash=b"",
            worker_pid=0,
            last_event=0,
            points=row.points,
            episodes=row.episodes,
            last_point=row.last_point,
            leveled=row.leveled,
            **columns(run),
        )
    ).lastrowid
    for kind, name in sources(run):
        connection.execute(insert(run_sources).values(run_number=made, kind=kind, name=name))
    for table, values in (
        ("metric_points", "sequence, time_us, placements, point, level"),
        ("episodes", "view, lines, end_time_us, episode, player"),
    ):
        connection.execute(
            text(
                f"INSERT INTO {table} (run_number, {values}) "
                f"SELECT :made, {values} FROM {table} WHERE run_number = :number"
            ),
            {"made": made, "number": row.number},
        )
    connection.execute(
        text("INSERT INTO state_changes (run_number, time_us, state, reason) VALUES (:n, 0, 6, 0)"),
        {"n": made},
    )


def calls(server: ServerProcess, live: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is asked, by name."""
    channel = server.channel()
    trainer = trainer_pb2_grpc.TrainerServiceStub(channel)
    system = system_pb2_grpc.SystemServiceStub(channel)
    asked = trainer_pb2.ListRunsRequest
    newest = trainer.ListRuns(asked())
    deep = asked(order_by="best_lines", page_size=400)
    for _ in range(12):
        token = trainer.ListRuns(deep).next_page_token
        deep.page_token = token or deep.page_token
    deep_lines = asked(order_by="best_lines", page_size=400, page_token=deep.page_token)
    middle = Timestamp(seconds=1_900_000_000 + 300 * newest.total_count)
    lists = {
        "newest 50": asked(),
        "failed td trainings": asked(states=[8], algorithms=[1]),
        "name or id has 'careful'": asked(text="CAREFUL"),
        "made of slot mine": asked(slot="mine"),
        "created in the older half": asked(created_before=middle),
        "best lines first": asked(order_by="best_lines"),
        "by name, A to Z": asked(order_by="display_name", ascending=True),
        "a page of 400 after 4,800 others": deep_lines,
    }
    for name, request in lists.items():
        yield f"ListRuns: {name}", lambda request=request: trainer.ListRuns(request)  # type: ignore[misc]
    ids = [run.id for run in trainer.ListRuns(asked(page_size=400, kinds=[1])).runs]
    counts = {
        run: trainer.GetMetricHistory(
            trainer_pb2.GetMetricHistoryRequest(run=run, max_points=10)
        ).total_points
        for run in ids
    }
    longest = max(counts, key=lambda run: counts[run])
    others = [run for run in ids if counts[run] < LONGEST / 2]
    chance = random.Random(2)
    history = trainer_pb2.GetMetricHistoryRequest
    yield (
        "GetMetricHistory: 500 of any run",
        lambda: trainer.GetMetricHistory(history(run=chance.choice(others))),
    )
    yield (
        f"GetMetricHistory: 500 of {counts[longest]:,}",
        lambda: trainer.GetMetricHistory(history(run=longest)),
    )
    yield (
        f"GetMetricHistory: 2,000 of {counts[longest]:,}",
        lambda: trainer.GetMetricHistory(history(run=longest, max_points=2000)),
    )
    yield "GetMetricHistory: 500 of a live run", lambda: trainer.GetMetricHistory(history(run=live))
    for order in ("time", "lines"):
        yield (
            f"ListEpisodes: by {order}",
            lambda order=order: trainer.ListEpisodes(  # type: ignore[misc]
                trainer_pb2.ListEpisodesRequest(run=chance.choice(ids), order_by=order)
            ),
        )
    yield (
        "GetLineage of a run",
        lambda: trainer.GetLineage(trainer_pb2.GetLineageRequest(run=chance.choice(ids))),
    )
    yield "GetStats", lambda: system.GetStats(system_pb2.GetStatsRequest())


def measure(data_dir: Path, count: int) -> Iterator[Row]:
    """Asks everything `count` times, in turn, while two runs write."""
    with small_service(data_dir, "--max-runs", "2") as server, server.channel() as channel:
        trainer = trainer_pb2_grpc.TrainerServiceStub(channel)
        started = [
            trainer.StartRun(trainer_pb2.StartRunRequest(training=run_pb2.TrainingSpec())).run.id
            for _ in range(2)
        ]
        time.sleep(20)
        everything = dict(calls(server, started[0]))
        times: dict[str, list[float]] = {name: [] for name in everything}
        before = [_points(trainer, run) for run in started]
        begun = time.perf_counter()
        for _ in range(count):
            for name, ask in everything.items():
                start = time.perf_counter()
                ask()
                times[name].append(1000 * (time.perf_counter() - start))
        passed = time.perf_counter() - begun
        written = sum(_points(trainer, run) for run in started) - sum(before)
        for run in started:
            trainer.StopRun(trainer_pb2.StopRunRequest(run=run))
    for name, taken in times.items():
        yield Row(f"{name}, p50", quantile(taken, 0.5), "ms")
        yield Row(f"{name}, p99", quantile(taken, 0.99), "ms", _ASKED)
    yield Row("points written meanwhile", written / passed, "/s", note="by two runs")


def _points(trainer: trainer_pb2_grpc.TrainerServiceStub, run: str) -> int:
    return trainer.GetRun(trainer_pb2.GetRunRequest(run=run)).run.metrics.sequence


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="bench.history",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--calls", type=int, default=200, help="of each kind")
    parser.add_argument("--folder", type=Path, help="kept, and taken as it is if it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "data"
        with DataDir.open(folder) as data_dir:
            path = data_dir.database
            start = time.perf_counter()
            if not path.exists():
                build(path, options.runs, options.points)
                print(f"built in {time.perf_counter() - start:.0f} s", flush=True)
        with History(path) as history:
            points = history.stats().metric_points
        size = path.stat().st_size
        print(f"{points:,} metric points, {size / 1e9:.2f} GB, {size / points:.0f} bytes a point")
        rows = list(measure(folder, options.calls))
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(as_table(rows))


if __name__ == "__main__":
    main()
