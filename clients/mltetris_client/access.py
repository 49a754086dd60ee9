"""What lets a client into a server: a token, and the files of TLS."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from mltetris_client.errors import InvalidArgument

TOKEN_VARIABLE = "MLTETRIS_TOKEN"
TOKEN_FILE_VARIABLE = "MLTETRIS_TOKEN_FILE"
TLS_CA_VARIABLE = "MLTETRIS_TLS_CA"
TLS_CERT_VARIABLE = "MLTETRIS_TLS_CERT"
TLS_KEY_VARIABLE = "MLTETRIS_TLS_KEY"
VARIABLES = frozenset(
    {TOKEN_VARIABLE, TOKEN_FILE_VARIABLE, TLS_CA_VARIABLE, TLS_CERT_VARIABLE, TLS_KEY_VARIABLE}
)
"""The environment's words on how to get in."""

_MOST_TOKEN_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Access:
    """A token and the files of TLS. What is None or empty is not used."""

    token: str = field(default="", repr=False)
    """Sent with every call."""
    tls_ca: Path | None = None
    """PEM: the CA that the server's certificate must be of. It makes the connection use TLS."""
    tls_cert: Path | None = None
    """PEM: our own certificate, for servers that ask for one."""
    tls_key: Path | None = None
    """PEM: its private key."""

    @classmethod
    def of(
        cls,
        *,
        token: str | None = None,
        token_file: Path | str | None = None,
        tls_ca: Path | str | None = None,
        tls_cert: Path | str | None = None,
        tls_key: Path | str | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> Access:
        """What is given, and for what is None the environment's word; an empty text is none.

        Raises:
            InvalidArgument: the token's file cannot be read or is empty, the token cannot be sent,
                or there is a certificate without its key.
        """

        def path(given: Path | str | None, variable: str) -> Path | None:
            chosen = given if given is not None else environment.get(variable)
            return Path(chosen).expanduser() if chosen else None

        if token is None and token_file is None:
            token = environment.get(TOKEN_VARIABLE)
        file = path(token_file, TOKEN_FILE_VARIABLE)
        if not token and file is not None:
            token = _read_token(file)
        token = (token or "").strip()
        if not all("!" <= character <= "~" for character in token):
            raise InvalidArgument("the token has characters that no token has")
        access = cls(
            token,
            path(tls_ca, TLS_CA_VARIABLE),
            path(tls_cert, TLS_CERT_VARIABLE),
            path(tls_key, TLS_KEY_VARIABLE),
        )
        if (access.tls_cert is None) != (access.tls_key is None):
            raise InvalidArgument(
                "a certificate of ours and its key go together",
                hint=f"Give both, or set {TLS_CERT_VARIABLE} and {TLS_KEY_VARIABLE}.",
            )
        return access

    @property
    def uses_tls(self) -> bool:
        """Whether its files are of use only with TLS."""
        return self.tls_ca is not None or self.tls_cert is not None

    def credentials(self) -> grpc.ChannelCredentials:
        """What a channel with TLS is opened with.

        Raises:
            InvalidArgument: a file cannot be read.
        """
        return grpc.ssl_channel_credentials(
            _read(self.tls_ca), _read(self.tls_key), _read(self.tls_cert)
        )


class _CallDetails(NamedTuple):
    """A call with our metadata; grpc only has the type to read from."""

    method: str
    timeout: float | None
    metadata: list[tuple[str, str | bytes]]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class TokenSender(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds a token to every call of a channel, whether it uses TLS or not."""

    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    def _send(
        self, continuation: Callable[[Any, Any], Any], details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        metadata = [*(details.metadata or ()), self._header]
        return continuation(
            _CallDetails(
                details.method,
                details.timeout,
                metadata,
                details.credentials,
                details.wait_for_ready,
                details.compression,
            ),
            request,
        )

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        """Sends the token along."""
        return self._send(continuation, client_call_details, request)

    def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        """See `intercept_unary_unary`."""
        return self._send(continuation, client_call_details, request)

    def intercept_stream_unary(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request_iterator: Any
    ) -> Any:
        """See `intercept_unary_unary`."""
        return self._send(continuation, client_call_details, request_iterator)

    def intercept_stream_stream(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request_iterator: Any
    ) -> Any:
        """See `intercept_unary_unary`."""
        return self._send(continuation, client_call_details, request_iterator)


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            token = file.read(_MOST_TOKEN_BYTES).decode("utf-8").strip()
    except OSError as error:
        raise InvalidArgument(f"the token's file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"the token's file {path} is no text") from error
    if not token:
        raise InvalidArgument(f"the token's file {path} is empty")
    return token


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from error
    if b"-----BEGIN " not in content:
        raise InvalidArgument(f"{path} is not in PEM format")
    return content
