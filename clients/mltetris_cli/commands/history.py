"""`mltetris history`, `episodes` and `lineage`: what was, and what came of what."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mltetris_cli.exits import CliError, ExitCode
from mltetris_cli.options import OutputOption, RunArgument, ServerOption, View


class EpisodeSort(StrEnum):
    """What games are ordered by."""

    TIME = "time"
    LINES = "lines"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    panel = "Watch"
    app.command("history", short_help="Show a run's metrics.", rich_help_panel=panel)(history)
    app.command("episodes", short_help="List a run's games.", rich_help_panel=panel)(episodes)
    app.command("lineage", short_help="Show what was made of what.", rich_help_panel=panel)(lineage)


def history(
    context: typer.Context,
    run: RunArgument = None,
    points: Annotated[
        int, typer.Option(min=10, max=10_000, metavar="N", help="Points at most.")
    ] = 500,
    after: Annotated[
        int, typer.Option(min=0, metavar="SEQUENCE", help="Only points after this one.")
    ] = 0,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris history                             the newest run
      mltetris history train-7k --points 2000 -o json > points.jsonl

    Shows how a run's metrics went, thinned by the server so that every peak
    stays; with `-o json` one point a line. `mltetris plot` draws them.
    """
    from mltetris_cli.history_view import curves
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.resolve import resolve_run
    from mltetris_cli.session import Session

    session = Session(context, server, output)
    with session.connect() as trainer:
        found = resolve_run(trainer, run)
        told = trainer.get_metric_history(found.id, max_points=points, after_sequence=after)
    if session.json:
        for point in told.points:
            session.emit(to_json(point))
        return
    session.show(dict, lambda: curves(found, told))


def episodes(
    context: typer.Context,
    run: RunArgument = None,
    player: Annotated[
        str, typer.Option(metavar="NAME", help="Only of this player, in a demo or a benchmark.")
    ] = "",
    view: Annotated[
        View | None, typer.Option(help="Only of this view.", show_default=False)
    ] = None,
    sort: Annotated[
        EpisodeSort, typer.Option(help="Newest first, or most lines first.")
    ] = EpisodeSort.TIME,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The other way round.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Most games.")] = 20,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris episodes                            the newest run's last games
      mltetris episodes bench-7k --player bcts --sort lines

    Lists games of a run. Of a training's own boards only a sample is kept.
    """
    from mltetris_cli.history_view import games
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.resolve import resolve_run
    from mltetris_cli.session import Session

    session = Session(context, server, output)
    with session.connect() as trainer:
        found = trainer.list_episodes(
            resolve_run(trainer, run).id,
            player=player,
            view=view,
            order_by="lines" if sort is EpisodeSort.LINES else "time",
            ascending=reverse,
            limit=limit,
        )
    session.show(lambda: [to_json(episode) for episode in found], lambda: games(found))


def lineage(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A slot, a run or a dataset.")],
    slot: Annotated[bool, typer.Option("--slot", help="It is a slot.")] = False,
    run: Annotated[bool, typer.Option("--run", help="It is a run.")] = False,
    dataset: Annotated[bool, typer.Option("--dataset", help="It is a dataset.")] = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris lineage mine
      mltetris lineage train-7k2m9q
      mltetris lineage games --dataset

    Shows what a slot, a run or a dataset was made of, and of what that was
    made. Without a flag NAME is looked for among slots, runs and datasets.
    """
    from mltetris_cli.history_view import tree
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.lineages import find_lineage
    from mltetris_cli.session import Session

    chosen = [kind for kind, yes in (("slot", slot), ("run", run), ("dataset", dataset)) if yes]
    if len(chosen) > 1:
        raise CliError("say one of --slot, --run and --dataset", exit_code=ExitCode.USAGE)
    session = Session(context, server, output)
    with session.connect() as trainer:
        told = find_lineage(trainer, name, chosen[0] if chosen else "")
    session.show(lambda: to_json(told), lambda: tree(told))
