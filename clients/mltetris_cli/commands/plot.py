"""`mltetris plot`: learning curves of runs as a picture."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Annotated

import typer

from mltetris_cli.exits import CliError, ExitCode
from mltetris_cli.options import OutputOption, ServerOption
from mltetris_cli.plotting.choices import GroupingName, MetricName, OverName

_SUFFIXES = (".png", ".svg", ".pdf")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)[x×](\d+(?:\.\d+)?)")
_SMALLEST_INCHES, _LARGEST_INCHES = 2.0, 40.0
_WHAT, _LOOK = "What is drawn", "How it looks"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("plot", short_help="Draw learning curves.", rich_help_panel="Watch")(plot)


def plot(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Ids, or beginnings of ids. Default: the newest training.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The newest N trainings.", show_default=False),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to: .png, .svg or .pdf.")
    ] = Path("curves.png"),
    metric: Annotated[
        MetricName,
        typer.Option(
            metavar="METRIC",
            help="lines (of games without exploration), reward, loss, speed, exploration or "
            "learning-rate.",
            rich_help_panel=_WHAT,
        ),
    ] = "lines",
    over: Annotated[
        OverName,
        typer.Option(help="The x axis; seconds: spent running.", rich_help_panel=_WHAT),
    ] = "placements",
    by: Annotated[
        GroupingName,
        typer.Option(
            help="What one curve is; several runs are their median and range.",
            rich_help_panel=_WHAT,
        ),
    ] = "run",
    log: Annotated[
        bool | None,
        typer.Option(
            "--log/--no-log",
            help="A logarithmic y axis. (default: for lines over more than two decades)",
            rich_help_panel=_LOOK,
            show_default=False,
        ),
    ] = None,
    log_x: Annotated[
        bool, typer.Option("--log-x", help="A logarithmic x axis.", rich_help_panel=_LOOK)
    ] = False,
    title: Annotated[
        str | None,
        typer.Option(
            help="Above the curves. (default: what they are)",
            rich_help_panel=_LOOK,
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="In inches.", rich_help_panel=_LOOK)
    ] = "8x4.5",
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris plot                      the newest training, as curves.png
      mltetris plot train-7k train-9x    two runs side by side
      mltetris plot --last 10 --by name  seeds that share a name as one curve
      mltetris plot --metric loss --over seconds --out loss.svg

    Draws learning curves into a file and writes its path. Of a run that goes on
    it takes what is there now.
    """
    if runs and last is not None:
        raise CliError("name runs, or say --last, not both", "", ExitCode.USAGE)
    inches = _inches(size)
    _check_file(out)
    if importlib.util.find_spec("matplotlib") is None:
        raise CliError(
            "plots need matplotlib, which is not installed",
            'Install it with `pip install "mltetris[plot]"`.',
        )
    from mltetris_cli.plotting.axes import spans_decades
    from mltetris_cli.plotting.drawing import Look, write
    from mltetris_cli.plotting.gathering import (
        families_of,
        find_trainings,
        nothing_to_draw,
        read_curves,
    )
    from mltetris_cli.plotting.naming import in_common
    from mltetris_cli.session import Session

    session = Session(context, server, output)
    with session.connect() as trainer:
        found = find_trainings(trainer, runs or (), last or 1)
        curves = read_curves(trainer, found, metric, over)
    for run in (run for run in found if run.id not in curves):
        missing = nothing_to_draw(run, metric)
        if runs or not curves:
            raise missing
        session.say(f"left out: {missing.message}")
    shown = [run for run in found if run.id in curves]
    if log is None:
        log = spans_decades(curves.values(), metric)
    families = families_of(shown, [curves[run.id] for run in shown], by, log_x=log_x, log_y=log)
    look = Look(metric, over, log, log_x, title, in_common(shown), inches)
    try:
        write(families, look, out)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CliError(f"{out} cannot be written: {reason}", "Choose another --out.") from error
    ids = [run.id for run in shown]
    session.show(lambda: {"file": str(out), "runs": ids}, lambda: str(out))


def _inches(text: str) -> tuple[float, float]:
    """Width and height from ``8x4.5``.

    Raises:
        CliError: it is no size, or an impractical one.
    """
    found = _SIZE.fullmatch(text.strip().lower())
    sides = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if not all(_SMALLEST_INCHES <= side <= _LARGEST_INCHES for side in sides):
        raise CliError(
            f"--size {text!r} is not WIDTHxHEIGHT, each {_SMALLEST_INCHES:.0f} to "
            f"{_LARGEST_INCHES:.0f} inches",
            "For example --size 8x4.5.",
            ExitCode.USAGE,
        )
    return sides


def _check_file(path: Path) -> None:
    """Looks, before anything is read, whether a picture can lie there.

    Raises:
        CliError: it is no picture's name, a folder, or in no folder.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise CliError(
            f"--out {str(path)!r} ends in none of {', '.join(_SUFFIXES)}",
            "The ending says what kind of picture it is to be.",
            ExitCode.USAGE,
        )
    if path.is_dir():
        raise CliError(f"--out {path} is a folder", "Name a file in it.", ExitCode.USAGE)
    if not path.parent.is_dir():
        raise CliError(f"there is no folder {path.parent}", "Make it, or choose another --out.")
