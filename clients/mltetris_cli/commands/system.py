"""`mltetris system`: how the machine is."""

from __future__ import annotations

from typing import Annotated

import typer

from mltetris_cli.options import OutputOption, ServerOption


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("system", short_help="Show how the server's machine is.", rich_help_panel="Watch")(
        system
    )


def system(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    period: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds between two looks, with --follow.")
    ] = 1.0,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris system                          now
      mltetris system --follow                 until Ctrl-C
      mltetris system --follow --period 5 -o json

    Shows the use of each core, of memory, disk and graphics processors, and of
    each of the server's processes. What the machine does not tell is left out.
    With -o json it is one JSON value, with --follow one a line.
    """
    from mltetris_cli.session import Session
    from mltetris_cli.watching_system import follow_system, show_system

    session = Session(context, server, output)
    with session.connect() as trainer:
        if follow:
            follow_system(session, trainer, period)
        else:
            show_system(session, trainer)
