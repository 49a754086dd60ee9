"""The server's totals for people."""

from __future__ import annotations

from mltetris_api.v1 import run_pb2
from mltetris_client import Stats, name_of
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mltetris_cli.jsonify import seconds
from mltetris_cli.live import figures, words
from mltetris_cli.runs_view import printable


def table(stats: Stats) -> RenderableType:
    """Everything, a line each."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", no_wrap=True)
    grid.add_column()
    grid.add_row("up for", figures.span(seconds(stats.uptime)))
    grid.add_row("runs", figures.count(sum(counted.count for counted in stats.runs)))
    for kind in dict.fromkeys(counted.kind for counted in stats.runs):
        parts = (
            f"{figures.count(counted.count)} {name_of(run_pb2.RunState, counted.state)}"
            for counted in stats.runs
            if counted.kind == kind
        )
        grid.add_row(f"  {name_of(run_pb2.RunKind, kind)}", ", ".join(parts))
    grid.add_row("placements ever", figures.count(stats.placements))
    grid.add_row("games ever", figures.count(stats.games))
    grid.add_row("metric points", figures.count(stats.metric_points))
    grid.add_row("slots", figures.count(stats.slots))
    if stats.HasField("best_slot"):
        best = stats.best_slot
        lines = words.mean_word(best.evaluation)
        grid.add_row("  best", Text(f"{printable(best.name)}, {lines} lines"))
    grid.add_row("  active", Text(printable(stats.active_slot) or "-"))
    grid.add_row("datasets", figures.count(stats.datasets))
    disk = stats.disk
    grid.add_row("on disk", figures.size(disk.total_bytes))
    for label, size in (
        ("history", disk.history_bytes),
        ("runs", disk.runs_bytes),
        ("slots", disk.slots_bytes),
        ("datasets", disk.datasets_bytes),
    ):
        grid.add_row(f"  {label}", figures.size(size))
    return grid
