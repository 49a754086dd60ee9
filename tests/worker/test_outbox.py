"""The outbox: nothing lost, nothing twice, nothing without bound."""

from __future__ import annotations

import pytest
from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.v1.run_pb2 import MetricPoint
from mltetris_api.worker.v1.worker_pb2 import AttachRequest, Episodes, Frames
from mltetris_server.worker.outbox import ConversationOver, Outbox, OutboxFull


def metric(number: int) -> AttachRequest:
    return AttachRequest(metrics=MetricPoint(sequence=number))


def frame(number: int) -> Frames:
    return Frames(frames=[BoardFrame(sequence=number)])


def everything(outbox: Outbox, conversation: int) -> list[AttachRequest]:
    said = []
    while (event := outbox.next(conversation, 0)) is not None:
        said.append(event)
    return said


def test_events_are_numbered_and_said_in_order() -> None:
    outbox = Outbox()
    assert [outbox.add(metric(n)) for n in (7, 8, 9)] == [1, 2, 3]
    conversation = outbox.begin()
    outbox.resume(0)
    said = everything(outbox, conversation)
    assert [(e.sequence, e.metrics.sequence) for e in said] == [(1, 7), (2, 8), (3, 9)]


def test_nothing_is_said_before_the_server_said_what_it_has() -> None:
    outbox = Outbox()
    outbox.add(metric(1))
    conversation = outbox.begin()
    assert outbox.next(conversation, 0) is None


def test_a_new_conversation_begins_after_what_is_stored() -> None:
    outbox = Outbox()
    first = outbox.begin()
    outbox.resume(0)
    for number in range(1, 6):
        outbox.add(metric(number))
    assert len(everything(outbox, first)) == 5
    outbox.acknowledge(2)
    second = outbox.begin()
    outbox.add(metric(6))
    outbox.resume(3)
    assert [e.sequence for e in everything(outbox, second)] == [4, 5, 6]
    with pytest.raises(ConversationOver):
        outbox.next(first, 0)


def test_what_is_acknowledged_is_forgotten() -> None:
    outbox = Outbox()
    for number in range(1, 4):
        outbox.add(metric(number))
    outbox.acknowledge(3)
    conversation = outbox.begin()
    outbox.resume(0)
    assert everything(outbox, conversation) == []
    assert outbox.acknowledged == 3


def test_an_acknowledgement_of_what_was_never_said_counts_for_nothing_new() -> None:
    outbox = Outbox()
    outbox.add(metric(1))
    outbox.acknowledge(99)
    assert outbox.acknowledged == 1
    assert outbox.add(metric(2)) == 2
    assert not outbox.wait_acknowledged(2, 0)


def test_of_frames_only_the_newest_is_said_and_after_the_events() -> None:
    outbox = Outbox()
    conversation = outbox.begin()
    outbox.show(frame(1))  # nobody is there yet
    outbox.resume(0)
    outbox.show(frame(2))
    outbox.add(metric(1))
    outbox.show(frame(3))
    said = everything(outbox, conversation)
    assert [e.WhichOneof("event") for e in said] == ["metrics", "frames"]
    assert said[1].frames.frames[0].sequence == 3
    assert said[1].sequence == 0


def test_a_full_outbox_gives_up_episodes_before_metrics() -> None:
    outbox = Outbox(capacity=4)
    outbox.add(metric(1))
    outbox.add(AttachRequest(episodes=Episodes()))
    outbox.add(metric(2))
    outbox.add(AttachRequest(episodes=Episodes()))
    outbox.add(metric(3))
    conversation = outbox.begin()
    outbox.resume(0)
    said = everything(outbox, conversation)
    assert [e.metrics.sequence for e in said] == [1, 2, 3]
    assert [e.sequence for e in said] == [1, 3, 5]


def test_an_outbox_full_of_metrics_says_so() -> None:
    outbox = Outbox(capacity=2)
    outbox.add(metric(1))
    outbox.add(metric(2))
    with pytest.raises(OutboxFull):
        outbox.add(metric(3))
