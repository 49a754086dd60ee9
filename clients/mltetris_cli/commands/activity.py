"""`mltetris activity`: who did what."""

from __future__ import annotations

from typing import Annotated

import typer

from mltetris_cli.options import OutputOption, ServerOption


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("activity", short_help="Show who did what.", rich_help_panel="Watch")(activity)


def activity(
    context: typer.Context,
    run: Annotated[
        str, typer.Option(metavar="RUN", help="Only what was done to this run (its whole id).")
    ] = "",
    slot: Annotated[
        str, typer.Option(metavar="SLOT", help="Only what was done to this slot.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most entries.")] = 20,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris activity
      mltetris activity --slot mine
      mltetris activity --limit 1000 -o json

    Lists the calls that changed something or were to, newest first: by whom
    (role, and where from), what, and with what result. Where the server has
    tokens this takes the operator's.
    """
    from mltetris_cli.activity_view import table
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.session import Session

    session = Session(context, server, output)
    with session.connect() as trainer:
        entries = trainer.list_activity(run=run, slot=slot, limit=limit)
    session.show(lambda: [to_json(entry) for entry in entries], lambda: table(entries))
