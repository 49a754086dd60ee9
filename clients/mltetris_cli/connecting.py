"""A connection to the server that the settings name."""

from __future__ import annotations

from mltetris_client import Trainer, connect

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
