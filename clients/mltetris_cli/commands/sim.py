"""`mltetris sim`: games that make a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mltetris_cli.exits import CliError
from mltetris_cli.options import (
    FollowOption,
    Observation,
    OutputOption,
    RestartsOption,
    ServerOption,
)

if TYPE_CHECKING:
    from mltetris_client import Trainer

    from mltetris_cli.session import Session


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("sim", short_help="Play games to make a dataset.", rich_help_panel="Start")(sim)


def sim(
    context: typer.Context,
    player: Annotated[
        str | None,
        typer.Argument(
            metavar="PLAYER",
            help="A slot, a reference player (bcts, dellacherie, dt10, random), or RUN:best, "
            "RUN:latest, RUN:final. Default: the active slot.",
            show_default=False,
        ),
    ] = None,
    games: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Games to play. (default 100 without --placements)",
            show_default=False,
        ),
    ] = None,
    placements: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Placements to make; games still going then are cut off.",
            show_default=False,
        ),
    ] = None,
    exploration: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Probability of a random placement. (default 0)", show_default=False
        ),
    ] = None,
    observation: Annotated[
        Observation | None,
        typer.Option(help="What is kept of each state. (default bcts)", show_default=False),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The dataset's name. (default the player's and the run's id)",
            show_default=False,
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(min=4, max=32, help="Columns. (default the player's)", show_default=False),
    ] = None,
    height: Annotated[
        int | None,
        typer.Option(min=4, max=40, help="Rows. (default the player's)", show_default=False),
    ] = None,
    rule: Annotated[
        Literal["gymnasium", "published"] | None,
        typer.Option(help="When a game is over. (default the player's)", show_default=False),
    ] = None,
    randomizer: Annotated[
        Literal["bag7", "uniform"] | None,
        typer.Option(help="How pieces come. (default the player's)", show_default=False),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, help="Seed of pieces and exploration. (default drawn)", show_default=False
        ),
    ] = None,
    boards: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Boards a core plays in turn. (default 8)", show_default=False
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Cores to play on. (default all there are)", show_default=False
        ),
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
      mltetris sim bcts --placements 1000000 --dataset experts --follow
      mltetris sim --games 500                  the active slot
      mltetris sim dt10 --games 50 --width 10 --height 10 --rule published
      mltetris sim starter --exploration 0.05 --observation board
      mltetris sim train-7k2m9q:latest --games 20

    Plays games at full speed and keeps them as a dataset, for trainings and for
    Minari. Returns at once with the run's id on stdout; --follow shows how far
    it is, and writes the dataset's name to stdout at the end. What was played
    when it is stopped is kept.
    """
    from mltetris_client import specs

    from mltetris_cli.session import Session
    from mltetris_cli.starting import announce

    session = Session(context, server, output)
    spec = specs.simulation(
        player=player,
        games=games,
        placements=placements,
        exploration=exploration,
        observation=observation,
        dataset=dataset,
        width=width,
        height=height,
        rule=rule,
        randomizer=randomizer,
        seed=seed,
        boards=boards,
        threads=threads,
    )
    with session.connect() as trainer:
        run = trainer.start_run(spec, display_name=name, request_id=request_id, restarts=restarts)
        announce(session, trainer, run, follow=follow, progress_only=True)
        if follow:
            _tell_dataset(session, trainer, run.id)


def _tell_dataset(session: Session, trainer: Trainer, run_id: str) -> None:
    """Writes the name of the dataset that a simulation has made to stdout."""
    result = trainer.get_run(run_id).simulation_result
    if not result.stored:
        raise CliError(
            f"{run_id} made no dataset: it ended before there was anything to keep",
            "Start it again with more time.",
        )
    if not session.json:
        print(result.dataset, flush=True)
