"""The judge itself: a good history is good, and each kind of broken promise is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaos import absences, checker, report
from chaos.checker import Verdict, check
from chaos.records import (
    OK,
    REFUSED,
    UNKNOWN,
    Deleted,
    Effect,
    Final,
    FinalRun,
    Kill,
    Op,
    Points,
    Read,
    Record,
    Seen,
    Server,
)

RUN = "train-1"


def op(what: str, start: float, end: float, *facts: Effect | Read, **more: Any) -> Op:
    outcome = more.pop("outcome", OK)
    return Op(
        *("c0", what, more.pop("target", ""), start, end, outcome),
        effects=tuple(fact for fact in facts if isinstance(fact, Effect)),
        reads=tuple(fact for fact in facts if isinstance(fact, Read)),
        **more,
    )


def seen(revision: int, state: str, time: float = 5.0, **more: Any) -> Seen:
    facts = {"source": "w0", "connection": 1, "since": -1.0, "run": RUN, "reason": "", "name": "t1"}
    facts |= {"restarts": 0, "points": 0}
    return Seen(revision=revision, state=state, time=time, **(facts | more))


STORED = (("QUEUED", ""), ("STARTING", ""), ("RUNNING", ""), ("STOPPING", ""), ("STOPPED", ""))
LAST = FinalRun(6, "STOPPED", "", "t1", ((1, 11), (2, 22), (3, 33)), STORED)
END = Final(100.0, {RUN: LAST}, {"a": "v2"}, {"v2": "beef"}, active="a")
GOOD: list[Record] = [
    Server("starting", 0.0),
    Server("up", 0.5),
    op(
        *("start_run", 1.0, 2.0, Effect(f"run:{RUN}", "there"), Effect(f"name:{RUN}", "t1")),
        token="t1",
        target="request_id",
    ),
    *(
        seen(revision, state)
        for revision, state in enumerate(("QUEUED", "STARTING", "RUNNING"), start=1)
    ),
    op("save_slot", 10.0, 11.0, Effect("slot:a", "v1"), shas=(("v1", "feed"),)),
    op("update_slot", 12.0, 13.0, Effect("slot:a", "v2"), shas=(("v2", "beef"),)),
    op("get_slot", 14.0, 15.0, Read("slot:a", "v2"), shas=(("v2", "beef"),)),
    op("activate_slot", 16.0, 17.0, Effect("active", "a")),
    Points("m0", RUN, 0, ((1, 11), (2, 22)), 20.0),
    Points("m0", RUN, 2, ((3, 33),), 21.0),
    Kill("worker SIGKILL", 30.0, RUN, 0),
]


def judged(*more: Record, end: Final = END, without: tuple[Record, ...] = ()) -> Verdict:
    return check([*(record for record in GOOD if record not in without), *more, end])


def only(verdict: Verdict, kind: str) -> str:
    """The one kind that was broken, and how."""
    assert {k for k, words in verdict.broken.items() if words} == {kind}, verdict.broken
    return verdict.broken[kind][0]


def test_a_good_history_is_good() -> None:
    verdict = judged()
    assert verdict.good, verdict.broken
    assert verdict.acknowledged == 4
    assert verdict.points_seen == 3
    assert verdict.kills == {"worker SIGKILL": 1}
    assert "writes missing" in report.as_table(verdict, [*GOOD, END])


# --- what was acknowledged is there


def test_a_lost_run_is_seen() -> None:
    assert "run:train-1" in only(judged(end=replace(END, runs={})), checker.MISSING)


def test_a_lost_slot_and_an_old_one_are_seen() -> None:
    assert "slot:a" in only(judged(end=replace(END, slots={})), checker.MISSING)
    words = only(judged(end=replace(END, slots={"a": "v1"}, shas={})), checker.MISSING)
    assert "surely written after: 'v2'" in words


def test_a_slot_that_came_back_from_the_dead_is_seen() -> None:
    delete = op("delete_slot", 50, 51, Effect("slot:a", None))
    assert "slot:a" in only(judged(delete), checker.MISSING)
    assert judged(replace(delete, outcome=REFUSED)).good


def test_a_write_of_unknown_outcome_may_be_there_or_not() -> None:
    unknown = op("update_slot", 50, 51, Effect("slot:a", "v3"), outcome=UNKNOWN)
    assert judged(unknown).good
    assert judged(unknown, end=replace(END, slots={"a": "v3"}, shas={})).good


def test_a_write_of_unknown_outcome_does_not_come_after_its_server_died() -> None:
    unknown = op("update_slot", 50, 51, Effect("slot:a", "v3"), outcome=UNKNOWN)
    known = op("update_slot", 60, 61, Effect("slot:a", "v4"))
    end = replace(END, slots={"a": "v3"}, shas={})
    assert judged(unknown, known, end=end).good
    assert not judged(unknown, Server("down", 50.5), known, end=end).good
    assert not judged(unknown, Server("down", 55), known, end=end).good
    assert judged(unknown, Server("down", 60.5), known, end=end).good


def test_a_read_of_what_is_not_there_yet_or_any_more_is_seen() -> None:
    early = op("get_slot", 11.5, 11.9, Read("slot:a", "v2"))
    assert "slot:a" in only(judged(early), checker.MISSING)
    late = op("get_slot", 14.0, 15.0, Read("slot:a", "v1"))
    assert "slot:a" in only(judged(late), checker.MISSING)
    gone = op("get_slot", 14.0, 15.0, Read("slot:a", None))
    assert "slot:a" in only(judged(gone), checker.MISSING)
    during = op("get_slot", 12.5, 12.6, Read("slot:a", "v1"))
    assert judged(during).good


def test_another_model_in_a_slot_is_seen() -> None:
    assert "model" in only(judged(end=replace(END, shas={"v2": "dead"})), checker.MISSING)


def test_another_active_slot_is_seen() -> None:
    assert "active" in only(judged(end=replace(END, active=None)), checker.MISSING)
    rename = op("rename_slot", 50, 51, Effect("active", "b", sure=False))
    assert judged(rename).good
    assert judged(rename, end=replace(END, active="b")).good


def test_a_lost_name_is_seen() -> None:
    rename = op("rename_run", 50, 51, Effect(f"name:{RUN}", "t1~x"))
    assert f"name:{RUN}" in only(judged(rename), checker.MISSING)


def test_what_nobody_asked_for_is_seen() -> None:
    assert "nobody asked" in only(
        judged(end=replace(END, runs={RUN: LAST, "train-2": replace(LAST, name="t2")})),
        checker.MISSING,
    )
    assert "nobody saved" in only(
        judged(end=replace(END, slots={"a": "v2", "z": "v9"})), checker.MISSING
    )


# --- runs


def test_a_state_that_was_shown_and_not_stored_is_seen() -> None:
    shown = seen(4, "PAUSED")
    assert "PAUSED" in only(judged(shown), checker.MISSING)


def test_a_revision_that_is_gone_is_seen() -> None:
    shown = [seen(n, "RUNNING", points=n) for n in range(4, 9)]
    assert "is at 6" in only(judged(*shown), checker.MISSING)


def test_an_answer_older_than_what_was_shown_is_seen() -> None:
    old = seen(2, "STARTING", 40.0, since=39.0, connection=0)
    assert "after 3" in only(judged(old), checker.MISSING)
    assert judged(replace(old, since=4.0)).good


def test_a_revision_with_two_contents_is_seen() -> None:
    other = seen(3, "RUNNING", connection=2, restarts=1)
    assert "revision 3 was" in only(judged(other), checker.STATES)


def test_an_illegal_step_is_seen() -> None:
    shown = seen(2, "RUNNING", connection=2)
    without = tuple(r for r in GOOD if isinstance(r, Seen) and r.revision == 2)
    (words,) = judged(shown, without=without).broken[checker.STATES]
    assert "from QUEUED (revision 1) to RUNNING" in words


def test_a_final_state_that_changes_is_seen() -> None:
    changes = (*STORED, ("RUNNING", ""), ("STOPPED", ""))
    end = replace(END, runs={RUN: replace(LAST, changes=changes)})
    assert "from STOPPED to RUNNING" in only(judged(end=end), checker.STATES)


@pytest.mark.parametrize("changes", [(), STORED[1:], STORED[:-1], (STORED[0], *STORED[2:])])
def test_a_stored_history_that_does_not_add_up_is_seen(
    changes: tuple[tuple[str, str], ...],
) -> None:
    verdict = judged(end=replace(END, runs={RUN: replace(LAST, changes=changes)}))
    assert verdict.broken[checker.STATES]


def test_a_skipped_event_is_seen() -> None:
    assert "from revision 3 to 5" in only(judged(seen(5, "RUNNING")), checker.EVENTS)
    assert judged(seen(5, "RUNNING", connection=2)).good
    assert judged(seen(5, "RUNNING", connection=0)).good
    assert judged(Deleted("w0", 1, 6.0, RUN), seen(5, "RUNNING")).good


def test_a_live_run_without_a_worker_is_seen() -> None:
    end = replace(END, idle=("run train-1 is RUNNING without a worker",))
    assert "without a worker" in only(judged(end=end), checker.STATES)


# --- metrics


@pytest.mark.parametrize(
    ("after", "points"),
    [
        (2, ((2, 22),)),
        (1, ((3, 33),)),
        (0, ((1, 11), (1, 11))),
        (0, ((1, 11), (3, 33))),
        (0, ((1, 12),)),
        (3, ((4, 44),)),
    ],
    ids=["repeat", "gap", "repeat inside", "gap inside", "another point", "lost point"],
)
def test_metrics_that_do_not_add_up_are_seen(
    after: int, points: tuple[tuple[int, int], ...]
) -> None:
    only(judged(Points("m1", RUN, after, points, 30.0)), checker.METRICS)


def test_a_gap_in_what_is_stored_is_seen() -> None:
    end = replace(END, runs={RUN: replace(LAST, points=((1, 11), (2, 22), (4, 44)))})
    only(judged(end=end, without=(GOOD[-2],)), checker.METRICS)


# --- workers while the server is away


def away(until: float, *more: Record, **facts: Any) -> Verdict:
    """A server that dies at 50 and is back at `until`, and how the run goes on."""
    end = replace(END, runs={RUN: replace(LAST, revision=4, state="FAILED", changes=())})
    back = seen(4, facts.pop("state", "RUNNING"), until + 1, connection=3, **facts)
    servers = (Server("down", 50.0, 8.0), Server("starting", 51.0), Server("up", until))
    return judged(*servers, *more, back, end=end, without=(GOOD[-1],))


def test_a_worker_that_is_taken_back_is_counted() -> None:
    verdict = away(52.0)
    assert (verdict.kept, verdict.broken[checker.GIVEN_UP]) == (1, [])


@pytest.mark.parametrize(
    "facts",
    [{"state": "STARTING", "restarts": 1}, {"state": "FAILED", "reason": "SERVER_RESTARTED"}],
)
def test_a_worker_that_is_given_up_too_early_is_seen(facts: dict[str, Any]) -> None:
    verdict = away(52.0, **facts)
    assert "after 2.0 s" in verdict.broken[checker.GIVEN_UP][0]
    assert not away(59.0, **facts).broken[checker.GIVEN_UP], "it had to wait for 8 s only"
    for kill in (Kill("worker SIGKILL", 45.0, RUN, 0), Kill("machine", 50.0)):
        assert not away(52.0, kill, **facts).broken[checker.GIVEN_UP]


def test_absences_close_to_each_other_are_one() -> None:
    times = [("down", 10), ("up", 12), ("down", 14), ("starting", 15), ("down", 16), ("up", 18)]
    servers = [Server(event, float(time), 8.0) for event, time in times]
    assert absences.absences(servers) == [absences.Absence(10.0, 18.0, 8.0)]


# --- one request, one run


def second(**more: Any) -> tuple[Record, Final]:
    other = op("start_run", 3, 4, Effect("run:train-2", "there"), Effect("name:train-2", "t1"))
    end = replace(END, runs={RUN: LAST, "train-2": LAST})
    return replace(other, token="t1", target="request_id", **more), end


def test_two_runs_of_one_request_are_seen() -> None:
    other, end = second()
    assert "train-1, train-2" in only(judged(other, end=end), checker.DUPLICATES)


def test_a_second_run_after_the_first_was_deleted_is_none_too_many() -> None:
    other, end = second()
    delete = op("delete_run", 2.5, 2.6, Effect(f"run:{RUN}", None), target=RUN)
    end = replace(end, runs={"train-2": LAST})
    assert judged(delete, other, end=end).good


def test_a_run_of_a_start_that_nobody_was_told_of() -> None:
    other, end = second()
    assert isinstance(other, Op)
    lost = replace(other, outcome=UNKNOWN, effects=(), token="t2", target="")
    runs = {RUN: LAST, "train-2": replace(LAST, name="t2")}
    assert judged(lost, end=replace(end, runs=runs)).good
    assert judged(lost).good


# --- what is left


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("damaged", checker.DAMAGE),
        ("leftovers", checker.LEFTOVERS),
        ("orphans", checker.ORPHANS),
        ("faults", checker.FAULTS),
    ],
)
def test_what_the_end_found_is_counted(field: str, kind: str) -> None:
    assert only(judged(end=replace(END, **{field: ("this one",)})), kind) == "this one"


@pytest.mark.parametrize(
    ("code", "kind"), [("INTERNAL", checker.FAULTS), ("DATA_LOSS", checker.DAMAGE)]
)
def test_answers_that_never_should_be_are_seen(code: str, kind: str) -> None:
    only(judged(op("get_slot", 50, 51, outcome=REFUSED, code=code)), kind)


def test_a_history_without_an_end_is_none() -> None:
    with pytest.raises(ValueError, match="no end"):
        check(GOOD)


def test_times_are_of_what_was_served_and_settled() -> None:
    records: list[Record] = [
        Server("starting", 0.0),
        Server("up", 1.0),
        Server("down", 10.0),
        Server("starting", 11.0),
        Server("up", 13.5),
        Kill("worker SIGKILL", 20.0, RUN, 0),
        seen(7, "STARTING", 20.25, restarts=1),
        Kill("worker SIGKILL", 29.0, RUN, 1),
        Server("down", 29.5),
        seen(9, "FAILED", 35.0, restarts=1),
    ]
    served, killed, hung = report.times(records).values()
    assert (served, killed, hung) == ([2.5], [0.25], [])
