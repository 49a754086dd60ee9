"""What a server may listen on: loopback as it is, anything else with TLS and a token."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from mltetris_server.service.access import Tokens
from mltetris_server.service.addresses import CannotListen


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a server's TLS, all PEM."""

    certificate: Path
    """The server's certificate, those that lead to its CA after it."""
    key: Path
    """The certificate's private key."""
    client_ca: Path | None = None
    """Mutual TLS: only clients with a certificate of this CA get in. None: any."""

    def credentials(self) -> grpc.ServerCredentials:
        """Returns what gRPC listens with.

        Raises:
            CannotListen: a file cannot be read, or is not what it should be.
        """
        key = _pem(self.key, "--tls-key", "PRIVATE KEY")
        certificate = _pem(self.certificate, "--tls-cert", "CERTIFICATE")
        ca = _pem(self.client_ca, "--tls-client-ca", "CERTIFICATE") if self.client_ca else None
        return grpc.ssl_server_credentials(
            [(key, certificate)], root_certificates=ca, require_client_auth=ca is not None
        )


@dataclass(frozen=True, slots=True)
class Security:
    """Who may reach a server, and how."""

    tls: Tls | None = None
    tokens: Tokens = field(default_factory=Tokens)
    insecure: bool = False
    """Whether a server may be open to a network without TLS or without a token."""


def is_local(listen: str) -> bool:
    """Whether only this machine can reach `listen`, a `host:port` or `unix:/path`."""
    if listen.startswith("unix:"):
        return True
    host = listen.rpartition(":")[0].strip("[]").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check(listen: str, security: Security) -> None:
    """Raises CannotListen where `listen` would be open to a network without protection."""
    if security.insecure or is_local(listen):
        return
    missing = []
    if security.tls is None:
        missing.append("TLS (--tls-cert and --tls-key: `mltetris cert` makes a pair to try with)")
    if not security.tokens.required:
        missing.append("a token (--operator-token-file, or MLTETRIS_OPERATOR_TOKEN)")
    if missing:
        raise CannotListen(
            f"{listen} can be reached from other machines, and there is no "
            f"{' and no '.join(missing)}. "
            "Listen on 127.0.0.1, or say --insecure if everybody may do everything"
        )


def _pem(path: Path, flag: str, kind: str) -> bytes:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise CannotListen(f"{flag} {path}: {error.strerror}") from error
    if f"{kind}-----".encode() not in text:
        raise CannotListen(f"{flag} {path}: there is no {kind} in PEM format in it")
    return text
