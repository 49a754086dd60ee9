"""StreamMetrics, cut anywhere and taken up again, gives every point once and in order.

Hypothesis makes up what happens: points are made, readers come from anywhere in the history, stop
reading, hang up and come back, connections break after so many bytes, the server is killed, runs
end. The model is the list of points. Readers are plain calls, which go on from the last number they
have, and the SDK's stream, which does so by itself.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
import mltetris_client
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mltetris_api.v1 import run_pb2, trainer_pb2, trainer_pb2_grpc
from mltetris_client import MlTetrisError, Trainer
from support.proxy import Proxy
from support.server import CHANNEL_OPTIONS, ServerProcess
from support.small import in_state, small_service

PATIENCE_S: Final = 60.0
BREAKS: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
PAGE: Final = 500
"""Most points in one message."""


class Model:
    """One run's points, as far as they are known, and the server they come from."""

    def __init__(self, server: ServerProcess, trainer: Trainer, proxy: Proxy) -> None:
        self.server = server
        self.trainer = trainer
        self.proxy = proxy
        self.run = ""
        self.total = 0
        self.points: dict[int, bytes] = {}
        """By number, as whoever was first has read them."""

    def start(self) -> None:
        """Another run, with no points yet."""
        self.run = self.trainer.start_training().id
        in_state(self.trainer, self.run, "running")
        self.total = 0
        self.points = {}

    def produce(self, count: int) -> None:
        """Lets the worker make points; they are stored when this returns."""
        self.trainer.set_speed(self.run, max_training_rate=count)
        self.total += count
        assert self.trainer.get_run(self.run).metrics.sequence == self.total

    def kill_server(self, unseen: int) -> None:
        """Kills the server while the worker makes `unseen` points, and starts it again."""
        saying = threading.Thread(target=self._produce_unheard, args=(unseen,))
        saying.start()
        self.server.kill()
        saying.join()
        self.server.start()
        self.trainer.wait_ready(PATIENCE_S)
        # Answered once everything is stored that the worker has said before.
        self.trainer.set_speed(self.run, max_training_rate=1)
        now = self.trainer.get_run(self.run).metrics.sequence
        assert now - self.total - 1 in (0, unseen), "points were lost or made up"
        self.total = now

    def _produce_unheard(self, count: int) -> None:
        # The server may die before it can answer.
        with contextlib.suppress(MlTetrisError):
            self.trainer.set_speed(self.run, max_training_rate=count)

    def stop(self) -> None:
        """Ends the run."""
        self.trainer.stop_run(self.run)

    def read(self, after: int, point: run_pb2.MetricPoint) -> None:
        """Holds a point that was read against those that were before."""
        assert point.sequence == after + 1, f"{point.sequence} came after {after}"
        assert point.placements == 100 * point.sequence
        raw = point.SerializeToString(deterministic=True)
        assert self.points.setdefault(point.sequence, raw) == raw, "one number, two points"


class PlainReader:
    """Calls StreamMetrics, again after every break."""

    def __init__(self, model: Model, stub: trainer_pb2_grpc.TrainerServiceStub, after: int) -> None:
        self.model = model
        self.stub = stub
        self.last = after
        self.caught_up = False
        self.reopen()

    def reopen(self) -> None:
        request = trainer_pb2.StreamMetricsRequest(run=self.model.run, after_sequence=self.last)
        self.call = self.stub.StreamMetrics(request, timeout=PATIENCE_S, wait_for_ready=True)
        self.messages = iter(self.call)

    def hang_up(self) -> None:
        self.call.cancel()
        self.reopen()

    def read_to(self, sequence: int) -> None:
        while self.last < sequence:
            assert self._message(), "the stream ended before its points"

    def read_out(self) -> None:
        """Reads to the end of the run."""
        while self._message():
            pass

    def close(self) -> None:
        self.call.cancel()

    def _message(self) -> bool:
        """Reads one message, over as many calls as it takes; False: there is no more."""
        while True:
            try:
                message = next(self.messages)
            except StopIteration:
                return False
            except grpc.RpcError as error:
                assert error.code() in BREAKS, error  # type: ignore[attr-defined]
                self.reopen()
                continue
            assert len(message.points) <= PAGE
            for point in message.points:
                self.model.read(self.last, point)
                self.last = point.sequence
            return True


class SdkReader:
    """The SDK's stream, which is opened once."""

    def __init__(self, model: Model, trainer: Trainer, after: int) -> None:
        self.model = model
        self.last = after
        self.stream = trainer.stream_metrics(model.run, after_sequence=after)
        self.points = iter(self.stream)

    def hang_up(self) -> None:
        """Leaves the iterator, as who breaks out of a loop does, and iterates again."""
        self.points.close()  # type: ignore[attr-defined]
        self.points = iter(self.stream)

    def read_to(self, sequence: int) -> None:
        with self._patience():
            while self.last < sequence:
                point = next(self.points, None)
                assert point is not None, "the stream ended before its points"
                self._take(point)

    def read_out(self) -> None:
        """Reads to the end of the run."""
        with self._patience():
            for point in self.points:
                self._take(point)

    def close(self) -> None:
        self.stream.cancel()

    def _take(self, point: run_pb2.MetricPoint) -> None:
        self.model.read(self.last, point)
        self.last = point.sequence
        assert self.stream.last_sequence == self.last

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        timer = threading.Timer(PATIENCE_S, self.stream.cancel)
        timer.start()
        yield
        timer.cancel()


