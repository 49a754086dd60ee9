"""Who dies when: a plan from a seed, and what carries it out."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import grpc
import psutil
from mltetris_api.v1 import system_pb2, system_pb2_grpc
from support.server import ServerProcess

from chaos.records import Kill, Recorder, Server, now
from chaos.world import World

T = TypeVar("T")

MARK = "MLTETRIS_CHAOS"
"""Set to a torture's own value in the environment of its server, and so of its workers."""

SILENCE_S = 6.0
GRACE_S = 12.0

KINDS = (
    "worker SIGKILL",
    "server SIGKILL",
    "machine",
    "server SIGTERM",
    "worker SIGKILL",
    "worker SIGSTOP and SIGCONT",
    "server SIGKILL",
    "worker SIGTERM",
    "worker hangs",
    "worker SIGKILL",
    "server SIGKILL as it starts",
    "server SIGKILL, long away",
    "worker SIGKILL",
    "server SIGKILL",
    "worker SIGTERM",
    "worker SIGKILL",
)
"""In this proportion; the first four are in every plan."""


def plan(kills: int, chance: random.Random) -> list[str]:
    """So many kinds of death, in a random order."""
    kinds = [KINDS[i % len(KINDS)] for i in range(kills)]
    chance.shuffle(kinds)
    return kinds


class Killer:
    """Kills, and starts the server again."""

    def __init__(
        self, server: ServerProcess, mark: str, world: World, recorder: Recorder, seed: str
    ) -> None:
        self.server = server
        self.mark = mark
        self.world = world
        self.recorder = recorder
        self.chance = random.Random(seed)
        self.surprises: list[str] = []
        """Ends of the server that nobody caused."""

    def kill(self, kind: str) -> bool:
        """Has somebody die; returns whether there was somebody."""
        if not self._lives():
            self.start()
        if kind.startswith("worker"):
            return self._kill_worker(kind)
        self._kill_server(kind)
        return True

    # --- the server

    def start(self) -> None:
        """Starts the server and waits until it answers a call."""
        self.recorder.add(Server("starting", now()))
        self.server.start()
        with grpc.insecure_channel(self.server.address) as channel:
            stub = system_pb2_grpc.SystemServiceStub(channel)
            stub.GetServerInfo(system_pb2.GetServerInfoRequest(), timeout=60, wait_for_ready=True)
        self.recorder.add(Server("up", now()))

    def end(self) -> None:
        """Ends the server as an operator would."""
        if self._lives():
            status = self.server.terminate(60)
            if status != 0:
                self.surprises.append(f"the server ended with status {status} after SIGTERM")
            self._down()

    def _lives(self) -> bool:
        """Whether the server is still there; notes it where it is not."""
        assert self.server.process is not None
        status = self.server.process.poll()
        if status is not None:
            self.surprises.append(f"the server ended by itself, with status {status}")
            self.server.kill()
            self._down()
        return status is None

    def _down(self) -> None:
        self.recorder.add(Server("down", now(), GRACE_S))

    def _kill_server(self, kind: str) -> None:
        assert self.server.process is not None
        self.recorder.add(Kill(kind, now()))
        if kind == "server SIGTERM":
            self.end()
        elif kind == "machine":
            self.server.process.kill()
            while workers := processes(self.mark, workers_only=True):
                for worker in workers:
                    _send(worker, signal.SIGKILL)
                self.server.process.wait()
            self.server.kill()
            self._down()
        else:
            self.server.kill()
            self._down()
        away = GRACE_S + 3 if "long away" in kind else self.chance.uniform(0, 2)
        time.sleep(away)
        if "as it starts" in kind:
            self._die_young()
        self.start()

    def _die_young(self) -> None:
        """Starts the server and kills it at some moment before or just after it is ready."""
        self.recorder.add(Server("starting", now()))
        before = self.server.process
        starting = threading.Thread(target=self._try_to_start, daemon=True)
        starting.start()
        while self.server.process is before:
            time.sleep(0.005)
        time.sleep(self.chance.uniform(0.2, 1.5))
        assert self.server.process is not None
        self.server.process.kill()
        starting.join()
        self.server.kill()
        self._down()

    def _try_to_start(self) -> None:
        try:
            self.server.start()
        except RuntimeError:
            # It was killed before it was ready.
            return

    # --- workers

    def _kill_worker(self, kind: str) -> bool:
        worker = _within(5.0, self._some_worker)
        if worker is None:
            return False
        run = _run_of(worker)
        known = self.world.runs.get(run)
        restarts = known.restarts if known is not None else -1
        if "SIGSTOP" in kind:
            self.recorder.add(Kill(kind, now(), run))
            _send(worker, signal.SIGSTOP)
            time.sleep(self.chance.uniform(0.3, 3))
            _send(worker, signal.SIGCONT)
            return True
        self.recorder.add(Kill(kind, now(), run, restarts))
        if kind == "worker hangs":
            _send(worker, signal.SIGSTOP)
            # The server finds it silent and kills it, or whatever stops it until it would.
            _within(SILENCE_S + 10, lambda: not worker.is_running() or None)
            _send(worker, signal.SIGCONT)
        else:
            _send(worker, signal.SIGTERM if "SIGTERM" in kind else signal.SIGKILL)
        return True

    def _some_worker(self) -> psutil.Process | None:
        workers = processes(self.mark, workers_only=True)
        return self.chance.choice(workers) if workers else None


def processes(mark: str, *, workers_only: bool = False) -> list[psutil.Process]:
    """The living processes of a torture: servers, workers and whatever they have started."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if (
                environment.get(MARK) == mark
                and process.status() != psutil.STATUS_ZOMBIE
                and (not workers_only or "MLTETRIS_WORKER_RUN" in environment)
            ):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return sorted(found, key=lambda process: process.pid)


def runs_worked_on(mark: str) -> list[str]:
    """The run of each living worker."""
    return sorted(_run_of(worker) for worker in processes(mark, workers_only=True))


def _run_of(worker: psutil.Process) -> str:
    try:
        return worker.environ().get("MLTETRIS_WORKER_RUN", "")
    except (psutil.Error, OSError):
        return ""


def _send(process: psutil.Process, number: int) -> None:
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        # It was quicker.
        return


def _within(seconds: float, look: Callable[[], T | None]) -> T | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.1)
    return None
