"""The gRPC channel to a server: its address and its options."""

from __future__ import annotations

import ipaddress
import os

import grpc

from mltetris_client.errors import InvalidArgument

DEFAULT_ADDRESS = "localhost:50051"
DEFAULT_PORT = 50051
ADDRESS_VARIABLE = "MLTETRIS_SERVER"

# Two settings keep a stalled reader from piling up frames in this process: without them HTTP/2
# grows its window to hold thousands. The backoff lets streams find a restarted server in a second.
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # how long one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # Connections are not shared between channels: one that is closed takes nobody else along.
    ("grpc.use_local_subchannel_pool", 1),
)


def resolve_address(address: str | None) -> str:
    """Returns ``HOST:PORT`` for what a person wrote, or the default.

    ``None`` is the environment's MLTETRIS_SERVER, else localhost:50051; a missing port is 50051.

    Raises:
        InvalidArgument: it is neither HOST, HOST:PORT nor [IPv6]:PORT, or the port is not 1..65535.
    """
    if address is None:
        address = os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
    text = address.strip()
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    elif ":" in host and not host.startswith("["):
        host, port = f"[{text}]", str(DEFAULT_PORT)  # a bare IPv6 address
    usable = host and not any(c.isspace() or c in "/\\@?#" for c in host)
    if not usable or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise InvalidArgument(
            f"{address!r} is not an address of a server",
            hint="Write HOST:PORT, for example localhost:50051.",
        )
    return f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether ``HOST:PORT`` is on this machine by its name."""
    host = address.rpartition(":")[0].strip("[]")
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_channel(address: str) -> grpc.Channel:
    """Opens a channel; nothing is sent before the first call."""
    options: list[tuple[str, int]] = list(_OPTIONS)
    if is_loopback(address):
        # gRPC follows http_proxy even to this machine, where no proxy can find us.
        options.append(("grpc.enable_http_proxy", 0))
    return grpc.insecure_channel(address, options=options)
