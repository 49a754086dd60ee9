"""Where a server may listen, with TLS and tokens and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mltetris_server.service.access import Tokens
from mltetris_server.service.addresses import CannotListen
from mltetris_server.service.exposure import Security, Tls, check, is_local
from mltetris_server.service.secrets import read_tokens
from support.server import ServerProcess
from support.small import eventually

TOKEN = "operator-0123456789abcdef"
TLS = Tls(Path("cert.pem"), Path("key.pem"))
posix = pytest.mark.skipif(os.name != "posix", reason="files have no modes here")


@pytest.mark.parametrize(
    "listen",
    ["127.0.0.1:50051", "127.8.8.8:1", "localhost:0", "LOCALHOST:0", "[::1]:1", "unix:/tmp/s"],
)
def test_this_machine_alone(listen: str) -> None:
    assert is_local(listen)
    check(listen, Security())


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "example.org:1", "localhost.evil.example:1"]
)
def test_a_network_needs_tls_and_a_token(listen: str) -> None:
    tokens = Tokens(operator=TOKEN)
    assert not is_local(listen)
    for security, missing in (
        (Security(), ("TLS", "token", "--insecure")),
        (Security(tls=TLS), ("--operator-token-file",)),
        (Security(tokens=tokens), ("--tls-cert",)),
    ):
        with pytest.raises(CannotListen) as caught:
            check(listen, security)
        assert all(word in str(caught.value) for word in missing)
    check(listen, Security(tls=TLS, tokens=tokens))
    check(listen, Security(insecure=True))


def start(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A server that does not start."""
    return subprocess.run(
        [sys.executable, "-m", "mltetris_server.service", "--data-dir", data_dir, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_open_server_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    ended = start(tmp_path / "data", "--listen", "0.0.0.0:0")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: 0.0.0.0:0 can be reached from other machines")
    assert not (tmp_path / "data").exists()


def test_insecure_says_so_and_goes(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", "--insecure")
    server.address = "0.0.0.0:0"
    with server:
        eventually(lambda: "--insecure was said" in server.log_path.read_text(), "the warning")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--tls-cert", "c.pem"], "both --tls-cert and --tls-key"),
        (["--tls-client-ca", "c.pem"], "both --tls-cert and --tls-key"),
        (["--tls-cert", "no.pem", "--tls-key", "no.pem"], "--tls-key no.pem: No such file"),
        (["--operator-token-file", "no.txt"], "--operator-token-file no.txt: No such file"),
    ],
)
def test_files_that_are_not_there(tmp_path: Path, arguments: list[str], why: str) -> None:
    ended = start(tmp_path / "data", "--listen", "127.0.0.1:0", *arguments)
    assert ended.returncode == 1
    assert why in ended.stderr


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"  {TOKEN}\n")
    file.chmod(0o600)
    assert read_tokens(file, None, {}) == Tokens(operator=TOKEN)
    environment = {"MLTETRIS_OPERATOR_TOKEN": "x" * 20, "MLTETRIS_VIEWER_TOKEN": "y" * 20}
    assert read_tokens(None, None, environment) == Tokens(operator="x" * 20, viewer="y" * 20)
    assert read_tokens(file, None, environment) == Tokens(operator=TOKEN, viewer="y" * 20)
    assert not read_tokens(None, None, {}).required


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(mode)
    with pytest.raises(CannotListen, match="chmod 600") as caught:
        read_tokens(file, None, {})
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b" \n", b"short", b"\xff\xfe" * 20])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(CannotListen):
        read_tokens(file, None, {})
