"""What is promised of runs, as pure checks of what was seen of them. Each returns sentences."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence

from chaos.records import Deleted, FinalRun, Points, Seen

STEPS = {
    "QUEUED": {"STARTING", "STOPPED"},
    "STARTING": {"STARTING", "RUNNING", "PAUSED", "STOPPED", "FAILED"},
    "RUNNING": {"STARTING", "PAUSED", "STOPPING", "SUCCEEDED", "STOPPED", "FAILED"},
    "PAUSED": {"STARTING", "RUNNING", "STOPPING", "SUCCEEDED", "STOPPED", "FAILED"},
    "STOPPING": {"SUCCEEDED", "STOPPED", "FAILED"},
    "SUCCEEDED": set(),
    "STOPPED": set(),
    "FAILED": set(),
}
"""From each state to those that may follow it: the promise, written down apart from the server."""

FINAL = {state for state, following in STEPS.items() if not following}


def _reachable() -> dict[str, set[str]]:
    reached = {state: set(following) for state, following in STEPS.items()}
    for _ in STEPS:
        for following in reached.values():
            following.update(*(reached[state] for state in list(following)))
    return reached


REACHABLE = _reachable()


def illegal_steps(run: str, seen: Iterable[Seen]) -> list[str]:
    """One revision is one content; a later one follows from it by the table."""
    found = []
    contents: dict[int, tuple[str, str, str, int, int]] = {}
    for one in seen:
        content = (one.state, one.reason, one.name, one.restarts, one.points)
        known = contents.setdefault(one.revision, content)
        if known != content:
            found.append(f"run {run}: revision {one.revision} was {known} and is {content}")
    ordered = sorted(contents)
    for before, after in itertools.pairwise(ordered):
        old, new = contents[before][0], contents[after][0]
        legal = STEPS[old] if after == before + 1 else REACHABLE[old]
        if new != old and new not in legal:
            found.append(f"run {run}: from {old} (revision {before}) to {new} (revision {after})")
    return found


def illegal_history(run: str, final: FinalRun) -> list[str]:
    """The stored states begin with QUEUED, follow the table and end with what the run is."""
    found = []
    changes = final.changes
    if not changes or changes[0][0] != "QUEUED":
        found.append(f"run {run}: its stored history begins with {changes[:1]}")
    for (old, _), (new, _) in itertools.pairwise(changes):
        # The same state again: with another reason.
        if new not in STEPS[old] and not (new == old and old not in FINAL):
            found.append(f"run {run}: its stored history goes from {old} to {new}")
    if changes and changes[-1] != (final.state, final.reason):
        found.append(f"run {run}: stored as {changes[-1]}, shown as {final.state}")
    return found


def lost_states(run: str, seen: Iterable[Seen], final: FinalRun) -> list[str]:
    """Every state that somebody was shown is in the stored history, in that order."""
    shown: list[tuple[str, str]] = []
    for one in sorted(seen, key=lambda s: s.revision):
        if not shown or shown[-1] != (one.state, one.reason):
            shown.append((one.state, one.reason))
    rest = iter(final.changes)
    for state in shown:
        if state not in rest:
            return [f"run {run}: shown as {state}, which its stored history {final.changes} lacks"]
    return []


def gone_back(run: str, seen: Sequence[Seen], final: FinalRun | None) -> list[str]:
    """Nobody is shown less than what somebody was shown before."""
    found = []
    answers = sorted((s for s in seen if s.since >= 0), key=lambda s: s.since)
    by_end = sorted(seen, key=lambda s: s.time)
    newest, next_one = 0, 0
    for answer in answers:
        while next_one < len(by_end) and by_end[next_one].time < answer.since:
            newest = max(newest, by_end[next_one].revision)
            next_one += 1
        if answer.revision < newest:
            found.append(f"run {run}: shown at revision {answer.revision} after {newest}")
    last = max((s.revision for s in seen), default=0)
    if final is not None and final.revision < last:
        found.append(f"run {run}: was at revision {last} and is at {final.revision}")
    return found


def skipped_events(streams: Iterable[Seen | Deleted]) -> list[str]:
    """On one stream of events each run goes on by one revision at a time."""
    found = []
    known: dict[tuple[str, int, str], int] = {}
    for one in streams:
        key = (one.source, one.connection, one.run)
        if isinstance(one, Deleted):
            known.pop(key, None)
            continue
        if key in known and one.revision != known[key] + 1:
            found.append(
                f"run {one.run}: a stream went from revision {known[key]} to {one.revision}"
            )
        known[key] = one.revision
    return found


def broken_metrics(run: str, points: Iterable[Points], final: FinalRun | None) -> list[str]:
    """Every reader has 1, 2, 3, ... from where it began, and what it has is what is stored."""
    found = []
    stored = dict(final.points) if final is not None else {}
    if final is not None:
        numbers = [number for number, _ in final.points]
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"run {run}: the stored metrics have a gap or a repeat")
    for batch in points:
        last = batch.after
        for number, checksum in batch.points:
            if number != last + 1:
                found.append(f"run {run}: {batch.source} was sent point {number} after {last}")
            last = number
            if final is not None and stored.get(number) != checksum:
                what = "another one" if number in stored else "not there"
                found.append(f"run {run}: point {number} was seen and is {what}")
    return found


def by_run(seen: Iterable[Seen]) -> dict[str, list[Seen]]:
    """What was seen of each run."""
    found: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        found[one.run].append(one)
    return found
