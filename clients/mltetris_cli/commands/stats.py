"""`mltetris stats`: the dashboard's totals."""

from __future__ import annotations

import typer

from mltetris_cli.options import OutputOption, ServerOption


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("stats", short_help="Show the server's totals.", rich_help_panel="Watch")(stats)


def stats(
    context: typer.Context,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris stats
      mltetris stats -o json | jq .placements

    Shows how many runs there are, what all runs there ever were have played, the
    best and the active slot, and what the data takes on disk.
    """
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.session import Session
    from mltetris_cli.stats_view import table

    session = Session(context, server, output)
    with session.connect() as trainer:
        told = trainer.get_stats()
    session.show(lambda: to_json(told), lambda: table(told))
