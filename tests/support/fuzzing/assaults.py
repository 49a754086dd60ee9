"""What no client sends: broken connections, lies about lengths, floods. Each takes a wire and an
`random.Random`, sends what it has, and leaves the rest to its caller.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import Final

from support.fuzzing import wire as h2
from support.fuzzing.wire import Wire

LIST: Final = "/mltetris.v1.TrainerService/ListRuns"
WATCH: Final = "/mltetris.v1.TrainerService/WatchRuns"
IMPORT: Final = "/mltetris.v1.TrainerService/ImportSlot"
HEALTH: Final = "/grpc.health.v1.Health/Watch"
_PATHS: Final = (LIST, WATCH, IMPORT, HEALTH, "/grpc.health.v1.Health/Check", "/no.Such/Method")

Assault = Callable[[Wire, Random], None]


def garbage(wire: Wire, rng: Random) -> None:
    """Anything at all."""
    wire.send(rng.randbytes(rng.choice((1, 9, 24, 500, 70_000))))


def nonsense_after_the_preface(wire: Wire, rng: Random) -> None:
    """A client at first."""
    wire.begin()
    wire.send(rng.randbytes(rng.choice((1, 8, 9, 10, 5000))))


def http1(wire: Wire, rng: Random) -> None:
    """A browser, an old proxy, a scanner."""
    wire.send(
        rng.choice(
            (
                b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
                b"POST /mltetris.v1.X/Y HTTP/1.1\r\nContent-Length: 9999\r\n\r\n{}",
                b"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
                b"CONNECT localhost:22 HTTP/1.1\r\n\r\n",
                b"GET /" + b"a" * 100_000,
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(500),
            )
        )
    )


def frames_at_random(wire: Wire, rng: Random) -> None:
    """Frames of every kind, the unknown ones too, on streams that are there and that are not."""
    wire.begin()
    for _ in range(rng.randrange(1, 40)):
        content = rng.randbytes(rng.choice((0, 1, 4, 5, 6, 8, 40)))
        length = rng.choice((-1, -1, -1, 0, 1, 16_385, (1 << 24) - 1))
        stream = rng.choice((0, 1, 2, 3, 5, (1 << 31) - 1))
        wire.send(h2.frame(rng.randrange(12), rng.randrange(256), stream, content, length=length))


def odd_headers(wire: Wire, rng: Random) -> None:
    """Calls whose headers are none, or say what makes no sense."""
    wire.begin()
    odd: tuple[tuple[str | bytes, str | bytes], ...] = (
        ("authorization", b"Bearer \xff\xfe\x00"),
        ("authorization", "Bearer " + "x" * 6000),
        ("grpc-timeout", rng.choice(("1n", "99999999H", "-1S", "1", "", "x", "0m"))),
        ("grpc-encoding", rng.choice(("gzip", "nosuch", "identity", ""))),
        ("grpc-status-details-bin", "*** no base64 ***"),
        ("x-bin", b"\xff\xfe"),
        ("UPPER", "case"),
        (b"\xff\x00", b"\r\nx: y"),
        ("", "no name"),
        (":path", "/twice"),
        (":late", "pseudo"),
        ("content-type", "text/html"),
        ("mltetris-secret", "0" * 64),
        ("host", "../../etc/passwd"),
    )
    for stream in range(1, 21, 2):
        path = rng.choice((*_PATHS, b"/\xff\xfe/\x00", "", "/", "//", "no slash", "/" + "a" * 5000))
        more = rng.sample(odd, rng.randrange(1, 5))
        wire.send(h2.headers(stream, path, *more), h2.data(stream, h2.message(b"")))


def huge_headers(wire: Wire, rng: Random) -> None:
    """More headers than anybody wants to keep."""
    wire.begin()
    many = [(f"x-{i}", "y" * 1000) for i in range(rng.choice((16, 64)))]
    block = h2.request(LIST, *many)
    parts = [block[start : start + 16_000] for start in range(0, len(block), 16_000)]
    wire.send(h2.frame(h2.HEADERS, 0, 1, parts[0]))
    for part in parts[1:]:
        wire.send(h2.frame(h2.CONTINUATION, 0, 1, part))
    # Whether they end at all is left open.
    if rng.random() < 0.5:
        wire.send(h2.frame(h2.CONTINUATION, h2.END_HEADERS, 1), h2.data(1, h2.message(b"")))


def endless_headers(wire: Wire, rng: Random) -> None:
    """A header block that never ends, in thousands of frames."""
    wire.begin()
    wire.send(h2.frame(h2.HEADERS, 0, 1, h2.request(LIST)))
    part = h2.frame(h2.CONTINUATION, 0, 1, h2.field("x", "y" * rng.choice((0, 10, 100))))
    for _ in range(100):
        if not wire.send(part * 100):
            return


def lying_messages(wire: Wire, rng: Random) -> None:
    """gRPC's own prefix, wrong in every way."""
    wire.begin()
    for stream in range(1, 21, 2):
        content = rng.randbytes(rng.choice((0, 1, 50)))
        lie = rng.choice((-1, 0, len(content) + 1, 5 << 20, 2**31, 2**32 - 1))
        body = h2.message(content, compressed=rng.choice((0, 1, 2, 77, 255)), length=lie)
        body = rng.choice((body, body[:3], body + body, b"", body + b"\0"))
        wire.send(h2.headers(stream, rng.choice(_PATHS)))
        for at in range(0, len(body), rng.choice((1, 7, 5000))):
            wire.send(h2.data(stream, body[at : at + 1], end=False))
        wire.send(rng.choice((h2.data(stream, b""), h2.reset(stream), b"")))


