"""What a server allows of a thing at once, and how it says that it is enough."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from mltetris_api.v1 import run_pb2, system_pb2, system_pb2_grpc, trainer_pb2, trainer_pb2_grpc
from mltetris_server.errors import TooMany
from mltetris_server.runs.places import Places
from support.calls import Client
from support.server import CHANNEL_OPTIONS, ServerProcess

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that allows little of everything, with one run."""
    arguments = ("--max-runs", "1", "--max-queued", "2", "--max-watchers", "3")
    folder = tmp_path_factory.mktemp("small")
    with ServerProcess(folder / "data", *arguments, "--max-streams", "5") as server:
        yield server


def test_places_are_for_each_key_and_come_back() -> None:
    places = Places(2, lambda key: f"{key} is full")
    with places.one("a"), places.one("a"), places.one("b"):
        assert places.taken == 3
        with pytest.raises(TooMany, match="a is full"), places.one("a"):
            pass
    with contextlib.suppress(ZeroDivisionError), places.one("a"):
        raise ZeroDivisionError
    assert places.taken == 0
    assert places._taken == {}, "a key without anybody is forgotten"


def test_queued_runs(small: ServerProcess) -> None:
    client = Client(small)
    demo = trainer_pb2.StartRunRequest(demo=run_pb2.DemoSpec(slots=["random"]))
    runs = [client.call("StartRun", demo).run for _ in range(3)]
    refusal = client.refusal("StartRun", demo)
    assert refusal.code == EXHAUSTED
    assert "--max-queued" in refusal.text
    for run in reversed(runs):
        client.call("StopRun", trainer_pb2.StopRunRequest(run=run.id))
    again = client.call("StartRun", demo).run
    client.call("StopRun", trainer_pb2.StopRunRequest(run=again.id))
    client.channel.close()


class Alone(Client):
    """A client whose connection nobody shares."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__(server)
        self.channel.close()
        options = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        self.channel = grpc.insecure_channel(server.address, options=options)
        self.stub = trainer_pb2_grpc.TrainerServiceStub(self.channel)


def open_streams(client: Client, count: int, run: str = "") -> list[grpc.Call]:
    """Streams that are open on the server."""
    calls = []
    for _ in range(count):
        call = client.stub.WatchRuns(trainer_pb2.WatchRunsRequest(run=run))
        next(call)
        calls.append(call)
    return calls


def test_streams_of_a_run(small: ServerProcess) -> None:
    one, other = Alone(small), Alone(small)
    streams = open_streams(one, 2) + open_streams(other, 1)
    refusal = other.refusal("WatchRuns", trainer_pb2.WatchRunsRequest())
    assert refusal.code == EXHAUSTED
    assert "--max-watchers" in refusal.text
    streams.pop().cancel()
    streams += open_streams_when_there_is_room(other)
    for client in (one, other):
        client.channel.close()


def open_streams_when_there_is_room(client: Client) -> list[grpc.Call]:
    """A stream, as soon as the server has noticed that another one is gone."""
    for _ in range(1000):
        with contextlib.suppress(grpc.RpcError):
            return open_streams(client, 1)
    raise AssertionError("there was never room again")


def test_streams_of_a_connection(small: ServerProcess) -> None:
    client, other = Alone(small), Alone(small)
    demo = trainer_pb2.StartRunRequest(demo=run_pb2.DemoSpec(slots=["random"]))
    first, second = (client.call("StartRun", demo).run.id for _ in range(2))
    streams = open_streams(client, 3, first) + open_streams(client, 2, second)
    refusal = client.refusal("WatchRuns", trainer_pb2.WatchRunsRequest(run=second))
    assert refusal.code == EXHAUSTED
    assert "--max-streams" in refusal.text
    # Calls that are no streams, and other connections, go on.
    client.call("GetRun", trainer_pb2.GetRunRequest(run=first))
    streams += open_streams(other, 1, second)
    for run in (second, first):
        client.call("StopRun", trainer_pb2.StopRunRequest(run=run))
    for call in (client, other):
        call.channel.close()


def test_a_message_that_is_too_large(small: ServerProcess) -> None:
    with small.channel() as channel:
        stub = system_pb2_grpc.SystemServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListActivity(system_pb2.ListActivityRequest(page_token="x" * (5 << 20)))
        assert caught.value.code() == EXHAUSTED  # type: ignore[attr-defined]
        assert stub.GetServerInfo(system_pb2.GetServerInfoRequest()).max_runs == 1


def test_limits_that_are_none(tmp_path: Path) -> None:
    for flag in ("--max-queued", "--max-watchers", "--max-streams"):
        for value in ("0", "-1", "x", "1000001"):
            ended = subprocess.run(
                [sys.executable, "-m", "mltetris_server.service", flag, value],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert ended.returncode == 2
            assert flag in ended.stderr
