"""The doctor's findings for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mltetris_cli.checks import Check, Status

_MARKS = {
    Status.GOOD: Text("ok", style="green"),
    Status.NOTE: Text("note", style="yellow"),
    Status.BROKEN: Text("BROKEN", style="bold bright_red"),
}


def table(checks: Sequence[Check]) -> Table:
    """One row a check."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for check in checks:
        text = Text(check.found)
        if check.hint:
            text.append(f"\n{check.hint}", "bright_black")
        grid.add_row(_MARKS[check.status], check.name, text)
    return grid
