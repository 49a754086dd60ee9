"""`mltetris cert`: certificates to try TLS with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mltetris_cli.options import OutputOption


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "cert",
        short_help="Make certificates to try TLS with.",
        rich_help_panel="Start",
    )(cert)


def cert(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")] = Path(
        "certs"
    ),
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name or address that clients will reach the server by, beside localhost and "
            "this machine's own name; may be repeated.",
            show_default=False,
        ),
    ] = None,
    client: Annotated[
        str,
        typer.Option(metavar="NAME", help="Whom the client's certificate is for."),
    ] = "client",
    days: Annotated[int, typer.Option(min=1, max=825, help="How long they are good for.")] = 365,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris cert                                  into ./certs
      mltetris cert certs --host tetris.example.org --host 192.0.2.7
      mltetris serve --listen 0.0.0.0:50051 \\
          --tls-cert certs/server.pem --tls-key certs/server-key.pem \\
          --operator-token-file operator.token
      mltetris --tls-ca certs/ca.pem --token-file operator.token ps

    Makes a CA, a certificate of the server and one of a client. They are for
    trying out and for a classroom; nobody else trusts them. Keys can be read
    by you alone; the CA's own is not kept.
    """
    from mltetris_cli.certificates import make_certificates
    from mltetris_cli.session import Session

    session = Session(context, output=output)
    made = make_certificates(folder, hosts=host or (), client=client, days=days, replace=force)

    def told() -> str:
        return "\n".join(
            (
                f"made {', '.join(path.name for path in made.files)} in {made.folder}, good for "
                f"{', '.join(made.hosts)} until {made.until:%Y-%m-%d}",
                f"server: --tls-cert {made.server_cert} --tls-key {made.server_key}",
                f"clients: --tls-ca {made.ca} (or MLTETRIS_TLS_CA)",
                f"only clients with a certificate: --tls-client-ca {made.ca}, and for clients "
                f"--tls-cert {made.client_cert} --tls-key {made.client_key}",
            )
        )

    session.show(made.as_json, told)
