"""From a name to the lineage of what has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mltetris_cli.exits import CliError, ExitCode

if TYPE_CHECKING:
    from mltetris_client import Lineage, Trainer


def find_lineage(trainer: Trainer, name: str, kind: str) -> Lineage:
    """The lineage of the slot, run or dataset called ``name``.

    Args:
        trainer: the connection.
        name: its name; of a run the beginning of its id will do.
        kind: "slot", "run" or "dataset"; empty: whichever there is, in this order.

    Raises:
        CliError: there is none.
        MlTetrisError: the server could not be asked.
    """
    from mltetris_client import InvalidArgument, NotFound

    from mltetris_cli.resolve import resolve_run

    if kind == "run":
        return trainer.get_lineage(run=resolve_run(trainer, name).id)
    if kind == "slot":
        return trainer.get_lineage(slot=name)
    if kind == "dataset":
        return trainer.get_lineage(dataset=name)
    for asked in ("slot", "run", "dataset"):
        try:
            return trainer.get_lineage(**{asked: name})
        except (NotFound, InvalidArgument):
            # Not every name may be a run's.
            continue
    try:
        return trainer.get_lineage(run=resolve_run(trainer, name).id)
    except CliError as error:
        if error.exit_code not in (ExitCode.NOT_FOUND, ExitCode.USAGE):
            raise
    raise CliError(
        f"there is no slot, run or dataset {name}",
        "List them with `mltetris slots ls`, `mltetris ps` and `mltetris datasets ls`.",
        ExitCode.NOT_FOUND,
    )
