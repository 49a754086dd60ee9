"""The table of transitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mltetris_api.v1 import run_pb2
from mltetris_server.errors import WrongState
from mltetris_server.runs import reports, states

ALL = [run_pb2.RunState.ValueType(n) for n in run_pb2.RunState.values() if n]


def test_every_state_of_the_contract_has_a_row() -> None:
    assert set(states.TRANSITIONS) == set(ALL)
    assert {states.SUCCEEDED, states.STOPPED, states.FAILED} == states.FINAL
    assert states.QUEUED not in states.LIVE


def test_every_state_can_be_reached_and_left_for_an_end() -> None:
    reached = {states.QUEUED}
    for _ in ALL:
        reached |= {after for state in reached for after in states.TRANSITIONS[state]}
    assert reached == set(ALL)
    for state in states.TRANSITIONS.keys() - states.FINAL:
        assert states.TRANSITIONS[state] & states.FINAL


@given(st.lists(st.sampled_from(ALL), max_size=20))
def test_no_sequence_of_moves_leaves_a_final_state(moves: list[states.State]) -> None:
    run = run_pb2.Run(id="train-abc123", state=states.QUEUED)
    for state in moves:
        before = run_pb2.Run()
        before.CopyFrom(run)
        try:
            reports.move(run, state)
        except WrongState:
            assert run == before
        assert not (before.state in states.FINAL and run != before)
        assert run.HasField("end_time") == (run.state in states.FINAL)
        assert run.state != states.RUNNING or run.HasField("start_time")


def test_an_illegal_move_is_refused_in_words() -> None:
    with pytest.raises(WrongState, match=r"train-abc123 is STOPPED: it cannot become RUNNING"):
        states.check("train-abc123", states.STOPPED, states.RUNNING)
