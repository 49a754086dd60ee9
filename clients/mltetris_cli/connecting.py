"""A connection to the server that the settings name, or to one of our own."""

from __future__ import annotations

import os

from mltetris_client import Trainer, connect
from mltetris_client.access import TOKEN_VARIABLE, VARIABLES

from mltetris_cli.settings import Settings


def open_trainer(settings: Settings, *, timeout: float = 30.0) -> Trainer:
    """Opens the connection; use it in a ``with``.

    Raises:
        MlTetrisError: address, token or files of TLS are not what they should be.
    """
    access = settings.access
    return connect(
        settings.server,
        timeout=timeout,
        token_file=access.get("token_file"),
        tls_ca=access.get("tls_ca"),
        tls_cert=access.get("tls_cert"),
        tls_key=access.get("tls_key"),
    )


def open_own(address: str) -> Trainer:
    """Opens a connection to a server that this process has started; use it in a ``with``.

    What the environment says of tokens and TLS is for other servers, but for the token that ours
    was told to ask for.
    """
    return connect(address, token=_own_token(), token_file="", tls_ca="", tls_cert="", tls_key="")


def own_environment() -> dict[str, str]:
    """The environment of a client, as a process of its own, of a server that we have started."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return environment | {TOKEN_VARIABLE: _own_token()}


def _own_token() -> str:
    return os.environ.get("MLTETRIS_OPERATOR_TOKEN", "")
