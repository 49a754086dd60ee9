"""The torture itself: load, deaths, the end, the verdict."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from support.server import ServerProcess

from chaos.api import Api, Raw, Sdk
from chaos.checker import Verdict, check
from chaos.ending import end
from chaos.killer import GRACE_S, MARK, SILENCE_S, Killer, plan, processes
from chaos.load import Client
from chaos.records import Record, Recorder
from chaos.watchers import BoardWatcher, MetricWatcher, RunWatcher, Watcher
from chaos.worker import VARIABLE
from chaos.world import World

TESTS = Path(__file__).resolve().parents[1]
MAX_RUNS = 5
SHORTEST_PACE_S = 1.0
WORK = 5
"""Writes that are acknowledged between two kills, and mostly points that are seen, at least."""
PATIENCE_S = 25.0
"""How long to wait for them."""
END_S = 75.0
"""Of a long torture, kept for the end."""


@dataclass(frozen=True)
class Options:
    """How much, how long, and from which seed."""

    kills: int = 50
    minutes: float = 10.0
    """At most, all in all."""
    seed: int = 0
    workers: Literal["small", "real"] = "small"
    clients: int = 6
    pace_s: float | None = None
    """Between two kills; None: spread over the time there is."""
    quiet: bool = False


def torture(options: Options, folder: Path) -> tuple[Verdict, list[Record]]:
    """Tortures a server in `folder`, which keeps its data, its log and the history."""
    # A socket's path must be short, whatever TMPDIR and `folder` are.
    sockets = Path(tempfile.mkdtemp(prefix="mltetris-chaos-", dir="/tmp"))
    mark = uuid.uuid4().hex
    server = ServerProcess(
        folder / "data",
        *("--max-runs", str(MAX_RUNS), "--grace", str(GRACE_S), "--silence", str(SILENCE_S)),
        module="chaos.service",
    )
    path = server.environment.get("PYTHONPATH", "")
    server.environment |= {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), path))),
        "TMPDIR": str(sockets),
        MARK: mark,
        VARIABLE: options.workers,
        # Should native code end one of them, its log says where.
        "PYTHONFAULTHANDLER": "1",
    }
    recorder = Recorder(folder / "history.jsonl")
    world = World(recorder)
    try:
        killer = Killer(server, mark, world, recorder, f"{options.seed} killer")
        _under_load(options, killer, world)
        recorder.add(end(killer, world, sockets))
    finally:
        world.ending.set()
        recorder.close()
        if server.log_path.exists():
            shutil.copy(server.log_path, folder / "server.log")
        server.close()
        for process in processes(mark):
            process.kill()
        shutil.rmtree(sockets)
    return check(recorder.records), recorder.records


def _under_load(options: Options, killer: Killer, world: World) -> None:
    """Starts the server and its clients, kills as planned, and ends the clients."""
    began = time.monotonic()
    killer.start()
    apis: list[Api] = []

    def api(number: int) -> Api:
        apis.append((Sdk, Raw)[number % 2](killer.server.address))
        return apis[-1]

    seed = options.seed
    clients = [
        Client(f"c{i}", api(i), world, f"{seed} client {i}", 0.1) for i in range(options.clients)
    ]
    watchers: list[Watcher] = [
        *(RunWatcher(f"w{i}", api(i), world, f"{seed} runs {i}") for i in range(3)),
        *(MetricWatcher(f"m{i}", api(i), world, f"{seed} metrics {i}") for i in range(4)),
        *(BoardWatcher(f"b{i}", api(i), world, f"{seed} boards {i}") for i in range(2)),
    ]
    for thread in (*watchers, *clients):
        thread.start()
    seconds = options.minutes * 60
    deadline = began + seconds - min(END_S, seconds * 0.45)
    pace = options.pace_s or max(SHORTEST_PACE_S, (deadline - time.monotonic()) / options.kills)
    chance = random.Random(f"{seed} plan")
    try:
        for number, kind in enumerate(plan(options.kills, chance), start=1):
            # Not evenly: two at once and a while without any are part of it.
            due = began + pace * (number - chance.uniform(0, 0.9))
            time.sleep(max(0.0, due - time.monotonic()))
            _work_goes_on(world, deadline, points=chance.random() < 0.75)
            if time.monotonic() >= deadline:
                break
            for thread in (*clients, *watchers):
                if thread.error is not None:
                    raise thread.error
            done = killer.kill(kind)
            _say(options, began, number, kind if done else f"{kind}: nobody was there", world)
        time.sleep(max(0.0, min(deadline - time.monotonic(), pace)))
    finally:
        world.ending.set()
        for worker in processes(killer.mark, workers_only=True):
            os.kill(worker.pid, signal.SIGCONT)
        for watcher in watchers:
            watcher.cancel()
        for thread in (*clients, *watchers):
            thread.join(60)
            assert not thread.is_alive(), f"{thread.name} does not end"
        for made in apis:
            made.close()


def _work_goes_on(world: World, deadline: float, *, points: bool) -> None:
    """Waits until some more writes are acknowledged: a kill is to meet work, however slow it is.

    Args:
        points: wait for metric points, too, so that the kill meets workers that learn.
    """
    patience = min(deadline, time.monotonic() + PATIENCE_S)
    writes, sent = world.acknowledged + WORK, world.points + WORK * points
    while (world.acknowledged < writes or world.points < sent) and time.monotonic() < patience:
        time.sleep(0.05)


def _say(options: Options, began: float, number: int, kind: str, world: World) -> None:
    if options.quiet:
        return
    passed = time.monotonic() - began
    print(
        f"{passed:5.0f} s  {number}/{options.kills}  {kind}  ({len(world.runs)} runs, "
        f"{len(world.recorder.records):,} records)",
        file=sys.stderr,
        flush=True,
    )
