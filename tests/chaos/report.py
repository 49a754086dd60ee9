"""What the torture has to say: the counts, and how long things took."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from chaos.checker import ZERO, Verdict
from chaos.laws import FINAL
from chaos.records import Kill, Record, Seen, Server, of_kind

MOST_SHOWN = 20
"""Broken promises of a kind that are told in words."""


def times(records: Iterable[Record]) -> dict[str, list[float]]:
    """How long it took, in seconds: a server to serve again, a dead worker's run to be settled.

    Of a worker's death only where the server lived until its run was FAILED, ended otherwise or
    had its restart.
    """
    records = list(records)
    servers: list[Server] = of_kind(records, Server)
    serving = []
    began: float | None = None
    for server in servers:
        if server.event == "starting":
            began = server.time
        elif server.event == "up" and began is not None:
            serving.append(server.time - began)
            began = None
        else:
            began = None
    downs = [server.time for server in servers if server.event == "down"]
    settled: dict[str, list[float]] = {"killed": [], "hung": []}
    seen: list[Seen] = of_kind(records, Seen)
    for kill in of_kind(records, Kill):
        if not kill.run or kill.restarts < 0:
            continue
        after = [
            one.time
            for one in seen
            if one.run == kill.run
            and one.time >= kill.time
            and (one.state in FINAL or one.restarts > kill.restarts)
        ]
        if after and not any(kill.time <= down <= after[0] for down in downs):
            kind = "hung" if "hang" in kill.kind else "killed"
            settled[kind].append(after[0] - kill.time)
    return {
        "a restarted server served again after": serving[1:],
        "a killed worker's run was settled after": settled["killed"],
        "a hung worker's run was settled after": settled["hung"],
    }


def as_table(verdict: Verdict, records: Sequence[Record]) -> str:
    """The final table, as aligned text; then what was broken, in words."""
    rows = [(name, f"{value:,}", "") for name, value in _counts(verdict).items()]
    rows += [
        (name, f"{value:,}", "" if value == 0 else "must be 0")
        for name, value in _broken(verdict).items()
    ]
    for name, values in times(records).items():
        if values:
            middle = sorted(values)[len(values) // 2]
            rows.append((name, f"{max(values):.2f} s", f"at most; {middle:.2f} s in the middle"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [
        f"{name.ljust(widths[0])}  {value.rjust(widths[1])}  {note}".rstrip()
        for name, value, note in rows
    ]
    for kind, words in verdict.broken.items():
        lines += [f"{kind}: {word}" for word in words[:MOST_SHOWN]]
        if len(words) > MOST_SHOWN:
            lines.append(f"{kind}: and {len(words) - MOST_SHOWN:,} more")
    return "\n".join(lines)


def as_json(verdict: Verdict, records: Sequence[Record], seed: int) -> str:
    """The same as JSON."""
    return json.dumps(
        {
            "good": verdict.good,
            "seed": seed,
            "kills": dict(verdict.kills),
            "counts": _counts(verdict),
            "broken": verdict.broken,
            "seconds": {name: sorted(values) for name, values in times(records).items()},
        },
        indent=2,
    )


def _counts(verdict: Verdict) -> dict[str, int]:
    kills = {f"  {kind}": number for kind, number in sorted(verdict.kills.items())}
    return {
        "kills": verdict.kills.total(),
        **kills,
        "calls": verdict.calls,
        "calls whose outcome nobody was told": verdict.unknown,
        "runs": verdict.runs,
        "acknowledged writes": verdict.acknowledged,
        "metric points seen": verdict.points_seen,
        "runs that went on over a server's death": verdict.kept,
    }


def _broken(verdict: Verdict) -> dict[str, int]:
    return {kind: len(verdict.broken[kind]) for kind in ZERO}
