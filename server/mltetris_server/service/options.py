"""gRPC settings of both of the server's listeners."""

from __future__ import annotations

from typing import Final

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Largest message taken in, 4 MiB: gRPC refuses a larger one with RESOURCE_EXHAUSTED."""

MAX_STREAMS: Final = 1000
"""Streams that one connection may have open; a page with 30 boards has some 60."""

CHUNK_BYTES: Final = 64 * 1024
"""Bytes of one chunk of an export or of a checkpoint on its way to a worker."""

SERVER_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # Two servers on one port would each get half of the calls: refuse the second instead.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Who connects and then says nothing of HTTP/2 is not waited for.
    ("grpc.server_handshake_timeout_ms", 20_000),
    # Calls that wait to be taken: beyond some of these, beyond all of those, they are refused,
    # whoever makes them. More than one connection can have at a time, by default.
    ("grpc.server.max_pending_requests", 4_000),
    ("grpc.server.max_pending_requests_hard_limit", 8_000),
    # A watcher whose machine went away without a word is found within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Clients ping too; without these a server answers pings every 10 s with GOAWAY.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)


def public_options(max_streams: int) -> tuple[tuple[str, int], ...]:
    """Returns the settings of the public listener.

    Args:
        max_streams: streams that one connection may have open; some calls more are let in at a
            time, so that who has too many is told so in words.
    """
    return (*SERVER_OPTIONS, ("grpc.max_concurrent_streams", max_streams + 100))
