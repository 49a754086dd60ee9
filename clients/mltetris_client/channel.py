"""The gRPC channel to a server: its address and its options."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from enum import StrEnum

import grpc

from mltetris_client.access import Access, TokenSender
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


class Scheme(StrEnum):
    """How an address says that it is to be reached."""

    ANY = ""
    """It does not: with TLS where there are files for it."""
    PLAIN = "http"
    """Without TLS, whoever may read along."""
    TLS = "https"
    """With TLS."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is: ``HOST:PORT`` or ``unix:/path``, and how it is to be reached."""

    target: str
    scheme: Scheme = Scheme.ANY

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine by its name."""
        return self.target.startswith("unix:") or is_loopback(self.target)


def resolve_address(address: str | None) -> Address:
    """Returns the address for what a person wrote, or the default.

    ``None`` is the environment's MLTETRIS_SERVER, else localhost:50051; a missing port is 50051.
    ``https://`` before it asks for TLS, ``http://`` for none.

    Raises:
        InvalidArgument: it is neither HOST, HOST:PORT, [IPv6]:PORT nor unix:/PATH, or the port is
            not 1..65535.
    """
    if address is None:
        address = os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
    text = address.strip()
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Address(text)
    scheme = Scheme.ANY
    for known in (Scheme.PLAIN, Scheme.TLS):
        if text.startswith(f"{known}://"):
            scheme, text = known, text.removeprefix(f"{known}://").removesuffix("/")
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
    return Address(f"{host}:{port}", scheme)


def is_loopback(address: str) -> bool:
    """Whether ``HOST:PORT`` is on this machine by its name."""
    host = address.rpartition(":")[0].strip("[]")
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_channel(address: Address, access: Access) -> grpc.Channel:
    """Opens a channel; nothing is sent before the first call.

    Raises:
        InvalidArgument: a file of TLS cannot be read, TLS is both asked for and ruled out, or the
            token would travel where others can read it.
    """
    options: list[tuple[str, int]] = list(_OPTIONS)
    if address.is_local:
        # gRPC follows http_proxy even to this machine, where no proxy can find us.
        options.append(("grpc.enable_http_proxy", 0))
    if address.scheme is Scheme.PLAIN and access.uses_tls:
        raise InvalidArgument(
            f"http://{address.target} is without TLS, and there are files for TLS",
            hint="Write https://, or leave them out.",
        )
    if address.scheme is Scheme.TLS or access.uses_tls:
        channel = grpc.secure_channel(address.target, access.credentials(), options=options)
    else:
        if access.token and not address.is_local and address.scheme is not Scheme.PLAIN:
            raise InvalidArgument(
                f"without TLS everybody on the way to {address.target} could read the token",
                hint="Write https:// before the address or name the server's CA; or http:// if "
                "they may.",
            )
        channel = grpc.insecure_channel(address.target, options=options)
    if not access.token:
        return channel
    return grpc.intercept_channel(channel, TokenSender(access.token))
