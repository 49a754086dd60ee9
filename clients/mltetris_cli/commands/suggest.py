"""`mltetris suggest`: asking a slot what to do."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
