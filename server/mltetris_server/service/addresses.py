"""Where workers find their server: the same place before and after a restart of the server."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Final, Literal

WorkerTransport = Literal["auto", "unix", "loopback"]

_MOST_PATH_BYTES: Final = 107
"""sun_path holds 108 bytes with its terminating NUL; on macOS 104, which `_short_dir` keeps to."""

_PORT_FILE: Final = "worker-port"


class CannotListen(Exception):
    """The address to listen on is taken or is none; the message says what to do."""


def check_free(address: str, flag: str = "--listen") -> None:
    """Raises CannotListen where `host:port`, said with `flag`, cannot be listened on: why.

    gRPC only says that it failed, and is content with one of several addresses of a host.
    """
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise CannotListen(
            f"cannot listen on {address}: there is no host {host} ({error.strerror})"
        ) from error
    for family, kind, protocol, _, place in found:
        with socket.socket(family, kind, protocol) as trial:
            if os.name == "posix":
                # As gRPC does: without it, connections that just ended would keep the port.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                trial.bind(place)
            except OSError as error:
                raise CannotListen(
                    f"cannot listen on {address}: {_why(error)}; stop what uses it, or choose "
                    f"another with {flag} (port 0: any free one)"
                ) from error


def _why(error: OSError) -> str:
    reasons = {
        errno.EADDRINUSE: "the port is taken",
        errno.EADDRNOTAVAIL: "this machine has no such address",
        errno.EACCES: "the system does not allow it",
    }
    return reasons.get(error.errno or 0, error.strerror or str(error))


def worker_address(data_dir: Path, transport: WorkerTransport) -> str:
    """Returns the address that the workers of `data_dir` dial: `unix:/path` or `127.0.0.1:port`.

    Raises:
        OSError: the folder of the socket belongs to somebody else, or cannot be made.
    """
    if transport == "loopback" or (transport == "auto" and os.name != "posix"):
        return f"127.0.0.1:{_port(data_dir)}"
    return f"unix:{_socket_path(data_dir)}"


def remember_port(data_dir: Path, port: int) -> None:
    """Notes the loopback port that was taken, for the next server of `data_dir` to take again."""
    (data_dir / _PORT_FILE).write_text(f"{port}\n", encoding="ascii")


def _port(data_dir: Path) -> int:
    """The port of the server before this one, or 0: any free one."""
    try:
        port = int((data_dir / _PORT_FILE).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0
    return port if 0 < port < 65536 else 0


def _socket_path(data_dir: Path) -> Path:
    """A path short enough for a socket, made from the data directory's: that one may be long."""
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
    folder = _short_dir()
    path = folder / f"{digest}.sock"
    if len(os.fsencode(path)) > _MOST_PATH_BYTES:
        raise OSError(f"the path {path} is too long for a socket: set TMPDIR to a shorter one")
    return path


def _short_dir() -> Path:
    """A folder for this user's sockets that nobody else can reach into."""
    folder = Path(tempfile.gettempdir()) / f"mltetris-{os.getuid()}"
    if len(os.fsencode(folder)) > 80:
        # macOS gives each user a long temporary folder.
        folder = Path("/tmp") / folder.name
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user: remove it or set TMPDIR")
    folder.chmod(0o700)
    return folder
