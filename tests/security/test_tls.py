"""A server behind TLS, and the clients that get in."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import mltetris_client
import pytest
from mltetris_api.v1 import system_pb2, system_pb2_grpc
from mltetris_cli.certificates import Certificates, make_certificates
from mltetris_cli.exits import CliError
from mltetris_client import InvalidArgument, PermissionDenied, Unauthenticated, Unreachable
from support.server import ServerProcess

OPERATOR_TOKEN = "operator-0123456789abcdef"
VIEWER_TOKEN = "viewer-0123456789abcdef"
posix = pytest.mark.skipif(os.name != "posix", reason="files have no modes here")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certs")
    return make_certificates(folder, hosts=(), client="ann", days=1, replace=False)


def tls(certificates: Certificates) -> tuple[str, ...]:
    return (
        *("--tls-cert", str(certificates.server_cert)),
        *("--tls-key", str(certificates.server_key)),
    )


@pytest.fixture(scope="module")
def secured(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[ServerProcess]:
    """A server for other machines: TLS and a token for each role."""
    folder = tmp_path_factory.mktemp("secured")
    arguments = list(tls(certificates))
    for role, token in (("operator", OPERATOR_TOKEN), ("viewer", VIEWER_TOKEN)):
        file = folder / f"{role}.token"
        file.write_text(token + "\n")
        file.chmod(0o600)
        arguments += [f"--{role}-token-file", str(file)]
    server = ServerProcess(folder / "data", *arguments)
    server.address = "0.0.0.0:0"
    with server:
        yield server


def port(server: ServerProcess) -> str:
    return server.address.rpartition(":")[2]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_client_with_the_ca_and_a_token_gets_in(
    secured: ServerProcess, certificates: Certificates, host: str
) -> None:
    with mltetris_client.connect(
        f"{host}:{port(secured)}", token=OPERATOR_TOKEN, tls_ca=certificates.ca
    ) as trainer:
        info = trainer.get_server_info()
        assert info.role == system_pb2.ROLE_OPERATOR and info.data_dir
        assert list(trainer.list_runs()) == []


def test_the_environment_says_it_too(
    secured: ServerProcess, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLTETRIS_TLS_CA", str(certificates.ca))
    monkeypatch.setenv("MLTETRIS_TOKEN", VIEWER_TOKEN)
    with mltetris_client.connect(f"localhost:{port(secured)}") as trainer:
        info = trainer.get_server_info()
        assert (info.role, info.data_dir) == (system_pb2.ROLE_VIEWER, "")
        with pytest.raises(PermissionDenied, match="StartRun needs the operator's token"):
            trainer.start_training(seed=1)
        assert list(trainer.list_runs()) == []


def test_without_a_token_there_is_no_way_in(
    secured: ServerProcess, certificates: Certificates
) -> None:
    with (
        mltetris_client.connect(f"localhost:{port(secured)}", tls_ca=certificates.ca) as trainer,
        pytest.raises(Unauthenticated, match="asks for a token") as caught,
    ):
        trainer.get_server_info()
    assert "MLTETRIS_TOKEN_FILE" in caught.value.hint


def test_a_client_does_not_talk_to_a_server_of_another_ca(
    secured: ServerProcess, tmp_path: Path
) -> None:
    other = make_certificates(tmp_path, hosts=(), client="eve", days=1, replace=False)
    with (
        mltetris_client.connect(
            f"localhost:{port(secured)}", token=OPERATOR_TOKEN, tls_ca=other.ca, timeout=5
        ) as trainer,
        pytest.raises(Unreachable, match=r"certificate .* is not to be trusted") as caught,
    ):
        trainer.get_server_info()
    assert "--tls-ca" in caught.value.hint


def test_a_client_without_tls_is_told_what_may_be_missing(secured: ServerProcess) -> None:
    with (
        mltetris_client.connect(f"localhost:{port(secured)}", timeout=5) as trainer,
        pytest.raises(Unreachable) as caught,
    ):
        trainer.get_server_info()
    assert "If it asks for TLS" in caught.value.hint


def test_a_client_with_tls_at_a_server_without(tmp_path: Path, certificates: Certificates) -> None:
    with (
        ServerProcess(tmp_path / "data") as server,
        mltetris_client.connect(server.address, tls_ca=certificates.ca, timeout=5) as trainer,
        pytest.raises(Unreachable, match="does without TLS"),
    ):
        trainer.get_server_info()


def test_mutual_tls_lets_only_certificates_in_and_the_trail_names_them(
    tmp_path: Path, certificates: Certificates
) -> None:
    arguments = (*tls(certificates), "--tls-client-ca", str(certificates.ca))
    with ServerProcess(tmp_path / "data", *arguments) as server:
        address = f"localhost:{port(server)}"
        with (
            mltetris_client.connect(address, tls_ca=certificates.ca, timeout=5) as stranger,
            pytest.raises(Unreachable),
        ):
            stranger.get_server_info()
        with mltetris_client.connect(
            address,
            tls_ca=certificates.ca,
            tls_cert=certificates.client_cert,
            tls_key=certificates.client_key,
        ) as trainer:
            trainer.save_slot("mine", slot="bcts")
        credentials = grpc.ssl_channel_credentials(
            certificates.ca.read_bytes(),
            certificates.client_key.read_bytes(),
            certificates.client_cert.read_bytes(),
        )
        with grpc.secure_channel(address, credentials) as channel:
            stub = system_pb2_grpc.SystemServiceStub(channel)
            (entry,) = stub.ListActivity(system_pb2.ListActivityRequest()).activity
        assert entry.peer.startswith("ann@")
        assert (entry.method, entry.slot, entry.code) == ("SaveSlot", "mine", 0)


def test_a_token_does_not_leave_the_machine_unprotected() -> None:
    with pytest.raises(InvalidArgument, match="could read the token") as caught:
        mltetris_client.connect("192.0.2.1:50051", token=OPERATOR_TOKEN)
    assert OPERATOR_TOKEN not in str(caught.value)
    for address in ("http://192.0.2.1:50051", "https://192.0.2.1:50051", "localhost:1"):
        mltetris_client.connect(address, token=OPERATOR_TOKEN).close()


@pytest.mark.parametrize(
    ("address", "options", "why"),
    [
        ("http://localhost:1", {"tls_ca": "ca.pem"}, "without TLS"),
        ("localhost:1", {"tls_ca": "no-such.pem"}, "No such file"),
        ("localhost:1", {"tls_cert": "cert.pem"}, "go together"),
        ("localhost:1", {"token_file": "no-such.token"}, "No such file"),
        ("localhost:1", {"token": "with space"}, "characters"),
        ("unix:", {}, "not an address"),
        ("https://", {}, "not an address"),
    ],
)
def test_what_cannot_be_is_said_at_once(address: str, options: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        mltetris_client.connect(address, **options)  # type: ignore[arg-type]


@posix
def test_a_server_on_a_unix_socket(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    server.address = f"unix:{tmp_path}/s"
    with server, mltetris_client.connect(server.address) as trainer:
        assert trainer.address == server.address
        trainer.save_slot("mine", slot="bcts")
        with grpc.insecure_channel(server.address) as channel:
            stub = system_pb2_grpc.SystemServiceStub(channel)
            (entry,) = stub.ListActivity(system_pb2.ListActivityRequest()).activity
    assert entry.peer == "unix"


@posix
def test_keys_are_for_their_owner_alone(certificates: Certificates) -> None:
    for path in certificates.files:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o600 if "key" in path.name else 0o644)
    assert not [path for path in certificates.folder.iterdir() if "ca-key" in path.name]


def test_files_that_are_there_are_kept_unless_told(certificates: Certificates) -> None:
    before = certificates.server_key.read_bytes()
    with pytest.raises(CliError, match="there already") as caught:
        make_certificates(certificates.folder, hosts=(), client="ann", days=1, replace=False)
    assert "--force" in caught.value.hint
    assert certificates.server_key.read_bytes() == before


@pytest.mark.parametrize("host", ["", "a b", "tetris.example.org:50051", "exa..mple", "é.example"])
def test_a_host_that_is_none_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(CliError, match="no name of a host"):
        make_certificates(tmp_path / "c", hosts=[host], client="ann", days=1, replace=False)
    assert not (tmp_path / "c").exists()