class MetricStreams(RuleBasedStateMachine):
    """What may happen to the readers of a run. The run goes on from one example to the next."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.killed = False
        model.proxy.cut()  # and no cut is left over from the example before
        self.readers: list[PlainReader | SdkReader] = []
        options = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        self.channel = grpc.insecure_channel(model.proxy.address, options=options)
        self.stub = trainer_pb2_grpc.TrainerServiceStub(self.channel)
        self.trainer = mltetris_client.connect(model.proxy.address)
        self.trainer.wait_ready(PATIENCE_S)

    @initialize()
    def a_run_and_two_readers(self) -> None:
        if not self.model.run:
            self.model.start()
        self.readers.append(PlainReader(self.model, self.stub, 0))
        self.readers.append(SdkReader(self.model, self.trainer, 0))

    @rule(count=st.one_of(st.integers(1, 30), st.integers(PAGE - 1, 3 * PAGE)))
    def points_are_made(self, count: int) -> None:
        self.model.produce(count)

    @precondition(lambda self: len(self.readers) < 6)
    @rule(back=st.integers(0, 1500), plain=st.booleans())
    def a_reader_comes(self, back: int, plain: bool) -> None:
        after = max(0, self.model.total - back)
        if plain:
            self.readers.append(PlainReader(self.model, self.stub, after))
        else:
            self.readers.append(SdkReader(self.model, self.trainer, after))

    @rule(which=st.integers(0, 5), count=st.integers(1, 1200))
    def one_reads(self, which: int, count: int) -> None:
        reader = self.readers[which % len(self.readers)]
        reader.read_to(min(reader.last + count, self.model.total))

    @rule(which=st.integers(0, 5))
    def one_hangs_up_and_comes_back(self, which: int) -> None:
        self.readers[which % len(self.readers)].hang_up()

    @rule(after_bytes=st.one_of(st.just(0), st.integers(1, 60_000)))
    def connections_break(self, after_bytes: int) -> None:
        self.model.proxy.cut(after_bytes)

    @precondition(lambda self: not self.killed)
    @rule(chance=st.integers(0, 3), unseen=st.integers(1, 800))
    def the_server_is_killed(self, chance: int, unseen: int) -> None:
        if chance:
            return  # a restart takes its time
        self.killed = True
        self.model.kill_server(unseen)

    @rule()
    def everybody_reads_all_there_is(self) -> None:
        for reader in self.readers:
            reader.read_to(self.model.total)

    @rule(chance=st.integers(0, 5))
    def the_run_ends(self, chance: int) -> None:
        if chance:
            return
        self.model.stop()
        for reader in self.readers:
            reader.read_out()
            assert reader.last == self.model.total, "the stream ended before its points"
            reader.close()
        self.model.start()
        self.readers = []
        self.a_run_and_two_readers()

    def teardown(self) -> None:
        try:
            self.everybody_reads_all_there_is()
        finally:
            for reader in self.readers:
                reader.close()
            self.channel.close()
            self.trainer.close()


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        (10, 15),
        pytest.param(60, 40, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_every_point_once_and_in_order(tmp_path: Path, examples: int, steps: int) -> None:
    with (
        small_service(tmp_path / "data", "--max-runs", "4", habits="on-demand") as server,
        mltetris_client.connect(server.address, timeout=PATIENCE_S) as trainer,
        Proxy(server.address) as proxy,
    ):
        model = Model(server, trainer, proxy)
        run_state_machine_as_test(
            lambda: MetricStreams(model),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                derandomize=True,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if model.run:
            model.stop()


def test_who_is_behind_when_the_run_is_deleted_is_told_so(tmp_path: Path) -> None:
    """A stream that just ended would say that these were all the points."""
    with (
        small_service(tmp_path / "data", habits="on-demand") as server,
        mltetris_client.connect(server.address, timeout=PATIENCE_S) as trainer,
        Proxy(server.address) as proxy,
    ):
        model = Model(server, trainer, proxy)
        model.start()
        model.produce(20 * PAGE)
        with server.channel() as channel:
            stub = trainer_pb2_grpc.TrainerServiceStub(channel)
            readers = [stub.StreamMetrics(trainer_pb2.StreamMetricsRequest(run=model.run))]
            next(readers[0])
            model.stop()
            readers.append(stub.StreamMetrics(trainer_pb2.StreamMetricsRequest(run=model.run)))
            next(readers[1])
            trainer.delete_run(model.run)
            for reader in readers:
                with pytest.raises(grpc.RpcError) as caught:
                    for _ in reader:
                        pass
                assert caught.value.code() == grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]
        assert '"level": "error"' not in server.log()
