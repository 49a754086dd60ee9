"""Levels of metric points: which of them show a run's curves over any length of time.

A point has level n where it has the least or the greatest value of some curve within its stretch of
2**n sequences (1..2**n, 2**n+1..2*2**n, and so on); the extremes of a stretch are among those of
its halves. So the points of level n and above are the whole run, thinned so that every peak stays,
and there are the fewer the greater n is. A history that is shown, and one that has grown too long,
are thinned by the same levels, and thinning twice is the same as thinning once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from mltetris_api.v1 import run_pb2
from sqlalchemy import Connection, bindparam, select, update

from mltetris_server.storage.schema import metric_points

LEAST: Final = 5
"""The lowest level above 0: shorter stretches have hardly fewer extremes than points."""
FIRST: Final = 62
"""The level of a run's first point, which always stays."""

ENDLESS: Final = 2**62
"""A sequence that no point has."""

_STRETCHES: Final = 8
"""Stretches of ``LEAST`` that get their levels at once at most: some milliseconds."""

_CURVES: Final = (
    "mean_lines",
    "loss",
    "mean_reward",
    "placements_per_second",
    "warm_start_loss",
    "warm_start_accuracy",
    "lines",
)

Values: TypeAlias = tuple[float | None, ...]


class Sample(NamedTuple):
    """A point as far as thinning is concerned: its sequence, and its value of every curve."""

    sequence: int
    values: Values


class Part(NamedTuple):
    """The sequences ``low``..``high``, of which the points of ``level`` and above are taken."""

    low: int
    high: int
    level: int


def sample(point: run_pb2.MetricPoint) -> Sample:
    """The values of ``point``, most important curve first: the lines of its evaluation."""
    evaluated = point.evaluation.mean_lines if point.HasField("evaluation") else None
    rest = (getattr(point, name) if point.HasField(name) else None for name in _CURVES)
    # What is no number is neither less nor greater than anything.
    values = (None if value != value else value for value in (evaluated, *rest))
    return Sample(point.sequence, tuple(values))


def parts(leveled: int, level: int) -> list[Part]:
    """All sequences at ``level``, as far as its stretches are whole, then at lower and lower ones.

    Args:
        leveled: up to which sequence the levels are known; what lies beyond is taken as it is.
    """
    found = []
    low = 1
    for n in range(level, LEAST - 1, -1):
        high = leveled >> n << n
        if high >= low:
            found.append(Part(low, high, n))
            low = high + 1
    return [*found, Part(low, ENDLESS, 0)]


def extremes(samples: Sequence[Sample], level: int, curves: int | None = None) -> set[int]:
    """The sequences of the extremes of each stretch of 2**``level``; samples are in order.

    Args:
        curves: how many curves are looked at, the most important first; None: all.
    """
    kept: set[int] = set()
    start = 0
    while start < len(samples):
        stretch = (samples[start].sequence - 1) >> level
        end = start + 1
        while end < len(samples) and (samples[end].sequence - 1) >> level == stretch:
            end += 1
        for column in list(zip(*(s.values for s in samples[start:end]), strict=True))[:curves]:
            present = [(value, i) for i, value in enumerate(column, start) if value is not None]
            if present:
                # The first of equals, so that halves agree with their whole.
                kept.add(samples[min(present)[1]].sequence)
                kept.add(samples[max(present, key=itemgetter(0))[1]].sequence)
        start = end
    return kept


def thinned(samples: Sequence[Sample], most: int, level: int = 0) -> set[int]:
    """The sequences of at most ``most`` (at least 4) samples: first, last, and extremes.

    Args:
        level: of what the samples are extremes already.
    """
    if len(samples) <= most:
        return {s.sequence for s in samples}
    ends = {samples[0].sequence, samples[-1].sequence}
    span = (samples[-1].sequence - 1).bit_length()
    for n in range(max(level, 1), span + 1):
        kept = extremes(samples, n) | ends
        if len(kept) <= most:
            return kept
        samples = [s for s in samples if s.sequence in kept]
    curves = range(len(samples[0].values))
    present = [i for i in curves if any(s.values[i] is not None for s in samples)]
    chosen = [Sample(s.sequence, tuple(s.values[i] for i in present)) for s in samples]
    return extremes(chosen, span, (most - 2) // 2) | ends


def raise_levels(connection: Connection, number: int, leveled: int, last: int) -> int:
    """Give the run's points their levels, as far as their stretches are whole.

    Args:
        leveled: up to which sequence that has been done.
        last: the newest sequence stored.

    Returns up to where it is done then: at most 8 stretches further, so that it takes little time.
    """
    step = 1 << LEAST
    end = min(last >> LEAST << LEAST, leveled + _STRETCHES * step)
    for top in range(leveled + step, end + 1, step):
        level = LEAST
        while True:
            _raise(connection, number, top, level)
            if top % (2 << level):
                break
            level += 1
    return max(leveled, end)


def _raise(connection: Connection, number: int, top: int, level: int) -> None:
    """Give level ``level`` to the extremes of the stretch that ends with sequence ``top``."""
    points = metric_points.c
    query = select(points.point).where(
        points.run_number == number,
        points.sequence.between(top - (1 << level) + 1, top),
        points.level >= (level - 1 if level > LEAST else 0),
    )
    blobs = connection.scalars(query.order_by(points.sequence))
    samples = [sample(run_pb2.MetricPoint.FromString(blob)) for blob in blobs]
    kept = extremes(samples, level)
    if kept:
        _set(connection, number, kept - {1}, level)
    if level == LEAST and top == 1 << LEAST:
        _set(connection, number, [1], FIRST)


def _set(connection: Connection, number: int, sequences: Iterable[int], level: int) -> None:
    statement = update(metric_points).where(
        metric_points.c.run_number == number, metric_points.c.sequence == bindparam("at")
    )
    rows = [{"at": sequence} for sequence in sequences]
    if rows:
        connection.execute(statement.values(level=level), rows)
