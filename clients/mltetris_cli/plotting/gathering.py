"""The runs that are asked for, and their curves, from the server."""

from __future__ import annotations

from collections.abc import Sequence

from mltetris_api.v1 import run_pb2
from mltetris_client import Run, Trainer

from mltetris_cli.exits import CliError, ExitCode
from mltetris_cli.live import words
from mltetris_cli.plotting.choices import GroupingName, MetricName, OverName
from mltetris_cli.plotting.curves import METRICS, Curve, curve_of
from mltetris_cli.plotting.families import Family, family_of, median_of
from mltetris_cli.plotting.naming import grouped
from mltetris_cli.resolve import resolve_run

# A server that goes away meanwhile is waited for this long.
_PATIENCE_S = 10.0


def find_trainings(trainer: Trainer, names: Sequence[str], last: int) -> list[Run]:
    """The trainings named by their ids or beginnings of ids; without names the newest ``last``.

    Each is there once, in the order of the names, or the oldest first.

    Raises:
        CliError: there is no such run, or it is no training.
        MlTetrisError: the server could not be asked.
    """
    if not names:
        newest = trainer.list_runs(kinds=("training",), limit=last)
        if not newest:
            raise CliError(
                "there are no trainings yet",
                "Start one with `mltetris train`.",
                ExitCode.NOT_FOUND,
            )
        return newest[::-1]
    runs = {run.id: run for run in (resolve_run(trainer, name) for name in names)}
    for run in runs.values():
        if run.kind != run_pb2.RUN_KIND_TRAINING:
            raise CliError(
                f"{run.id} is a {words.kind_word(run)}: only trainings have curves",
                "List runs with `mltetris ps --kind training`.",
                ExitCode.WRONG_STATE,
            )
    return list(runs.values())


def read_curves(
    trainer: Trainer, runs: Sequence[Run], metric: MetricName, over: OverName
) -> dict[str, Curve]:
    """The curves of runs, by their ids, as far as they are known now; empty ones are left out.

    Raises:
        MlTetrisError: the server could not be asked.
    """
    curves: dict[str, Curve] = {}
    for run in runs:
        points = trainer.stream_metrics(run.id, patience=_PATIENCE_S).history()
        curve = curve_of(points, metric, over)
        if len(curve):
            curves[run.id] = curve
    return curves


def nothing_to_draw(run: Run, metric: MetricName) -> CliError:
    """The error of a run that has no curve."""
    state = words.state_word(run)
    return CliError(
        f"{run.id} ({state}) has no {METRICS[metric].absent} to draw",
        f"`mltetris show {run.id}` tells how far it is.",
        ExitCode.WRONG_STATE,
    )


def families_of(
    runs: Sequence[Run],
    curves: Sequence[Curve],
    by: GroupingName,
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> list[Family]:
    """The curves as they are to be drawn: each for itself, or as medians of what belongs together.

    Args:
        runs: the runs.
        curves: of each of them, not empty.
        by: what belongs together.
        log_x: whether they are drawn over a logarithmic x axis.
        log_y: whether they are drawn over a logarithmic y axis.

    Raises:
        CliError: runs that belong together were never at the same x.
    """
    families: list[Family] = []
    for label, places in grouped(runs, by).items():
        members = tuple(curves[place] for place in places)
        if len(members) == 1:
            families.append(family_of(label, members[0]))
            continue
        middle = median_of(members, log_x=log_x, log_y=log_y)
        if not len(middle):
            raise CliError(
                f"the {len(members)} runs of {label} have no stretch in common",
                "Draw them one by one: leave out --by.",
            )
        families.append(Family(f"{label} ({len(members)} runs)", middle, members))
    return families
