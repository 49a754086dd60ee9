"""`mltetris up`: server, training and live view, in one."""

from __future__ import annotations

from typing import Annotated

import typer

from mltetris_cli.options import DataDirOption, OutputOption


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "up",
        short_help="Train an agent and watch it get good: server, training and view in one.",
        rich_help_panel="Start",
    )(up)


def up(
    context: typer.Context,
    target_lines: Annotated[
        float, typer.Option(help="Mean lines over 20 greedy games to reach.")
    ] = 1_000,
    max_seconds: Annotated[
        float, typer.Option(help="Seconds to train at most, pauses not counted.")
    ] = 180,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of pieces, weights and exploration. (default drawn)", show_default=False
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where the server listens. Default: 127.0.0.1:50051, or a free port.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDirOption = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep serving when the goal is reached.")
    ] = False,
    viewer: Annotated[bool, typer.Option("--viewer", help="Open the window, too.")] = False,
    show: Annotated[
        bool,
        typer.Option(
            "--show/--no-show",
            help="On a terminal: learn slowly at first, so that one can watch, and let the "
            "model play at the end.",
        ),
    ] = True,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris up                          to 1,000 lines, or 3 minutes
      mltetris up --target-lines 10000     aim higher
      mltetris up --seed 1 -o json         JSON lines, a summary last
      mltetris up --keep                   then go on serving

    Starts a server and a training, shows it live, and ends when the goal is
    reached or time is up. The best model is saved in a slot. Ctrl-C stops the
    training and keeps its model; a second Ctrl-C ends everything at once.
    """
    from mltetris_cli.session import Session
    from mltetris_cli.upping import Wishes, run_up

    session = Session(context, output=output, data_dir=data_dir)
    run_up(
        session,
        Wishes(
            target_lines=target_lines,
            max_seconds=max_seconds,
            seed=seed,
            listen=listen,
            keep=keep,
            viewer=viewer,
            show=show,
        ),
    )