def cut_off(wire: Wire, rng: Random) -> None:
    """A proper conversation that ends in the middle of a byte's neighbours."""
    said = conversation(rng)
    wire.send(said[: rng.randrange(len(said))])
    if rng.random() < 0.5:
        wire.half_close()


def flipped(wire: Wire, rng: Random) -> None:
    """A proper conversation with a few wrong bits."""
    said = bytearray(conversation(rng))
    for _ in range(rng.randrange(1, 6)):
        said[rng.randrange(24, len(said))] ^= 1 << rng.randrange(8)
    wire.send(bytes(said))


def rapid_reset(wire: Wire, rng: Random, calls: int = 300) -> None:
    """Calls that are cancelled in the same breath."""
    wire.begin()
    path = rng.choice((LIST, WATCH, HEALTH))
    for first in range(1, 2 * calls, 100):
        part = b"".join(
            h2.headers(stream, path) + h2.data(stream, h2.message(b"")) + h2.reset(stream)
            for stream in range(first, min(first + 100, 2 * calls), 2)
        )
        if not wire.send(part):
            return


def floods(wire: Wire, rng: Random) -> None:
    """Small frames that ask for an answer each, and settings that nobody should accept."""
    wire.begin(
        (4, rng.choice((0, 2**31 - 1, 2**32 - 1))), (5, rng.choice((0, 2**24 - 1, 2**32 - 1)))
    )
    part = rng.choice(
        (
            h2.frame(h2.PING, 0, 0, bytes(8)),
            h2.frame(h2.SETTINGS, 0, 0, struct.pack(">HI", 4, 1)),
            h2.frame(h2.WINDOW, 0, 0, struct.pack(">I", 2**31 - 1)),
            h2.frame(h2.PRIORITY, 0, 1, struct.pack(">IB", 1, 255)),
            h2.frame(h2.GOAWAY, 0, 0, bytes(8)),
            h2.data(1, b"", end=False),
        )
    )
    wire.send(part * 5000)


def reads_nothing(wire: Wire, rng: Random) -> None:
    """Streams that are opened with no room for an answer."""
    wire.begin((4, 0))
    for stream in range(1, 41, 2):
        wire.send(h2.headers(stream, rng.choice((HEALTH, WATCH))), h2.data(stream, h2.message(b"")))


def conversation(rng: Random) -> bytes:
    """What a good client sends: a few calls."""
    said = h2.PREFACE + h2.frame(h2.SETTINGS, 0, 0) + h2.frame(h2.SETTINGS, h2.ACK, 0)
    for stream in range(1, 2 * rng.randrange(2, 6), 2):
        said += h2.headers(stream, rng.choice(_PATHS)) + h2.data(stream, h2.message(b""))
    return said


ASSAULTS: Final[tuple[Assault, ...]] = (
    *(garbage, nonsense_after_the_preface, http1, frames_at_random, odd_headers, huge_headers),
    *(endless_headers, lying_messages, cut_off, flipped, rapid_reset, floods, reads_nothing),
)
