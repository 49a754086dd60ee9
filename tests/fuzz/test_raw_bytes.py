"""Raw bytes on the public port, over TCP, TLS and a Unix socket: the server stays up, answers
others meanwhile, and gives back what it took.

In `make test-all` for `MLTETRIS_FUZZ_RAW_SECONDS` (120), from a seed that a failure prints and
`MLTETRIS_FUZZ_SEED` takes.
"""

from __future__ import annotations

import os
import random
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mltetris_api.v1 import system_pb2, trainer_pb2, trainer_pb2_grpc
from mltetris_cli.certificates import make_certificates
from support.fuzzing import assaults
from support.fuzzing import wire as h2
from support.fuzzing.assaults import ASSAULTS, LIST, Assault
from support.fuzzing.served import MOST_GROWTH, VIEWER, bearer, is_expected
from support.fuzzing.wire import Wire
from support.server import CHANNEL_OPTIONS, ServerProcess

SECONDS = float(os.environ.get("MLTETRIS_FUZZ_RAW_SECONDS", "120"))
PATIENCE_S = 30.0
OPERATOR = "operator-token-9f2c41d07be8"


@dataclass
class Target:
    """A server, how bytes reach it, and how a good client does."""

    server: ServerProcess
    wire: Callable[[], Wire]
    channel: grpc.Channel

    def __post_init__(self) -> None:
        assert self.server.process is not None
        self.process = psutil.Process(self.server.process.pid)
        self.answers()
        self.descriptors = self.process.num_fds()
        self.memory = self.process.memory_info().rss

    def answers(self) -> float:
        """Makes a good call; returns the seconds it took."""
        began = time.monotonic()
        stub = trainer_pb2_grpc.TrainerServiceStub(self.channel)
        stub.ListRuns(trainer_pb2.ListRunsRequest(), metadata=bearer(OPERATOR), timeout=PATIENCE_S)
        return time.monotonic() - began

    def watchers(self) -> int:
        """Streams that the server holds open."""
        ask = self.channel.unary_unary(
            "/mltetris.v1.SystemService/GetServerInfo",
            response_deserializer=system_pb2.GetServerInfoResponse.FromString,
        )
        return int(ask(b"", metadata=bearer(OPERATOR), timeout=PATIENCE_S).watchers)

    def check(self) -> None:
        """Whether it is as before: answering, with no connection left, its log without a fault."""
        self.answers()
        until(lambda: self.process.num_fds() <= self.descriptors + 2, "descriptors to come back")
        until(lambda: self.watchers() == 0, "streams to end")
        grown = self.process.memory_info().rss - self.memory
        assert grown < MOST_GROWTH, f"the server's memory grew by {grown >> 20} MiB"
        unexpected = [line for line in self.server.log().splitlines() if not is_expected(line)]
        assert not unexpected, "\n".join(unexpected[:5])
        for token in (OPERATOR, VIEWER):
            assert token not in self.server.log()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s for {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module", params=["tcp", "unix", "tls"])
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("raw")
    arguments: tuple[str, ...] = ()
    context, credentials = None, None
    if request.param == "tls":
        made = make_certificates(folder, hosts=(), client="ann", days=1, replace=False)
        arguments = ("--tls-cert", str(made.server_cert), "--tls-key", str(made.server_key))
        context = ssl.create_default_context(cafile=str(made.ca))
        context.set_alpn_protocols(["h2"])
        credentials = grpc.ssl_channel_credentials(made.ca.read_bytes())
    server = ServerProcess(folder / "data", *arguments)
    server.environment["MLTETRIS_OPERATOR_TOKEN"] = OPERATOR
    server.environment["MLTETRIS_VIEWER_TOKEN"] = VIEWER
    if request.param == "unix":
        if not hasattr(os, "AF_UNIX") and os.name != "posix":
            pytest.skip("there are no Unix sockets here")
        server.address = f"unix:{folder / 's'}"
    with server:
        if credentials is None:
            channel = grpc.insecure_channel(server.address, options=CHANNEL_OPTIONS)
        else:
            place = f"localhost:{server.address.rpartition(':')[2]}"
            channel = grpc.secure_channel(place, credentials, options=CHANNEL_OPTIONS)
        with channel:
            yield Target(server, lambda: Wire.to(server.address, tls=context), channel)


def assail(target: Target, assault: Assault, rng: random.Random) -> bytes:
    """One connection of bytes, and what the server says to them at once."""
    with target.wire() as wire:
        assault(wire, rng)
        return wire.read(0.02)


def test_a_good_conversation_by_hand(target: Target) -> None:
    """The wire speaks gRPC: else all that follows would be refused for another reason."""
    with target.wire() as wire:
        wire.begin()
        token = ("authorization", f"Bearer {OPERATOR}")
        wire.send(h2.headers(1, LIST, token), h2.data(1, h2.message(b"")))
        said = bytearray()
        until(lambda: h2.DATA in kinds(heard(wire, said)), "an answer")


def heard(wire: Wire, before: bytearray) -> bytearray:
    before += wire.read(0.2)
    return before


def kinds(raw: bytearray) -> set[int]:
    return {kind for kind, *_ in h2.frames(bytes(raw))}


def test_a_path_that_is_no_text(target: Target) -> None:
    """It once ended the server's loop, whoever sent it."""
    for path in (b"/\xff\xfe/x", b"\xff", b"/mltetris.v1.TrainerService/\x80"):
        with target.wire() as wire:
            wire.begin()
            wire.send(h2.headers(1, path), h2.data(1, h2.message(b"")))
            until(lambda wire=wire: h2.HEADERS in kinds(bytearray(wire.read(0.2))), "a refusal")
        target.check()


def test_what_a_stranger_says_at_the_end_is_not_in_the_log(target: Target) -> None:
    """gRPC would print it as it comes, line breaks and all."""
    with target.wire() as wire:
        wire.begin()
        last = struct.pack(">II", 0, 0x97A01D2F) + b"bye\n\x1b[31mserver on fire\n"
        wire.send(h2.frame(h2.GOAWAY, 0, 0, last))
        wire.read(0.5)
    target.check()
    assert "on fire" not in target.server.log()


@pytest.mark.parametrize("assault", ASSAULTS, ids=lambda one: one.__name__)
def test_bytes_of_every_sort(target: Target, assault: Assault) -> None:
    rng = random.Random(assault.__name__)
    for _ in range(3):
        assail(target, assault, rng)
    target.check()


def test_ten_thousand_resets(target: Target) -> None:
    with target.wire() as wire:
        assaults.rapid_reset(wire, random.Random(1), calls=10_000)
        target.answers()
    target.check()


def test_connections_that_never_get_anywhere(target: Target) -> None:
    """Others are answered beside them, and they leave nothing behind."""
    beginnings = (
        b"",
        b"P",
        h2.PREFACE[:-1],
        h2.PREFACE + b"\0\0",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03",
    )
    wires = []
    for number in range(200):
        wire = target.wire()
        wire.send(beginnings[number % len(beginnings)])
        wires.append(wire)
    for _ in range(3):
        target.answers()
    for wire in wires:
        wire.close()
    target.check()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_bytes_for_minutes(target: Target) -> None:
    number = int(os.environ.get("MLTETRIS_FUZZ_SEED", str(random.SystemRandom().getrandbits(32))))
    print(f"MLTETRIS_FUZZ_SEED={number}")
    rng = random.Random(number)
    # A share for each of the three ways in.
    deadline = time.monotonic() + SECONDS / 3
    connections = 0
    while time.monotonic() < deadline:
        for _ in range(40):
            assault = rng.choice(ASSAULTS)
            print(assault.__name__, end=" ")
            assail(target, assault, rng)
            connections += 1
        target.check()
    print(f"\n{connections} connections")


def test_a_watcher_of_health_who_reads_nothing_holds_nobody_up(server: ServerProcess) -> None:
    """Neither others who watch, nor the server's end. It needs no token, so anybody can be one."""
    with Wire.to(server.address) as wire, server.channel() as channel:
        wire.begin((4, 0))
        for stream in range(1, 41, 2):
            wire.send(h2.headers(stream, assaults.HEALTH), h2.data(stream, h2.message(b"")))
        wire.read(0.5)
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert server.terminate(PATIENCE_S) == 0
        watch.cancel()
