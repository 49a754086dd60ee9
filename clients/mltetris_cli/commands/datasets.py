"""`mltetris datasets`: keeping datasets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mltetris_cli.exits import CliError
from mltetris_cli.options import OutputOption, ServerOption

if TYPE_CHECKING:
    from mltetris_cli.session import Session

datasets_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(
        datasets_app, name="datasets", short_help="Keep datasets.", rich_help_panel="Keep"
    )


@datasets_app.callback()
def datasets() -> None:
    """\b
    Examples:
      mltetris datasets ls
      mltetris datasets show experts
      mltetris datasets export experts         for minari.load_dataset
      mltetris datasets rm experts

    Keeps what simulations have played (`mltetris sim`), until it is removed.
    """


@datasets_app.command("ls", short_help="List datasets, newest first.")
def ls(
    context: typer.Context,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most datasets. (default all)", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only names.")] = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris datasets ls
      mltetris datasets ls -q | xargs mltetris datasets rm

    Lists datasets, newest first: who played, how many games, how well.
    """
    from mltetris_cli.datasets_view import table
    from mltetris_cli.jsonify import to_json

    session = _session(context, server, output)
    with session.connect() as trainer:
        found = trainer.list_datasets(limit=limit)
    if quiet and not session.json:
        for dataset in found:
            print(dataset.name)
        return
    session.show(lambda: [to_json(dataset) for dataset in found], lambda: table(found))


@datasets_app.command("show", short_help="Show everything about a dataset.")
def show(
    context: typer.Context,
    name: NameArgument,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris datasets show experts
      mltetris datasets show experts -o json

    Shows who played what, and the dataset's files with their SHA-256.
    """
    from mltetris_cli.datasets_view import details
    from mltetris_cli.jsonify import to_json

    session = _session(context, server, output)
    with session.connect() as trainer:
        found = trainer.get_dataset(name)
    session.show(lambda: to_json(found), lambda: details(found))


@datasets_app.command("export", short_help="Write a dataset where Minari finds it.")
def export(
    context: typer.Context,
    name: NameArgument,
    root: Annotated[
        Path | None,
        typer.Argument(
            metavar="ROOT",
            help="A folder of datasets. Default: Minari's, $MINARI_DATASETS_PATH or "
            "~/.minari/datasets.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already.")
    ] = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris datasets export experts
      mltetris datasets export experts /data/minari --overwrite

    Writes a dataset into ROOT/mltetris/NAME-v0, whole or not at all; every SHA-256
    is checked. The folder goes to stdout. Then, in Python:
    minari.load_dataset("mltetris/NAME-v0").
    """
    from mltetris_client import AlreadyExists

    session = _session(context, server, output)
    with session.connect() as trainer, _progress() as progress:
        try:
            folder = trainer.export_dataset(name, root, overwrite=overwrite, progress=progress)
        except AlreadyExists as error:
            raise CliError(error.message, "Choose another root, or say --overwrite.") from error
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise CliError(
                f"{name} cannot be written: {where}{error.strerror or error}",
                "Choose another root, or free some space.",
            ) from error
    minari_id = f"{folder.parent.name}/{folder.name}"
    session.show(
        lambda: {"name": name, "path": str(folder), "minari_id": minari_id}, lambda: str(folder)
    )


@datasets_app.command("rm", short_help="Remove datasets.")
def rm(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="The datasets' names.")],
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris datasets rm old older

    Removes datasets for good, but none that a run still needs.
    """
    session = _session(context, server, output)
    with session.connect() as trainer:
        for name in names:
            trainer.delete_dataset(name)
            if not session.json:
                print(name, flush=True)
    if session.json:
        session.show(lambda: {"removed": names}, str)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Shows on stderr how much of an export has come; not where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda come, total: bar.update(task, completed=come, total=total)


def _session(context: typer.Context, server: str | None, output: object) -> Session:
    from mltetris_cli.session import Session
    from mltetris_cli.settings import Output

    assert output is None or isinstance(output, Output)
    return Session(context, server, output)
