"""`mltetris demo`: slots playing for an audience."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mltetris_cli.options import FollowOption, Mode, OutputOption, RestartsOption, ServerOption


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo", short_help="Let one to four slots play.", rich_help_panel="Start")(demo)


def demo(
    context: typer.Context,
    slots: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SLOT",
            help="One to four slots, or reference players (bcts, dellacherie, dt10, random). "
            "Default: the active one.",
            show_default=False,
        ),
    ] = None,
    games: Annotated[int, typer.Option(help="Games to play; 0: until stopped.")] = 0,
    speed: Annotated[
        float | None,
        typer.Option(help="Placements a second, 0.1..1000. (default 4)", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the pieces. (default drawn)", show_default=False)
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(help="Paced for the eye, or not. (default visual)", show_default=False),
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Columns. (default 10)", show_default=False)
    ] = None,
    height: Annotated[
        int | None, typer.Option(help="Rows. (default 20)", show_default=False)
    ] = None,
    rule: Annotated[
        Literal["gymnasium", "published"] | None,
        typer.Option(help="When a game is over. (default gymnasium)", show_default=False),
    ] = None,
    randomizer: Annotated[
        Literal["bag7", "uniform"] | None,
        typer.Option(help="How pieces come. (default bag7)", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option(help="A name for people.", show_default=False)] = "",
    request_id: Annotated[
        str,
        typer.Option(help="A key: the same one never starts a second run.", show_default=False),
    ] = "",
    restarts: RestartsOption = 0,
    follow: FollowOption = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris demo --follow                  the active slot
      mltetris demo starter --games 1 --speed 20 -f
      mltetris demo starter novice --follow   a race, on the same pieces
      mltetris demo bcts --follow             a reference player
      mltetris demo bcts dt10 random -f

    Lets slots play and returns at once with the run's id on stdout; --follow
    watches it.
    """
    from mltetris_client import specs

    from mltetris_cli.session import Session
    from mltetris_cli.starting import announce

    session = Session(context, server, output)
    spec = specs.demo(
        slots or (),
        games=games,
        placements_per_second=speed,
        seed=seed,
        mode=mode,
        width=width,
        height=height,
        rule=rule,
        randomizer=randomizer,
    )
    with session.connect() as trainer:
        run = trainer.start_run(spec, display_name=name, request_id=request_id, restarts=restarts)
        announce(session, trainer, run, follow=follow)
