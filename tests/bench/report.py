"""What a benchmark has to say: rows of a table, and the same as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One figure. ``wanted`` is the bound it is held against, as text; empty: none."""

    name: str
    value: float
    unit: str
    wanted: str = ""
    note: str = ""


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of `values` lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def as_table(rows: Sequence[Row]) -> str:
    """Aligned text, one row a line."""
    cells = [("what", "measured", "wanted", "how")]
    cells += [(row.name, _figure(row), row.wanted, row.note) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def as_json(rows: Sequence[Row]) -> str:
    """One JSON array."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def _figure(row: Row) -> str:
    whole = float(row.value).is_integer()
    digits = 0 if whole or abs(row.value) >= 100 else 1 if abs(row.value) >= 10 else 3
    return f"{row.value:,.{digits}f} {row.unit}".rstrip()
