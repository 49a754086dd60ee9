"""Totals that outlive the runs they were made by: placements and games, counted as they are made.

A run's metrics say how far it is, and may count from somewhere: a training that goes on from a
model has that model's placements and games, and one whose worker was restarted falls back to its
newest checkpoint. So each run's row says up to where it has been counted, and only what lies beyond
is added, in the transaction that stores the metric points that say so.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mltetris_api.v1 import run_pb2
from sqlalchemy import Connection, select, update

from mltetris_server.storage.schema import totals

UNKNOWN: Final = -1
"""In place of the games counted: they are counted from the next metric point on."""


class Counted(NamedTuple):
    """Up to where a run has been counted; ``games`` may be ``UNKNOWN``."""

    placements: int
    games: int


def at_first(run: run_pb2.Run) -> Counted:
    """From where a new run is counted."""
    return Counted(0, UNKNOWN if _goes_on(run) else 0)


def after_restart(run: run_pb2.Run) -> Counted:
    """From where it is counted with a new worker: its newest checkpoint, else its beginning."""
    if run.HasField("training") and run.checkpoints:
        return Counted(max(info.placements for info in run.checkpoints), UNKNOWN)
    return at_first(run)


def add(
    connection: Connection, before: Counted, point: run_pb2.MetricPoint, first_placements: int
) -> Counted:
    """Add to the totals what has been made since; returns up to where the run is counted then.

    Args:
        point: the newest of its metric points.
        first_placements: those of the model that it began with.
    """
    placements = max(before.placements, first_placements)
    games = point.episodes if before.games == UNKNOWN else before.games
    made = {
        "placements": max(0, point.placements - placements),
        "games": max(0, point.episodes - games),
    }
    for name, value in made.items():
        if value:
            connection.execute(
                update(totals).where(totals.c.name == name).values(value=totals.c.value + value)
            )
    return Counted(placements + made["placements"], games + made["games"])


def read(connection: Connection) -> dict[str, int]:
    """The totals by name: "placements" and "games"."""
    return {row.name: row.value for row in connection.execute(select(totals))}


def _goes_on(run: run_pb2.Run) -> bool:
    return run.training.WhichOneof("start_from") is not None
