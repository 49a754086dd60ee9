"""`mltetris train`: starts a training."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from mltetris_cli.hyperparameters import with_hyperparameters
from mltetris_cli.options import (
    Algorithm,
    Features,
    FollowOption,
    Mode,
    OutputOption,
    RestartsOption,
    ServerOption,
    View,
)

_BUDGET = "When it ends (default: when stopped)"
_START = "What it goes on from"
_DATA = "What it learns from first"
_GAME = "The game"
_EXAM = "How it is examined"
_LEARNING = "Learning"
_SHOW = "How it is shown"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("train", short_help="Start a training.", rich_help_panel="Start")(
        with_hyperparameters(train)
    )


def _option(help: str, panel: str, default: str | None = None) -> typer.models.OptionInfo:
    """An option that is not sent unless given: its default is the server's."""
    option: typer.models.OptionInfo = typer.Option(
        help=help if default is None else f"{help} (default {default})",
        rich_help_panel=panel,
        show_default=False,
    )
    return option


def train(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="A name for people.", show_default=False)] = "",
    request_id: Annotated[
        str,
        typer.Option(help="A key: the same one never starts a second run.", show_default=False),
    ] = "",
    restarts: RestartsOption = 0,
    follow: FollowOption = False,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of everything drawn. (default drawn)", show_default=False),
    ] = None,
    target_lines: Annotated[
        float | None, _option("Mean lines of a greedy evaluation to reach.", _BUDGET)
    ] = None,
    max_placements: Annotated[int | None, _option("Placements to train for.", _BUDGET)] = None,
    max_seconds: Annotated[
        float | None, _option("Seconds to train, pauses not counted.", _BUDGET)
    ] = None,
    from_slot: Annotated[
        str | None,
        typer.Option(
            metavar="SLOT",
            help="A slot; with cem also a reference player, such as bcts.",
            rich_help_panel=_START,
        ),
    ] = None,
    from_run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN[:best|latest|final]",
            help="A run's checkpoint; the best where none is named.",
            rich_help_panel=_START,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A dataset of somebody's games (mltetris datasets ls).",
            rich_help_panel=_DATA,
        ),
    ] = None,
    dataset_method: Annotated[
        Literal["cloning", "replay"] | None,
        _option("Make the same placements; or, td, see the same games.", _DATA, "cloning"),
    ] = None,
    dataset_epochs: Annotated[int | None, _option("Passes over it.", _DATA, "3")] = None,
    dataset_placements: Annotated[
        int | None, _option("Placements of it at most.", _DATA, "10,000")
    ] = None,
    dataset_learning_rate: Annotated[
        float | None, _option("Step size of cloning.", _DATA, "0.01")
    ] = None,
    algorithm: Annotated[Algorithm | None, _option("How it learns.", _LEARNING, "td")] = None,
    features: Annotated[Features | None, _option("What it sees.", _LEARNING, "bcts")] = None,
    threads: Annotated[int | None, _option("Threads td and cem use.", _LEARNING, "1")] = None,
    width: Annotated[int | None, _option("Columns, 4..32.", _GAME, "10")] = None,
    height: Annotated[int | None, _option("Rows, 4..40.", _GAME, "20")] = None,
    rule: Annotated[
        Literal["gymnasium", "published"] | None, _option("When it is over.", _GAME, "gymnasium")
    ] = None,
    randomizer: Annotated[
        Literal["bag7", "uniform"] | None, _option("How pieces come.", _GAME, "bag7")
    ] = None,
    evaluation_games: Annotated[
        int | None, _option("Greedy games an evaluation, 1..1000.", _EXAM, "20")
    ] = None,
    evaluation_period: Annotated[
        float | None, _option("Seconds of training between two.", _EXAM, "1")
    ] = None,
    evaluation_max_lines: Annotated[
        int | None, _option("Lines after which a game is cut off.", _EXAM, "2.5 x the target")
    ] = None,
    evaluation_seed: Annotated[
        int | None, _option("Seed of the first game.", _EXAM, "from --seed")
    ] = None,
    checkpoint_period: Annotated[
        float | None,
        typer.Option(
            help="Seconds between two `latest` checkpoints. (default 15)", show_default=False
        ),
    ] = None,
    mode: Annotated[Mode | None, _option("Paced for the eye, or not.", _SHOW, "visual")] = None,
    view: Annotated[
        View | None, _option("The policy's game, or the training's.", _SHOW, "showcase")
    ] = None,
    placements_per_second: Annotated[
        float | None, _option("Pace of the watched game, 0.1..1000.", _SHOW, "8")
    ] = None,
    max_training_rate: Annotated[
        float | None,
        _option("Placements a second to learn from at most.", _SHOW, "0: full speed"),
    ] = None,
    server: ServerOption = None,
    output: OutputOption = None,
    **hyperparameters: Any,
) -> None:
    """\b
    Examples:
      mltetris train                                      until you stop it
      mltetris train --seed 1 --target-lines 1000 --follow
      mltetris train --from-slot starter --learning-rate 0.001
      mltetris train --algorithm cem --features dt --threads 2 --rule published
      mltetris train --algorithm ppo --entropy-weight 0.01
      mltetris train --dataset bcts-games    first from games that were played
      mltetris train --from-run train-7k2m9q:latest --max-seconds 60
      mltetris train --restarts 10      overnight: goes on if its process dies

    Starts a training and returns at once with its id on stdout; --follow
    watches it. What is not given takes the server's default, which `mltetris
    show` then tells.
    """
    from mltetris_client.specs import training

    from mltetris_cli.session import Session
    from mltetris_cli.starting import announce

    session = Session(context, server, output)
    spec = training(
        seed=seed,
        target_lines=target_lines,
        max_placements=max_placements,
        max_seconds=max_seconds,
        from_slot=from_slot,
        from_run=from_run,
        dataset=dataset,
        dataset_method=dataset_method,
        dataset_epochs=dataset_epochs,
        dataset_placements=dataset_placements,
        dataset_learning_rate=dataset_learning_rate,
        algorithm=algorithm,
        features=features,
        width=width,
        height=height,
        rule=rule,
        randomizer=randomizer,
        evaluation_games=evaluation_games,
        evaluation_period=evaluation_period,
        evaluation_max_lines=evaluation_max_lines,
        evaluation_seed=evaluation_seed,
        threads=threads,
        checkpoint_period=checkpoint_period,
        mode=mode,
        view=view,
        placements_per_second=placements_per_second,
        max_training_rate=max_training_rate,
        **hyperparameters,
    )
    with session.connect() as trainer:
        run = trainer.start_run(spec, display_name=name, request_id=request_id, restarts=restarts)
        announce(session, trainer, run, follow=follow)
