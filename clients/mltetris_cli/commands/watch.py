"""`mltetris watch`: the live view of any run. `mltetris viewer`: the window."""

from __future__ import annotations

from typing import Annotated

import typer

from mltetris_cli.options import OutputOption, RunArgument, ServerOption


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(
        "watch", short_help="Watch a run live, and steer it by key.", rich_help_panel="Watch"
    )(watch)
    app.command("viewer", short_help="Open the window.", rich_help_panel="Watch")(viewer)


def watch(
    context: typer.Context,
    run: RunArgument = None,
    boards: Annotated[
        bool, typer.Option("--boards", help="With -o json: board frames, too.")
    ] = False,
    max_fps: Annotated[float, typer.Option(help="Most frames a second.", min=0.1, max=120)] = 15.0,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris watch                     the newest run
      mltetris watch train-7k            the run whose id begins so
      mltetris watch -o json | jq .      everything that happens, as JSON lines

    Shows a run until it ends. Keys: space pauses and goes on, + and - change
    the pace, m the mode, v the view, s saves the model in a slot, q leaves.
    Ctrl-C leaves, too: the run goes on.
    """
    from mltetris_cli.resolve import resolve_run
    from mltetris_cli.session import Session
    from mltetris_cli.watching import watch_run

    session = Session(context, server, output)
    with session.connect() as trainer:
        watch_run(session, trainer, resolve_run(trainer, run), max_fps=max_fps, boards=boards)


def viewer(
    context: typer.Context,
    run: RunArgument = None,
    server: ServerOption = None,
) -> None:
    """\b
    Examples:
      mltetris viewer                    the newest run, in a window
      mltetris viewer train-7k --server localhost:50052

    Opens the pygame window. It follows the run and survives a restart of the
    server.
    """
    from mltetris_cli.resolve import resolve_run
    from mltetris_cli.server_process import wait_interruptibly
    from mltetris_cli.session import Session
    from mltetris_cli.window import open_window

    session = Session(context, server)
    with session.connect() as trainer:
        trainer.get_server_info()  # a window without a server would show nothing: say so here
        chosen = None if run is None else resolve_run(trainer, run).id
    process = open_window(session.settings.server, chosen, access=session.settings.access)
    try:
        code = wait_interruptibly(process)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if code != 0:
        raise typer.Exit(1)
