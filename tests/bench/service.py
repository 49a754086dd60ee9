"""What the service costs a training, and how quickly it does what it is told.

Every figure is measured on a real server with a real worker; ratios alternate the two things they
compare within one run, so that a machine whose speed drifts does not decide them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mltetris_client
import psutil
from mltetris_client import Run, Trainer
from support.server import ServerProcess

from bench.report import Row, median, quantile

TESTS = Path(__file__).resolve().parents[1]
# Nothing but learning: no evaluation and no checkpoint while it is measured.
UNDISTURBED = {"evaluation_period": 86_400.0, "checkpoint_period": 86_400.0}


@contextmanager
def training(trainer: Trainer, **options: object) -> Iterator[Run]:
    """A run that is stopped and forgotten at the end."""
    run = trainer.start_training(**{**UNDISTURBED, **options})  # type: ignore[arg-type]
    try:
        wait_for_placements(trainer, run.id, 1)
        yield run
    finally:
        trainer.stop_run(run.id)
        trainer.delete_run(run.id)


def wait_for_placements(trainer: Trainer, run: str, placements: int) -> None:
    """Returns once `run` has learnt from that many placements."""
    for point in trainer.stream_metrics(run):
        if point.placements >= placements:
            return
    raise RuntimeError(f"{run} ended before {placements} placements")


def rate_over(trainer: Trainer, run: str, seconds: float) -> float:
    """Placements a second of `run`, by its own clock, from now for about `seconds`."""
    after = trainer.get_run(run).metrics.sequence
    first = None
    for point in trainer.stream_metrics(run, after_sequence=after):
        if first is None:
            first = point
            continue
        elapsed = point.elapsed.ToTimedelta() - first.elapsed.ToTimedelta()
        if elapsed.total_seconds() >= seconds:
            return (point.placements - first.placements) / elapsed.total_seconds()
    raise RuntimeError(f"{run} ended while it was measured")


def bare_rate(seed: int, warm_up: int, placements: int) -> float:
    """Placements a second of `learn()` called in a script, in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-m", "bench.bare", str(seed), str(warm_up), str(placements)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(result.stdout)


def service_rate(trainer: Trainer, seed: int, warm_up: int, placements: int) -> float:
    """Placements a second of the same learning as a run of the service, nobody watching."""
    run = trainer.start_training(**UNDISTURBED, seed=seed, max_placements=warm_up + placements)
    points = [
        point
        for point in trainer.stream_metrics(run.id)
        if warm_up <= point.placements < warm_up + placements
    ]
    trainer.delete_run(run.id)
    elapsed = points[-1].elapsed.ToTimedelta() - points[0].elapsed.ToTimedelta()
    return (points[-1].placements - points[0].placements) / elapsed.total_seconds()


