"""What was, for people: curves in a line each, games, and lineages as trees."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

from mltetris_api.v1 import run_pb2
from mltetris_client import Episode, Lineage, LineageNode, MetricHistory, MetricPoint, Run, name_of
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from mltetris_cli.live import figures, words
from mltetris_cli.runs_view import ago, printable

_COLUMNS = 40
_BLOCKS, _PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=*#"
_CURVES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("mean_lines", "lines a game", figures.lines),
    ("mean_reward", "reward", figures.small),
    ("loss", "loss", figures.small),
    ("placements_per_second", "placements/s", figures.count),
    ("lines", "watched game", figures.count),
    ("exploration", "exploration", figures.small),
    ("learning_rate", "learning rate", figures.small),
    ("warm_start_loss", "warm-start loss", figures.small),
    ("warm_start_accuracy", "warm-start accuracy", figures.small),
)


def curves(run: Run, history: MetricHistory) -> RenderableType:
    """A run's metrics: one line for each curve."""
    points = history.points
    if not points:
        return f"{run.id} has no metrics yet"
    heading = (
        f"{run.id}  {words.state_word(run)}  {len(points):,} of {history.total_points:,} points, "
        f"{figures.count(points[0].placements)} to {figures.count(points[-1].placements)} "
        "placements"
    )
    table = Table(box=None, pad_edge=False, header_style="bright_black", show_edge=False)
    table.add_column("CURVE", no_wrap=True)
    table.add_column("", no_wrap=True)
    for title in ("FIRST", "LEAST", "GREATEST", "LAST"):
        table.add_column(title, justify="right", no_wrap=True)
    evaluated = [
        (point.sequence, point.evaluation.mean_lines)
        for point in points
        if point.HasField("evaluation")
    ]
    rows: list[tuple[str, Callable[[float], str], list[tuple[int, float]]]]
    rows = [("evaluation", figures.lines, evaluated)]
    rows += [(label, form, _values(points, name)) for name, label, form in _CURVES]
    first, last = points[0].sequence, points[-1].sequence
    for label, form, values in rows:
        heights = [value for _, value in values]
        if heights:
            ends = (heights[0], min(heights), max(heights), heights[-1])
            table.add_row(label, sparkline(values, first, last), *map(form, ends))
    return Group(Text(heading), table)


def sparkline(values: Sequence[tuple[int, float]], first: int, last: int) -> str:
    """Values over sequences ``first``..``last``: the greatest of each column."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    blocks = _BLOCKS if encoding == "utf8" else _PLAIN_BLOCKS
    columns: list[float | None] = [None] * _COLUMNS
    for sequence, value in values:
        place = (sequence - first) * (_COLUMNS - 1) // max(last - first, 1)
        known = columns[place]
        columns[place] = value if known is None else max(known, value)
    low = min(value for _, value in values)
    span = max(value for _, value in values) - low
    return "".join(
        " "
        if value is None
        else blocks[min(int((value - low) / span * len(blocks)), len(blocks) - 1) if span else 0]
        for value in columns
    )


def games(episodes: Sequence[Episode]) -> RenderableType:
    """Games as a table."""
    if not episodes:
        return "no games"
    table = Table(box=None, pad_edge=False, header_style="bright_black", show_edge=False)
    for title in ("GAME", "LINES", "PLACEMENTS", "SCORE"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("PLAYER", "VIEW", "ENDED"):
        table.add_column(title, no_wrap=True)
    for episode in episodes:
        more = "+" if episode.cut_off else ""
        table.add_row(
            figures.count(episode.number),
            figures.count(episode.lines) + more,
            figures.count(episode.placements),
            figures.count(episode.score),
            Text(printable(episode.player) or "-"),
            name_of(run_pb2.RunView, episode.view) or "-",
            ago(episode.end_time),
        )
    return table


def tree(lineage: Lineage) -> RenderableType:
    """A lineage as a tree: below each thing what it was made of."""
    nodes = lineage.nodes
    root = Tree(_label(nodes[0]))
    shown = {0}
    pending = [(root, nodes[0])]
    while pending:
        branch, node = pending.pop(0)
        for place in node.parents:
            parent = nodes[place]
            if place in shown:
                branch.add(Text(f"{_name(parent)} (see above)", style="bright_black"))
                continue
            shown.add(place)
            pending.append((branch.add(_label(parent)), parent))
    if lineage.truncated:
        return Group(root, Text("and more", style="bright_black"))
    return root


def _name(node: LineageNode) -> str:
    kind = node.WhichOneof("subject") or ""
    return f"{kind} {getattr(node, kind)}"


def _label(node: LineageNode) -> Text:
    label = Text(_name(node), style="bold" if node.exists else "")
    label.append(f"  {printable(node.summary)}", style="not bold bright_black")
    return label


def _values(points: Sequence[MetricPoint], name: str) -> list[tuple[int, float]]:
    return [
        (point.sequence, value)
        for point in points
        if point.HasField(name)  # type: ignore[arg-type]
        and math.isfinite(value := getattr(point, name))
    ]
