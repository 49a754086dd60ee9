"""From what a person writes for a run to the run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mltetris_cli.exits import CliError, ExitCode

if TYPE_CHECKING:
    from mltetris_client import Run, Trainer

_ID = re.compile(r"[a-z0-9-]{1,64}")
_SHOWN = 4


def resolve_run(trainer: Trainer, text: str | None) -> Run:
    """The run that ``text`` names by its id or the beginning of one; None: the newest live one.

    Raises:
        CliError: there is no such run, or several.
        MlTetrisError: the server could not be asked.
    """
    if text is None:
        return newest_run(trainer)
    from mltetris_client import NotFound

    if not _ID.fullmatch(text):
        raise CliError(
            f"{text!r} is not a run's id (1 to 64 of a-z 0-9 -)",
            "List runs with `mltetris ps`.",
            ExitCode.USAGE,
        )
    try:
        return trainer.get_run(text)
    except NotFound:
        pass
    found = [run for run in trainer.list_runs() if run.id.startswith(text)]
    if not found:
        raise CliError(
            f"there is no run {text}", "List runs with `mltetris ps`.", ExitCode.NOT_FOUND
        )
    if len(found) > 1:
        names = ", ".join(run.id for run in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise CliError(
            f"{len(found)} runs begin with {text}: {names}{more}",
            "Write more of the id.",
            ExitCode.USAGE,
        )
    return found[0]


def newest_run(trainer: Trainer) -> Run:
    """The newest run that has not ended, else the newest.

    Raises:
        CliError: there are no runs.
        MlTetrisError: the server could not be asked.
    """
    runs = trainer.list_runs(
        states=("starting", "running", "paused", "stopping"), limit=1
    ) or trainer.list_runs(states=("queued",), limit=1)
    runs = runs or trainer.list_runs(limit=1)
    if not runs:
        raise CliError(
            "there are no runs yet", "Start one with `mltetris train`.", ExitCode.NOT_FOUND
        )
    return runs[0]
