"""`mltetris bench`: comparing players."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from mltetris_cli.exits import CliError, ExitCode
from mltetris_cli.options import OutputOption, RestartsOption, ServerOption

if TYPE_CHECKING:
    from mltetris_client import Run, Trainer

    from mltetris_cli.session import Session

_RUN = "run"


class _PlayersGroup(TyperGroup):
    """A group whose command may be left out: what is no command is the first player."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the command `run` before players and options."""
        first = args[0] if args else ""
        if first and first not in self.commands and first not in ctx.help_option_names:
            args = [_RUN, *args]
        return super().parse_args(ctx, args)


bench_app = typer.Typer(cls=_PlayersGroup, no_args_is_help=True, rich_markup_mode="rich")

BenchmarkArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="A benchmark's id or the beginning of one. Default: the newest.",
        show_default=False,
    ),
]
SuiteOption = Annotated[
    str | None,
    typer.Option(metavar="SUITE", help="`mltetris bench suites` lists them.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(bench_app, name="bench", short_help="Compare players.", rich_help_panel="Start")


@bench_app.callback()
def bench() -> None:
    """\b
    Examples:
      mltetris bench starter bcts random       20 games each, on the same pieces
      mltetris bench mine bcts --suite standard-10x20-bag
      mltetris bench train-7k2m9q:best bcts --games 100 --height 10
      mltetris bench ls                        benchmarks
      mltetris bench show                      the newest one's table
      mltetris bench scores --player mine      over time
      mltetris slots ls --by standard-10x20-bag

    Compares players on the same pieces. A player is a slot, a reference player
    (bcts, dellacherie, dt10, random), or RUN:best, RUN:latest or RUN:final.
    `mltetris bench run --help` lists the options; `run` may be left out, unless
    the first player is called like one of the commands below.
    """


@bench_app.command(_RUN, short_help="Compare players (`run` may be left out).")
def run_(
    context: typer.Context,
    players: Annotated[
        list[str],
        typer.Argument(
            metavar="PLAYER",
            help="One to sixteen: slots, reference players, or RUN:best|latest|final.",
        ),
    ],
    suite: SuiteOption = None,
    games: Annotated[
        int | None,
        typer.Option(help="Games of each. (default the suite's, else 20)", show_default=False),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the pieces. (default the suite's, else drawn)", show_default=False
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(help="Columns. (default the first player's)", show_default=False),
    ] = None,
    height: Annotated[
        int | None,
        typer.Option(help="Rows. (default the first player's)", show_default=False),
    ] = None,
    rule: Annotated[
        Literal["gymnasium", "published"] | None,
        typer.Option(help="When a game is over. (default the first player's)", show_default=False),
    ] = None,
    randomizer: Annotated[
        Literal["bag7", "uniform"] | None,
        typer.Option(help="How pieces come. (default the first player's)", show_default=False),
    ] = None,
    max_lines: Annotated[
        int | None,
        typer.Option(
            help="Lines after which a game is cut off. (default 10,000)", show_default=False
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Games at once. (default one a core)", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option(help="A name for people.", show_default=False)] = "",
    request_id: Annotated[
        str,
        typer.Option(help="A key: the same one never starts a second run.", show_default=False),
    ] = "",
    restarts: RestartsOption = 0,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return at once, with the run's id.")
    ] = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris bench starter bcts random
      mltetris bench mine bcts --suite standard-10x20-bag
      mltetris bench bcts dt10 --suite literature-10x10 -o json
      mltetris bench mine train-7k2m9q:final --games 1000 --height 10 --detach

    Lets every player play the same games, spread over the machine's cores, and
    prints how each did and how every two compare. With the same seed the games
    are the same, whatever the machine. A suite fixes the board, the games and the
    seed: its scores are kept for `mltetris slots ls --by SUITE`.
    """
    from mltetris_client import specs

    from mltetris_cli.session import Session
    from mltetris_cli.starting import announce

    session = Session(context, server, output)
    spec = specs.benchmark(
        players,
        suite=suite,
        games=games,
        seed=seed,
        width=width,
        height=height,
        rule=rule,
        randomizer=randomizer,
        max_lines=max_lines,
        threads=threads,
    )
    with session.connect() as trainer:
        started = trainer.start_run(
            spec, display_name=name, request_id=request_id, restarts=restarts
        )
        if detach:
            announce(session, trainer, started, follow=False)
            return
        session.say(f"started {started.id}")
        _follow(session, trainer, started)


@bench_app.command("show", short_help="Show what came of a benchmark.")
def show(
    context: typer.Context,
    run: BenchmarkArgument = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="First wait for its end, as `bench` does.")
    ] = False,
    games: Annotated[bool, typer.Option("--games", help="Every game, too.")] = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris bench show                      the newest
      mltetris bench show bench-7k --follow    come back to one that goes on
      mltetris bench show bench-7k --games     and every game
      mltetris bench show bench-7k -o json

    Shows how every player did, so far or in the end, and how every two compare.
    """
    from mltetris_cli.session import Session

    session = Session(context, server, output)
    with session.connect() as trainer:
        found = _benchmark(trainer, run)
        if follow:
            _follow(session, trainer, found, games=games)
        else:
            _show(session, trainer, found, games=games)


@bench_app.command("ls", short_help="List benchmarks.")
def ls(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Most benchmarks.")] = 20,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris bench ls
      mltetris bench ls --limit 100 -o json

    Lists benchmarks, newest first. `mltetris rm RUN` removes one, and its scores.
    """
    from mltetris_cli.bench_view import runs_table
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.session import Session

    session = Session(context, server, output)
    with session.connect() as trainer:
        found = trainer.list_runs(kinds=["benchmark"], limit=limit)
    session.show(lambda: [to_json(run) for run in found], lambda: runs_table(found))


@bench_app.command("scores", short_help="List scores over time.")
def scores(
    context: typer.Context,
    suite: SuiteOption = None,
    player: Annotated[
        str, typer.Option(metavar="PLAYER", help="Only of players that were called so.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most scores.")] = 50,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris bench scores
      mltetris bench scores --suite standard-10x20-bag --player mine

    Lists the scores of official benchmarks, newest first: those that played all
    of a suite with its own games and seed. The newest of each model is in
    `mltetris slots ls --by SUITE`.
    """
    from mltetris_cli.bench_view import scores_table
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.session import Session

    session = Session(context, server, output)
    with session.connect() as trainer:
        found = trainer.list_benchmark_scores(suite=suite or "", player=player, limit=limit)
    session.show(lambda: [to_json(score) for score in found], lambda: scores_table(found))


@bench_app.command("suites", short_help="List suites.")
def suites(
    context: typer.Context, server: ServerOption = None, output: OutputOption = None
) -> None:
    """\b
    Examples:
      mltetris bench suites

    Lists the suites: fixed games, so that results of different days compare.
    """
    from mltetris_cli.bench_view import suites_table
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.session import Session

    session = Session(context, server, output)
    with session.connect() as trainer:
        found = trainer.list_benchmark_suites()
    session.show(lambda: [to_json(suite) for suite in found], lambda: suites_table(found))


def _follow(session: Session, trainer: Trainer, run: Run, *, games: bool = False) -> None:
    """Waits for the end of a benchmark and shows what came of it."""
    from mltetris_api.v1 import run_pb2

    from mltetris_cli.bench_progress import follow
    from mltetris_cli.invocation import command
    from mltetris_cli.live import words

    ended, watched = follow(trainer, run)
    if not watched:
        where = f" --server {session.settings.server}" if session.settings.server else ""
        session.say(
            f"{run.id} goes on; come back with: {command()} bench show {run.id} --follow{where}\n"
            f"stop it with: {command()} stop {run.id}{where}"
        )
        raise typer.Exit(ExitCode.INTERRUPT)
    _show(session, trainer, ended, games=games)
    if ended.state == run_pb2.RUN_STATE_FAILED:
        raise CliError(words.error_words(ended), f"See `{command()} show {run.id}`.")


def _benchmark(trainer: Trainer, text: str | None) -> Run:
    """The benchmark that ``text`` names; None: the newest."""
    from mltetris_cli.resolve import resolve_run

    if text is not None:
        found = resolve_run(trainer, text)
        if not found.HasField("benchmark"):
            raise CliError(
                f"{found.id} is no benchmark", "List them with `mltetris bench ls`.", ExitCode.USAGE
            )
        return found
    newest = trainer.list_runs(kinds=["benchmark"], limit=1)
    if not newest:
        raise CliError(
            "there are no benchmarks yet",
            "Begin one with `mltetris bench PLAYER PLAYER`.",
            ExitCode.NOT_FOUND,
        )
    return newest[0]


def _show(session: Session, trainer: Trainer, run: Run, *, games: bool) -> None:
    from mltetris_cli.bench_view import games_table, result
    from mltetris_cli.jsonify import to_json

    if not games:
        session.show(lambda: to_json(run), lambda: result(run))
        return
    from rich.console import Group

    played = trainer.list_episodes(run.id, ascending=True, limit=None)
    session.show(
        lambda: {**to_json(run), "games": [to_json(episode) for episode in played]},
        lambda: Group(result(run), "", games_table(run, played)),
    )
