"""While the server was away: whether its workers went on, as long as they were promised to wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chaos.records import Kill, Seen, Server

MARGIN = 0.6
"""Of the grace: an absence that took less was surely short enough, on a slow machine too."""
CLOSE_S = 3.0
"""Two absences so close to each other may be one for a worker."""
_WORKING = ("RUNNING", "PAUSED")


@dataclass(frozen=True)
class Absence:
    """From `begin` to `end` no server answered; workers were to wait for `grace` seconds."""

    begin: float
    end: float
    grace: float

    @property
    def short(self) -> bool:
        """Whether every worker should still be there after it."""
        return self.end - self.begin < self.grace * MARGIN


def absences(servers: Iterable[Server]) -> list[Absence]:
    """When the server was away, close ones taken together."""
    found: list[Absence] = []
    down: Server | None = None
    for server in servers:
        if server.event == "down" and down is None:
            down = server
        elif server.event == "up" and down is not None:
            begin = down.time
            if found and begin - found[-1].end < CLOSE_S:
                begin = found.pop().begin
            found.append(Absence(begin, server.time, down.grace))
            down = None
    return found


def taken_back(
    runs: Mapping[str, Sequence[Seen]], kills: Sequence[Kill], servers: Iterable[Server]
) -> tuple[int, list[str]]:
    """How often a run went on after a short absence with the worker it had, and where it did not.

    Of runs that were working before, and that nobody killed a worker of.
    """
    kept = 0
    lost = []
    for absence in absences(servers):
        if not absence.short or any(
            kill.kind in ("machine", "server SIGTERM")
            and absence.begin - CLOSE_S < kill.time < absence.end + CLOSE_S
            for kill in kills
        ):
            continue
        for run, seen in runs.items():
            before = [one for one in seen if one.time < absence.begin]
            after = [one for one in seen if one.time >= absence.end]
            if not before or not after or any(kill.run == run for kill in kills):
                continue
            last = max(before, key=lambda one: one.revision)
            following = [one for one in after if one.revision > last.revision]
            if last.state not in _WORKING or not following:
                continue
            first = min(following, key=lambda one: one.revision)
            if first.reason == "SERVER_RESTARTED" or first.restarts > last.restarts:
                away = absence.end - absence.begin
                lost.append(
                    f"run {run}: its worker was given up after {away:.1f} s without a server"
                )
            elif first.state in _WORKING:
                kept += 1
    return kept, lost
