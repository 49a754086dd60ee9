"""`mltetris ps`, `show` and `rm`: looking at runs and removing them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mltetris_cli.exits import CliError, ExitCode
from mltetris_cli.options import OutputOption, RunArgument, ServerOption

if TYPE_CHECKING:
    from mltetris_client.history import RunOrder
    from mltetris_client.names import AlgorithmName, KindName, StateName

_STATES = "queued, starting, running, paused, stopping, succeeded, stopped, failed"
_KINDS = "training, demo, benchmark, simulation"


class RunSort(StrEnum):
    """What runs are ordered by."""

    CREATED = "created"
    ENDED = "ended"
    LINES = "lines"
    PLACEMENTS = "placements"
    NAME = "name"


ORDERS: dict[RunSort, RunOrder] = {
    RunSort.CREATED: "create_time",
    RunSort.ENDED: "end_time",
    RunSort.LINES: "best_lines",
    RunSort.PLACEMENTS: "placements",
    RunSort.NAME: "display_name",
}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("ps", short_help="List runs.", rich_help_panel="Watch")(ps)
    app.command("show", short_help="Show everything about a run.", rich_help_panel="Watch")(show)
    app.command("rm", short_help="Remove ended runs.", rich_help_panel="Steer")(rm)


def ps(
    context: typer.Context,
    all_runs: Annotated[
        bool, typer.Option("--all", "-a", help="All, not only the newest 20.")
    ] = False,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE", help=f"Only in this state: {_STATES}. Repeatable.", show_default=False
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", help=f"Only of this kind: {_KINDS}. Repeatable.", show_default=False
        ),
    ] = None,
    text: Annotated[
        str, typer.Option(metavar="TEXT", help="Only with this in the id or the name.")
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Only created since: 90s, 30m, 12h, 2d, 3w ago, or 2026-01-31."
        ),
    ] = "",
    algorithm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ALGORITHM",
            help="Only trainings with this: td, dqn, ppo, cem. Repeatable.",
            show_default=False,
        ),
    ] = None,
    slot: Annotated[str, typer.Option(metavar="SLOT", help="Only made of this slot.")] = "",
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="Only that made this dataset or learn from it.")
    ] = "",
    suite: Annotated[
        str, typer.Option(metavar="SUITE", help="Only benchmarks of this suite.")
    ] = "",
    sort: Annotated[
        RunSort,
        typer.Option(help="By creation, end, best evaluation's lines, placements or name."),
    ] = RunSort.CREATED,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The other way round.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most runs. (default 20)", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only ids.")] = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris ps
      mltetris ps --state running --state paused
      mltetris ps -q --state failed | xargs -r mltetris rm
      mltetris ps --since 2d --algorithm td --sort lines

    Lists runs, newest first unless told otherwise.
    """
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.moments import since_when
    from mltetris_cli.runs_view import table
    from mltetris_cli.session import Session

    session = Session(context, server, output)
    created_after = since_when(since) if since else None
    with session.connect() as trainer:
        runs = trainer.list_runs(
            # The SDK refuses names that are none.
            kinds=cast("list[KindName]", kind or []),
            states=cast("list[StateName]", state or []),
            text=text,
            created_after=created_after,
            algorithms=cast("list[AlgorithmName]", algorithm or []),
            slot=slot,
            dataset=dataset,
            suite=suite,
            order_by=ORDERS[sort],
            # Of names A is first, of everything else the greatest.
            ascending=reverse != (sort is RunSort.NAME),
            limit=limit or (None if all_runs else 20),
        )
    if quiet and not session.json:
        for run in runs:
            print(run.id)
        return
    session.show(lambda: [to_json(run) for run in runs], lambda: table(runs))


def show(
    context: typer.Context,
    run: RunArgument = None,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris show                      the newest run
      mltetris show train-7k -o json

    Shows what a run was asked, how far it is, its checkpoints and, where it
    failed, why.
    """
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.resolve import resolve_run
    from mltetris_cli.runs_view import details
    from mltetris_cli.session import Session

    session = Session(context, server, output)
    with session.connect() as trainer:
        found = resolve_run(trainer, run)
    session.show(lambda: to_json(found), lambda: details(found))


def rm(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Ids, or beginnings of ids.", show_default=False),
    ] = None,
    ended: Annotated[bool, typer.Option("--ended", help="Every run that has ended.")] = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris rm train-7k
      mltetris rm --ended

    Removes ended runs with their history and checkpoints. Slots saved from them
    stay.
    """
    from mltetris_cli.resolve import resolve_run
    from mltetris_cli.session import Session

    if bool(runs) == ended:
        raise CliError("name runs, or say --ended", "List runs with `mltetris ps`.", ExitCode.USAGE)
    session = Session(context, server, output)
    removed: list[str] = []
    with session.connect() as trainer:
        if ended:
            found = trainer.list_runs(states=("succeeded", "stopped", "failed"))
        else:
            found = [resolve_run(trainer, run) for run in runs or ()]
        for run in found:
            trainer.delete_run(run.id)
            removed.append(run.id)
            if not session.json:
                print(run.id, flush=True)
    if session.json:
        session.show(lambda: {"removed": removed}, str)