def against_bare_learn(trainer: Trainer, pairs: int, placements: int) -> Row:
    """The same `learn()` in the service and in a script, in turn."""
    ratios, rates = [], []
    for seed in range(pairs):
        bare = bare_rate(seed, placements // 4, placements)
        served = service_rate(trainer, seed, placements // 4, placements)
        ratios.append(served / bare)
        rates.append(served)
    note = f"median of {pairs} pairs {min(ratios):.3f}..{max(ratios):.3f}"
    return Row(
        "training through the service / bare learn()",
        median(ratios),
        "",
        ">= 0.95",
        f"{note}; {median(rates):,.0f} placements/s",
    )


@contextmanager
def watchers(address: str, run: str, reading: int, stalled: int, fps: float) -> Iterator[list[int]]:
    """Watchers in another process; the list holds each reader's frames, once they are gone."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.watchers", address, run, *map(str, (reading, stalled, fps))],
        cwd=TESTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    frames: list[int] = []
    try:
        if process.stdout.readline().strip() != "watching":
            raise RuntimeError("the watchers did not come up")
        yield frames
        process.stdin.close()
        frames += json.loads(process.stdout.readline())
        process.wait(30)
    finally:
        process.kill()
        process.wait()


def against_unwatched(trainer: Trainer, pairs: int, seconds: float) -> list[Row]:
    """One training, unwatched and watched by ten (one stalled) at 30 frames a second, in turn."""
    ratios: list[float] = []
    frames_per_second: list[float] = []
    with training(trainer, mode="headless") as run:
        wait_for_placements(trainer, run.id, 500_000)
        for pair in range(pairs):
            rates: dict[bool, float] = {}
            for watched in (False, True) if pair % 2 == 0 else (True, False):
                if not watched:
                    rates[watched] = rate_over(trainer, run.id, seconds)
                    continue
                begin = time.monotonic()
                with watchers(trainer.address, run.id, 9, 1, 30.0) as frames:
                    begin = time.monotonic()
                    rates[watched] = rate_over(trainer, run.id, seconds)
                frames_per_second.append(median(frames) / (time.monotonic() - begin))
            ratios.append(rates[True] / rates[False])
    spread = f"median of {pairs} pairs {min(ratios):.3f}..{max(ratios):.3f}"
    return [
        Row(
            "training, 10 watchers at 30 fps, one stalled / unwatched",
            median(ratios),
            "",
            ">= 0.95",
            spread,
        ),
        Row("frames a second at a watcher", median(frames_per_second), "", "", "median watcher"),
    ]


def control_latency(trainer: Trainer, repeats: int) -> list[Row]:
    """PauseRun from call to answer, which comes once the learner is held, at full speed."""
    milliseconds = []
    with training(trainer) as run:
        wait_for_placements(trainer, run.id, 300_000)
        for _ in range(repeats):
            begin = time.perf_counter()
            trainer.pause_run(run.id)
            milliseconds.append(1000 * (time.perf_counter() - begin))
            trainer.resume_run(run.id)
            time.sleep(0.02)  # so that a pause does not always meet the same moment of the learner
    note = f"of {repeats}, training at full speed"
    return [
        Row("PauseRun to learner held, p50", quantile(milliseconds, 0.5), "ms", "<= 50", note),
        Row("PauseRun to learner held, p99", quantile(milliseconds, 0.99), "ms", "<= 50", note),
    ]


def start_latency(trainer: Trainer, repeats: int) -> list[Row]:
    """StartRun from call to the first metric point at a client, kernels compiled before."""
    seconds = []
    for seed in range(repeats):
        begin = time.perf_counter()
        with training(trainer, seed=seed):
            seconds.append(time.perf_counter() - begin)
    note = f"of {repeats}, compiled kernels on disk"
    return [
        Row("StartRun to first metric, p50", quantile(seconds, 0.5), "s", "", note),
        Row("StartRun to first metric, p99", quantile(seconds, 0.99), "s", "", note),
    ]


def server_alone(folder: Path) -> list[Row]:
    """A server with a data directory that exists and nothing to do, from its start."""
    with ServerProcess(folder):
        pass
    begin = time.perf_counter()
    with ServerProcess(folder) as server:
        ready = time.perf_counter() - begin
        assert server.process is not None
        resident = psutil.Process(server.process.pid).memory_info().rss / 1e6
    return [
        Row("server, start to ready", ready, "s", "< 2 s"),
        Row("server, memory when idle", resident, "MB", "< 120 MB", "resident"),
    ]


def measure(folder: Path, *, quick: bool) -> list[Row]:
    """Every figure of the service; `quick` takes about a fifth of the time, and of the trust."""
    with ServerProcess(folder) as server, mltetris_client.connect(server.address) as trainer:
        return [
            *server_alone(folder / "alone"),
            against_bare_learn(trainer, 1 if quick else 5, 400_000 if quick else 2_000_000),
            *against_unwatched(trainer, 2 if quick else 6, 3.0 if quick else 6.0),
            *control_latency(trainer, 20 if quick else 200),
            *start_latency(trainer, 2 if quick else 10),
        ]
