"""`mltetris history` and `lineage`: what was, and what came of what."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
