"""The command's own programs at a server that asks for a token: the window, and `up`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mltetris_client
import pytest
from mltetris_api.v1 import run_pb2
from mltetris_cli import window
from mltetris_cli.certificates import Certificates, make_certificates
from support.cli import Cli
from support.server import ServerProcess
from support.small import in_state, small_service

OPERATOR_TOKEN = "operator-0123456789abcdef"
VIEWER_TOKEN = "viewer-0123456789abcdef"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certs")
    return make_certificates(folder, hosts=(), client="ann", days=1, replace=False)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file with a token for each role."""
    folder = tmp_path_factory.mktemp("tokens")
    files = {}
    for role, token in (("operator", OPERATOR_TOKEN), ("viewer", VIEWER_TOKEN)):
        files[role] = folder / f"{role}.token"
        files[role].write_text(token)
        files[role].chmod(0o600)
    return files


@pytest.fixture(scope="module")
def classroom(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, tokens: dict[str, Path]
) -> Iterator[ServerProcess]:
    """A server with TLS, tokens and one run."""
    with small_service(
        tmp_path_factory.mktemp("classroom") / "data",
        *("--tls-cert", str(certificates.server_cert), "--tls-key", str(certificates.server_key)),
        *("--operator-token-file", str(tokens["operator"])),
        *("--viewer-token-file", str(tokens["viewer"])),
    ) as server:
        with mltetris_client.connect(
            server.address, token=OPERATOR_TOKEN, tls_ca=certificates.ca
        ) as trainer:
            in_state(trainer, trainer.start_training(seed=1).id, "running")
        yield server


def environment() -> dict[str, str]:
    keep = {name: value for name, value in os.environ.items() if not name.startswith("MLTETRIS_")}
    return keep | {"SDL_VIDEODRIVER": "dummy"}


def test_the_command_opens_the_window_with_what_let_itself_in(
    classroom: ServerProcess,
    certificates: Certificates,
    tokens: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it starts is run, with a picture instead of a window."""
    started: list[list[str]] = []

    class Ended:
        returncode = 0

        def wait(self, timeout: float | None = None) -> int:
            return 0

    def popen(command: list[str], **_: Any) -> Ended:
        started.append(command)
        return Ended()

    cli = Cli(tmp_path)
    monkeypatch.setattr(window.subprocess, "Popen", popen)
    result = cli.inside(
        *("--token-file", tokens["viewer"], "--tls-ca", certificates.ca),
        *("viewer", "--server", f"https://{classroom.address}"),
    )
    monkeypatch.undo()
    assert result.code == 0, result
    (command,) = started
    assert VIEWER_TOKEN not in " ".join(command)
    picture = tmp_path / "window.png"
    done = subprocess.run(
        [*command, "--screenshot", str(picture)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 1000


@pytest.mark.parametrize("token", [None, "x" * 20])
def test_the_window_says_that_it_is_not_let_in(
    classroom: ServerProcess,
    certificates: Certificates,
    tmp_path: Path,
    token: str | None,
) -> None:
    command = [sys.executable, "-m", "mltetris_viewer", "--server", classroom.address]
    command += ["--tls-ca", str(certificates.ca), "--screenshot", str(tmp_path / "window.png")]
    if token is not None:
        (tmp_path / "token").write_text(token)
        command += ["--token-file", str(tmp_path / "token")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=90)
    assert done.returncode == 6, done.stderr
    assert "there was none or a wrong one" in done.stderr and len(done.stderr.splitlines()) == 1
    assert token is None or token not in done.stderr


def test_up_asks_for_the_token_it_was_given_and_has_it(tmp_path: Path) -> None:
    """What the environment says of another server is not for the one of its own."""
    small = Cli(tmp_path, module="support.small_cli")
    small.environment |= {
        "MLTETRIS_SMALL_WORKER": "quick",
        "MLTETRIS_OPERATOR_TOKEN": OPERATOR_TOKEN,
        "MLTETRIS_TOKEN": "another-servers-token",
        "MLTETRIS_TLS_CA": str(tmp_path / "another-servers.pem"),
    }
    arguments = ("up", "--listen", "127.0.0.1:0", "--data-dir", tmp_path / "data", "-o", "json")
    result = small(*arguments)
    assert result.code == 0, result
    assert json.loads(result.out.splitlines()[-1])["type"] == "summary"


def test_up_is_for_this_machine_alone(tmp_path: Path) -> None:
    result = Cli(tmp_path).inside("up", "--listen", "0.0.0.0:0")
    assert result.code == 2
    assert "mltetris serve" in result.err and not (tmp_path / "checkpoints").exists()


def test_a_viewers_token_steers_nothing(
    classroom: ServerProcess, certificates: Certificates, tokens: dict[str, Path], tmp_path: Path
) -> None:
    cli = Cli(tmp_path, classroom.address)
    access = ("--token-file", tokens["viewer"], "--tls-ca", certificates.ca)
    assert cli.inside(*access, "ps").code == 0
    checked = cli.inside(*access, "doctor")
    assert "look only" in checked.out and "data in" not in checked.out
    with mltetris_client.connect(
        classroom.address, token=VIEWER_TOKEN, tls_ca=certificates.ca
    ) as trainer:
        (run,) = trainer.list_runs()
    for command in (("pause", run.id), ("stop", run.id), ("rm", run.id), ("activity",)):
        result = cli.inside(*access, *command)
        assert result.code == 6, (command, result)
        assert "operator's token" in result.err
    with mltetris_client.connect(
        classroom.address, token=OPERATOR_TOKEN, tls_ca=certificates.ca
    ) as trainer:
        assert trainer.get_run(run.id).state == run_pb2.RUN_STATE_RUNNING
