"""The doctor: what is broken is found, named and exits with 1."""

from __future__ import annotations

import os
import socket
import sys
from importlib import metadata
from pathlib import Path

import pytest
from mltetris_cli import checks
from mltetris_cli.checks import Status
from mltetris_server.game.compiling import cache_directory
from support.cli import Cli
from support.server import ServerProcess


def test_a_healthy_machine(cli: Cli, shared: ServerProcess) -> None:
    result = cli("doctor", "-o", "json")
    assert result.code == 0, result
    found = {check["name"]: check for check in result.json["checks"]}
    assert result.json["ok"] is True
    assert found["Python"]["status"] == "ok"
    assert found["server"]["status"] == "ok"
    assert shared.address in found["server"]["found"]
    assert str(shared.data_dir) in found["server"]["found"]
    assert found["data folder"]["found"].startswith(str(cli.folder))
    assert not (cli.folder / "checkpoints").exists()  # looking changes nothing
    assert "ok" in cli.good("doctor").out


def test_a_server_that_is_needed_and_not_there(alone: Cli) -> None:
    alone.environment["MLTETRIS_SERVER"] = "127.0.0.1:1"
    result = alone.inside("doctor", "-o", "json")
    assert result.code == 1 and result.json["ok"] is False
    del alone.environment["MLTETRIS_SERVER"]
    found = {c["name"]: c for c in alone.inside("doctor", "-o", "json").json["checks"]}
    # Nobody named a server: that there is none is nothing to worry about.
    assert found["server"]["status"] in {"note", "ok"}


def test_both_pygames(monkeypatch: pytest.MonkeyPatch) -> None:
    def versions(*installed: str) -> None:
        def version(name: str) -> str:
            if name not in installed:
                raise metadata.PackageNotFoundError(name)
            return "1.0"

        monkeypatch.setattr(metadata, "version", version)

    versions("pygame", "pygame-ce")
    assert checks.check_pygame().status is Status.BROKEN
    assert "pip uninstall" in checks.check_pygame().hint
    versions("pygame")
    assert checks.check_pygame().status is Status.BROKEN
    versions("pygame-ce")
    assert checks.check_pygame().status is Status.GOOD
    versions()
    assert checks.check_pygame().status is Status.NOTE


def test_python_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, status in (
        ((3, 10, 9), Status.BROKEN),
        ((3, 11, 0), Status.GOOD),
        ((3, 13, 9), Status.GOOD),
        ((3, 14, 0), Status.BROKEN),
    ):
        monkeypatch.setattr(sys, "version_info", version)
        assert checks.check_python().status is status, version


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_packages("x", ("rich",), needed=True).status is Status.GOOD
    some = checks.check_packages("x", ("rich", "no-such-thing"), needed=False)
    assert some.status is Status.BROKEN and "no-such-thing" in some.found
    assert checks.check_packages("x", ("no-such",), needed=False).status is Status.NOTE
    assert checks.check_packages("x", ("no-such",), needed=True).status is Status.BROKEN


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert checks.check_data_dir(tmp_path / "file").status is Status.BROKEN
    assert checks.check_data_dir(tmp_path / "file" / "below").status is Status.BROKEN
    assert checks.check_data_dir(tmp_path / "new" / "below").status is Status.GOOD
    assert checks.check_cache(tmp_path / "file" / "below").status is Status.NOTE
    assert checks.check_cache(tmp_path / "new" / "below").status is Status.GOOD
    assert checks.check_cache(tmp_path).status is Status.GOOD
    assert checks.check_cache(None).status is Status.NOTE


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert checks.check_data_dir(tmp_path).status is Status.BROKEN


def test_the_cache_is_where_the_engine_keeps_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in (None, tmp_path):
        if folder is None:
            monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
        else:
            monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
        cache_directory.cache_clear()
        kept = cache_directory()
        assert kept is not None and checks.kernel_cache() in kept.parents
    cache_directory.cache_clear()


def test_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(checks, "DEFAULT_LISTEN", address)
        assert checks.check_port().status is Status.NOTE
    assert checks.check_port().status is Status.GOOD
