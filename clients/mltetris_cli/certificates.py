"""A small certificate authority that signs two certificates and is forgotten."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mltetris_cli.exits import CliError, ExitCode

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_LOCAL = ("localhost", "127.0.0.1", "::1")
_CLOCKS_APART = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Certificates:
    """What was made."""

    folder: Path
    hosts: tuple[str, ...]
    """Names and addresses that the server's certificate is for."""
    until: datetime

    @property
    def ca(self) -> Path:
        """The CA's certificate."""
        return self.folder / "ca.pem"

    @property
    def server_cert(self) -> Path:
        """The server's certificate."""
        return self.folder / "server.pem"

    @property
    def server_key(self) -> Path:
        """Its private key."""
        return self.folder / "server-key.pem"

    @property
    def client_cert(self) -> Path:
        """A client's certificate."""
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        """Its private key."""
        return self.folder / "client-key.pem"

    @property
    def files(self) -> tuple[Path, ...]:
        """All files."""
        return self.ca, self.server_cert, self.server_key, self.client_cert, self.client_key

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "ca": str(self.ca),
            "server_cert": str(self.server_cert),
            "server_key": str(self.server_key),
            "client_cert": str(self.client_cert),
            "client_key": str(self.client_key),
            "hosts": list(self.hosts),
            "until": self.until.isoformat(),
        }


def make_certificates(
    folder: Path, *, hosts: Sequence[str], client: str, days: int, replace: bool
) -> Certificates:
    """Makes a CA's certificate, a server's and a client's with their keys, as PEM files.

    Args:
        folder: made where it is missing.
        hosts: names and addresses of the server, beside those of this machine.
        client: the name in the client's certificate, which the audit trail shows.
        days: from now.
        replace: whether files that are there are replaced.

    Raises:
        CliError: a file is there already or cannot be written, a name is none, or the package
            `cryptography` is missing.
    """
    try:
        from cryptography.x509.oid import ExtendedKeyUsageOID
    except ImportError as error:
        raise CliError(
            "the package cryptography is not installed",
            'Install it with `pip install "mltetris[server]"`.',
        ) from error
    if not client.strip() or len(client) > 64:
        raise CliError("--client must be a name of 1 to 64 characters", "", ExitCode.USAGE)
    now = datetime.now(UTC)
    names = tuple(dict.fromkeys((*_LOCAL, socket.gethostname().lower(), *hosts)))
    made = Certificates(folder, names, now + timedelta(days=days))
    there = [path for path in made.files if path.exists()]
    if there and not replace:
        raise CliError(f"{there[0]} is there already", "Say --force to replace it.")
    subjects = [_general_name(name) for name in names]
    signer = _Signer(now - _CLOCKS_APART, made.until)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(made.ca, signer.pem, 0o644)
        for certificate, key, name, usage, alternatives in (
            (
                made.server_cert,
                made.server_key,
                "mlTetris server",
                ExtendedKeyUsageOID.SERVER_AUTH,
                subjects,
            ),
            (
                made.client_cert,
                made.client_key,
                client.strip(),
                ExtendedKeyUsageOID.CLIENT_AUTH,
                [],
            ),
        ):
            signed, private = signer.sign(name, usage, alternatives)
            _write(key, private, 0o600)
            _write(certificate, signed, 0o644)
    except OSError as error:
        raise CliError(f"{error.filename or folder}: {error.strerror}") from error
    return made


class _Signer:
    """A CA whose key lives as long as this object."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        self._begin, self._end = begin, end
        self._key = _new_key()
        self._name = _name("mlTetris development CA")
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return _pem(self._certificate)

    def sign(
        self, name: str, usage: x509.ObjectIdentifier, alternatives: Sequence[x509.GeneralName]
    ) -> tuple[bytes, bytes]:
        """Returns a new certificate and its key, PEM."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization

        key = _new_key()
        builder = (
            self._builder(_name(name), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=False
            )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return _pem(builder.sign(self._key, hashes.SHA256())), private

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        from cryptography import x509

        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._begin)
            .not_valid_after(self._end)
        )


def _new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(text: str) -> x509.GeneralName:
    """A host as certificates have it. Raises CliError where it is none."""
    from cryptography import x509

    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(text.strip("[]")))
    labels = text.split(".")
    if (
        not all(
            label and len(label) < 64 and label.replace("-", "").replace("_", "").isalnum()
            for label in labels
        )
        or not text.isascii()
    ):
        raise CliError(
            f"{text!r} is no name of a host",
            "Write it as clients will, without port, for example tetris.example.org.",
            ExitCode.USAGE,
        )
    return x509.DNSName(text)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replaces the file; nobody else can read it at any moment where `mode` says so."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
