"""Where workers find their server, and which addresses can be listened on."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest
from mltetris_server.service.addresses import (
    CannotListen,
    check_free,
    remember_port,
    worker_address,
)

posix = pytest.mark.skipif(os.name != "posix", reason="there are no Unix sockets here")


@posix
def test_a_socket_has_a_short_path_however_long_the_data_directorys_is(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    deep.mkdir(parents=True)
    address = worker_address(deep, "unix")
    assert address == worker_address(deep, "auto"), "it moves between two starts"
    assert address != worker_address(tmp_path, "unix")
    path = Path(address.removeprefix("unix:"))
    assert len(os.fsencode(path)) < 104
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@posix
def test_a_data_directory_by_another_name_is_the_same(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    assert worker_address(link, "unix") == worker_address(real, "unix")


@posix
def test_a_socket_is_not_put_where_somebody_else_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Short, whatever pytest's own folder is: of a long one the server makes no use.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        short = Path(name)
        monkeypatch.setattr("tempfile.tempdir", name)
        (short / "elsewhere").mkdir()
        (short / f"mltetris-{os.getuid()}").symlink_to(short / "elsewhere")
        with pytest.raises(PermissionError, match="belongs to another user"):
            worker_address(tmp_path, "unix")


def test_the_loopback_port_is_the_one_before(tmp_path: Path) -> None:
    assert worker_address(tmp_path, "loopback") == "127.0.0.1:0"
    remember_port(tmp_path, 54321)
    assert worker_address(tmp_path, "loopback") == "127.0.0.1:54321"
    (tmp_path / "worker-port").write_text("99999\n")
    assert worker_address(tmp_path, "loopback") == "127.0.0.1:0"


def test_a_free_port_is_free_and_a_taken_one_is_not() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port}: the port is taken"):
            check_free(f"127.0.0.1:{port}")
    check_free(f"127.0.0.1:{port}")
    check_free("127.0.0.1:0")
