"""HTTP/2 by hand: just enough to talk with a gRPC server as no client would.

with Wire.to(address) as wire:
    wire.begin()
    wire.send(headers(1, "/mltetris.v1.TrainerService/ListRuns"), data(1, message(b"")))
    frames = wire.frames(until=END)
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
ACK: Final = 0x1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", *, length: int = -1) -> bytes:
    """One frame; its `length` is the payload's unless it is to be another."""
    size = len(payload) if length < 0 else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(content: bytes, *, compressed: int = 0, length: int = -1) -> bytes:
    """A gRPC message with its prefix, which may lie."""
    return struct.pack(">BI", compressed, len(content) if length < 0 else length) + content


def field(name: str | bytes, value: str | bytes) -> bytes:
    """A header field as HPACK has it: literal, never indexed, not compressed."""
    return b"\x10" + _string(name) + _string(value)


def _string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return _number(len(raw), 7) + raw


def _number(value: int, bits: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    out, value = [most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def request(
    path: str | bytes, *more: tuple[str | bytes, str | bytes], scheme: str = "http"
) -> bytes:
    """The header block of a gRPC call."""
    fields = (
        *((":method", "POST"), (":scheme", scheme), (":path", path), (":authority", "localhost")),
        *(("te", "trailers"), ("content-type", "application/grpc")),
        *more,
    )
    return b"".join(field(name, value) for name, value in fields)


def headers(stream: int, path: str | bytes, *more: tuple[str | bytes, str | bytes]) -> bytes:
    """The frame that begins a gRPC call."""
    return frame(HEADERS, END_HEADERS, stream, request(path, *more))


def data(stream: int, content: bytes, *, end: bool = True) -> bytes:
    """A frame of a call's request; its last one, unless `end` is False."""
    return frame(DATA, END_STREAM if end else 0, stream, content)


def reset(stream: int, code: int = 8) -> bytes:
    """The frame that cancels a call."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


class Wire:
    """A connection of bytes; a context manager that closes it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @classmethod
    def to(cls, address: str, *, timeout: float = 10.0, tls: ssl.SSLContext | None = None) -> Self:
        """Connects to `host:port` or `unix:/path`."""
        if address.startswith("unix:"):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(timeout)
            connection.connect(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            connection = socket.create_connection((host, int(port)), timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            connection = tls.wrap_socket(connection, server_hostname="localhost")
        return cls(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up."""
        self._connection.close()

    def begin(self, *settings: tuple[int, int]) -> None:
        """Says what a client says first."""
        payload = b"".join(struct.pack(">HI", key, value) for key, value in settings)
        self.send(PREFACE, frame(SETTINGS, 0, 0, payload), frame(SETTINGS, ACK, 0))

    def send(self, *parts: bytes) -> bool:
        """Sends; returns whether the server still took it."""
        try:
            self._connection.sendall(b"".join(parts))
        except OSError:
            return False
        return True

    def half_close(self) -> None:
        """Says that nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def read(self, seconds: float) -> bytes:
        """What comes within `seconds`, up to the server's hanging up."""
        got = bytearray()
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._connection.settimeout(left)
            try:
                part = self._connection.recv(65536)
            except (OSError, ssl.SSLError):
                break
            if not part:
                break
            got += part
        return bytes(got)


def frames(raw: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The whole frames in `raw`: kind, flags, stream, payload."""
    at = 0
    while at + 9 <= len(raw):
        size = int.from_bytes(raw[at : at + 3], "big")
        kind, flags, stream = struct.unpack(">BBI", raw[at + 3 : at + 9])
        if at + 9 + size > len(raw):
            return
        yield kind, flags, stream, raw[at + 9 : at + 9 + size]
        at += 9 + size
