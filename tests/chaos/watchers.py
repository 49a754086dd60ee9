"""Threads that watch: every event of every run, metrics of some runs, boards of some runs."""

from __future__ import annotations

import random
import threading
from abc import abstractmethod
from typing import Any

import grpc
from mltetris_client import BoardStream, MlTetrisError

from chaos.api import Api, Raw, Sdk, batches
from chaos.world import World

_LIVE = ("STARTING", "RUNNING", "PAUSED")


class Watcher(threading.Thread):
    """Looks again and again, each time until the stream ends, breaks or it has had enough."""

    longest_s = 20.0

    def __init__(self, name: str, api: Api, world: World, seed: str) -> None:
        super().__init__(name=name, daemon=True)
        self.api = api
        self.world = world
        self.chance = random.Random(seed)
        self.error: BaseException | None = None
        self._stream: Any = None

    def run(self) -> None:
        try:
            while not self.world.ending.wait(self.chance.uniform(0.05, 0.5)):
                try:
                    self.look()
                except (grpc.RpcError, MlTetrisError):
                    # The line broke, or the run is gone: what counts is what has come.
                    continue
                finally:
                    self._stream = None
        except BaseException as error:
            self.error = error
            raise

    def cancel(self) -> None:
        """Ends the stream there is."""
        stream = self._stream
        if stream is not None:
            _cut(stream)

    def opened(self, stream: Any) -> Any:
        """Takes note of a stream, and cuts it after a while."""
        self._stream = stream
        if self.world.ending.is_set():
            _cut(stream)
        knife = threading.Timer(self.chance.uniform(1, self.longest_s), _cut, (stream,))
        knife.daemon = True
        knife.start()
        return stream

    @abstractmethod
    def look(self) -> None:
        """Watches one stream."""


class RunWatcher(Watcher):
    """Every run; over the SDK, which leaves out what it has told, connections do not count."""

    longest_s = 60.0
    connection = 0

    def look(self) -> None:
        if isinstance(self.api, Raw):
            self.connection += 1
        for event in self.opened(self.api.events()):
            if event.HasField("run"):
                self.world.saw(event.run, self.name, self.connection)
            elif event.HasField("deleted_run") and self.connection:
                self.world.lost_sight(event.deleted_run, self.name, self.connection)


class MetricWatcher(Watcher):
    """The metrics of one run after another; a raw one resumes where it was cut."""

    def look(self) -> None:
        run = self.world.some(self.chance, *(_LIVE if self.chance.random() < 0.9 else ()))
        if run is None:
            return
        last = 0
        for _ in range(1 if isinstance(self.api, Sdk) else 4):
            try:
                for points in batches(self.opened(self.api.metrics(run.run, last))):
                    last = self.world.read_points(self.name, run.run, last, points)
            except grpc.RpcError:
                if self.world.ending.wait(0.3):
                    return


class BoardWatcher(Watcher):
    """The boards of one run after another."""

    frames = 0

    def look(self) -> None:
        run = self.world.some(self.chance, *_LIVE)
        if run is not None:
            for _ in self.opened(self.api.boards(run.run)):
                self.frames += 1


def _cut(stream: Any) -> None:
    """Ends a stream of either kind from another thread."""
    (stream.close if isinstance(stream, BoardStream) else stream.cancel)()
