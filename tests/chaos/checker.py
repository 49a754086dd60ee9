"""Compares a history with what is promised. Pure: records in, a verdict out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chaos import absences, laws
from chaos.records import (
    OK,
    UNKNOWN,
    Deleted,
    Effect,
    Final,
    Kill,
    Op,
    Points,
    Record,
    Seen,
    Server,
    of_kind,
)
from chaos.registers import registers

MISSING = "writes missing"
STATES = "illegal states"
GIVEN_UP = "workers given up too early"
METRICS = "metric gaps or repeats"
EVENTS = "events skipped"
DAMAGE = "damaged files"
LEFTOVERS = "leftovers after a clean start"
DUPLICATES = "duplicate runs for one request_id"
ORPHANS = "orphan processes"
FAULTS = "unexpected errors"

ZERO = (
    *(MISSING, STATES, METRICS, EVENTS, GIVEN_UP),
    *(DAMAGE, LEFTOVERS, DUPLICATES, ORPHANS, FAULTS),
)
"""What there must be none of."""

_WRITES_FAIL_LOUDLY = {"INTERNAL": FAULTS, "DATA_LOSS": DAMAGE}


@dataclass
class Verdict:
    """What was counted, and every promise that was broken, in words, by its kind."""

    kills: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    unknown: int = 0
    acknowledged: int = 0
    """Writes that were acknowledged."""
    points_seen: int = 0
    """Metric points that somebody was sent, each once a run."""
    runs: int = 0
    kept: int = 0
    """Times that a run went on with its worker after its server was killed."""
    broken: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in ZERO})

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not any(self.broken.values())


def check(records: Iterable[Record]) -> Verdict:
    """Judges a whole history; its last `Final` is the end."""
    records = list(records)
    finals = of_kind(records, Final)
    if not finals:
        raise ValueError("the history has no end")
    final: Final = finals[-1]
    ops: list[Op] = of_kind(records, Op)
    seen: list[Seen] = of_kind(records, Seen)
    verdict = Verdict()
    verdict.kills.update(kill.kind for kill in of_kind(records, Kill))
    verdict.calls = len(ops)
    verdict.unknown = sum(op.outcome == UNKNOWN for op in ops)
    verdict.acknowledged = sum(op.outcome == OK and bool(op.effects) for op in ops)
    verdict.runs = len({one.run for one in seen})
    ids = _ids_by_token(seen, final)
    _check_registers(verdict, _completed(ops, ids), of_kind(records, Server), seen, final)
    _check_models(verdict, ops, final)
    _check_runs(verdict, records, seen, final)
    _check_duplicates(verdict, ids, ops)
    for op in ops:
        if op.code in _WRITES_FAIL_LOUDLY:
            verdict.broken[_WRITES_FAIL_LOUDLY[op.code]].append(
                f"{op.what} {op.target}: {op.code}: {op.text}"
            )
    verdict.broken[STATES] += final.idle
    verdict.broken[DAMAGE] += final.damaged
    verdict.broken[LEFTOVERS] += final.leftovers
    verdict.broken[ORPHANS] += final.orphans
    verdict.broken[FAULTS] += final.faults
    return verdict


def token_of(name: str) -> str:
    """The token of the call that made a run, from any name the run has had."""
    return name.partition("~")[0]


def _ids_by_token(seen: Iterable[Seen], final: Final) -> dict[str, set[str]]:
    ids: dict[str, set[str]] = defaultdict(set)
    for one in seen:
        ids[token_of(one.name)].add(one.run)
    for run, last in final.runs.items():
        ids[token_of(last.name)].add(run)
    return ids


def _completed(ops: Sequence[Op], ids: dict[str, set[str]]) -> list[Op]:
    """The operations, with the runs that StartRun may have made though nobody was told."""
    completed = []
    for op in ops:
        if op.what == "start_run" and op.outcome == UNKNOWN:
            made = [
                effect
                for run in sorted(ids.get(op.token, ()))
                for effect in (Effect(f"run:{run}", "there"), Effect(f"name:{run}", op.token))
            ]
            op = Op(**{**vars(op), "effects": (*op.effects, *made)})
        completed.append(op)
    return completed


def _check_registers(
    verdict: Verdict,
    ops: Sequence[Op],
    servers: Iterable[Server],
    seen: Iterable[Seen],
    final: Final,
) -> None:
    """Whether every read, and the end, follows from what was written."""
    known = registers(ops, servers)
    missing = verdict.broken[MISSING]

    def read(who: str, key: str, value: str | None, start: float, end: float) -> None:
        register = known[key]
        if not register.explains(value, start, end):
            missing.append(f"{who} found {key} as {value!r}: {register.why_not(value)}")

    for op in ops:
        for one in op.reads:
            read(f"{op.what} {op.target}", one.key, one.value, op.start, op.end)
    named: set[tuple[str, str]] = set()
    for shown in seen:
        if shown.since < 0 and (shown.run, shown.name) not in named:
            # What a stream says may be old by the time it comes.
            named.add((shown.run, shown.name))
            read("a stream", f"name:{shown.run}", shown.name, -1.0, shown.time)
    end = final.time
    for key in sorted(known):
        kind, _, name = key.partition(":")
        if kind == "run":
            read("the end", key, "there" if name in final.runs else None, end, end)
        elif kind == "name" and name in final.runs:
            read("the end", key, final.runs[name].name, end, end)
        elif kind == "slot":
            read("the end", key, final.slots.get(name), end, end)
    if final.active is not None or "active" in known:
        read("the end", "active", final.active, end, end)
    for run in final.runs.keys() - {key.partition(":")[2] for key in known}:
        missing.append(f"run {run} is there, and nobody asked for it")
    for slot in final.slots.keys() - {key.partition(":")[2] for key in known}:
        missing.append(f"slot {slot} is there, and nobody saved it")


def _check_models(verdict: Verdict, ops: Iterable[Op], final: Final) -> None:
    """Whether a slot has the very model that was seen in it before."""
    known: dict[str, str] = {}
    for value, sha in [pair for op in ops for pair in op.shas] + list(final.shas.items()):
        if known.setdefault(value, sha) != sha:
            verdict.broken[MISSING].append(f"slot {value!r} had model {known[value]}, has {sha}")


def _check_runs(
    verdict: Verdict, records: Sequence[Record], seen: Sequence[Seen], final: Final
) -> None:
    runs = laws.by_run(seen)
    points: dict[str, list[Points]] = defaultdict(list)
    for batch in of_kind(records, Points):
        points[batch.run].append(batch)
    for run in sorted(runs.keys() | points.keys() | final.runs.keys()):
        last = final.runs.get(run)
        verdict.broken[STATES] += laws.illegal_steps(run, runs.get(run, []))
        verdict.broken[MISSING] += laws.gone_back(run, runs.get(run, []), last)
        verdict.broken[METRICS] += laws.broken_metrics(run, points[run], last)
        verdict.points_seen += len({n for batch in points[run] for n, _ in batch.points})
        if last is not None:
            verdict.broken[STATES] += laws.illegal_history(run, last)
            verdict.broken[MISSING] += laws.lost_states(run, runs.get(run, []), last)
    streams = [
        record
        for record in records
        if isinstance(record, Deleted) or (isinstance(record, Seen) and record.connection > 0)
    ]
    verdict.kept, verdict.broken[GIVEN_UP] = absences.taken_back(
        runs, of_kind(records, Kill), of_kind(records, Server)
    )
    verdict.broken[EVENTS] += laws.skipped_events(streams)


def _check_duplicates(verdict: Verdict, ids: dict[str, set[str]], ops: Sequence[Op]) -> None:
    """A token makes a second run only where the first was deleted meanwhile."""
    deleted = {op.target for op in ops if op.what == "delete_run" and op.outcome != "refused"}
    keyed = {op.token for op in ops if op.what == "start_run" and op.target == "request_id"}
    for token in sorted(keyed):
        alive = ids.get(token, set()) - deleted
        if len(alive) > 1 or (len(ids.get(token, ())) > 1 and not ids[token] & deleted):
            verdict.broken[DUPLICATES].append(f"{token}: runs {', '.join(sorted(ids[token]))}")
