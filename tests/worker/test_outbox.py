"""The outbox: nothing lost, nothing twice, nothing without bound."""

from __future__ import annotations

import re

import pytest
from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.v1.run_pb2 import Episode, MetricPoint
from mltetris_api.worker.v1.worker_pb2 import AttachRequest, Episodes, Frames, Notice
from mltetris_server.worker.outbox import MOST_BYTES, ConversationOver, Outbox, OutboxFull


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


def episodes(count: int = 1) -> AttachRequest:
    return AttachRequest(episodes=Episodes(episodes=[Episode(number=n) for n in range(count)]))


def notice(text: str = "a word") -> AttachRequest:
    return AttachRequest(notice=Notice(text=text))


def kinds(said: list[AttachRequest]) -> list[str]:
    return [str(event.WhichOneof("event")) for event in said]


def left_out(said: list[AttachRequest]) -> list[tuple[int, int]]:
    """Episodes and notices that are told to be left out, by each notice that does."""
    told = []
    for event in said:
        found = re.search(r"([\d,]+) episodes and ([\d,]+) notices were left", event.notice.text)
        if found:
            told.append((int(found[1].replace(",", "")), int(found[2].replace(",", ""))))
    return told


def test_too_many_episodes_and_notices_are_given_up_and_counted() -> None:
    outbox = Outbox(capacity=4)
    for number in range(1, 6):
        outbox.add(metric(number))
        outbox.add(episodes(3) if number % 2 else notice())
    conversation = outbox.begin()
    outbox.resume(0)
    said = everything(outbox, conversation)
    assert [e.metrics.sequence for e in said if e.HasField("metrics")] == [1, 2, 3, 4, 5]
    # The older two of four went when the fifth came.
    assert kinds(said)[-1] == "notice"
    assert left_out(said) == [(3, 1)]
    assert sum(len(e.episodes.episodes) for e in said) == 6
    assert [e.sequence for e in said] == [1, 3, 5, 6, 7, 8, 9, 10, 11]


def test_nothing_is_told_where_nothing_was_left_out() -> None:
    outbox = Outbox(capacity=4)
    for _ in range(4):
        outbox.add(episodes())
    conversation = outbox.begin()
    outbox.resume(0)
    assert kinds(everything(outbox, conversation)) == ["episodes"] * 4


def test_what_the_server_turns_out_to_have_is_not_counted() -> None:
    outbox = Outbox(capacity=4)
    first = outbox.begin()
    outbox.resume(0)
    for _ in range(4):
        outbox.add(episodes())
    assert len(everything(outbox, first)) == 4
    outbox.suspend()
    outbox.add(episodes())  # 1 and 2 go, which were on their way
    second = outbox.begin()
    outbox.resume(1)
    said = everything(outbox, second)
    assert [e.sequence for e in said] == [3, 4, 5, 6]
    assert left_out(said) == [(1, 0)]


def test_a_notice_that_did_not_come_through_is_replaced_by_one_that_says_it_all() -> None:
    outbox = Outbox(capacity=4)
    for _ in range(5):
        outbox.add(episodes())
    first = outbox.begin()
    outbox.resume(0)
    assert left_out(everything(outbox, first)) == [(2, 0)]
    outbox.suspend()
    for _ in range(4):
        outbox.add(episodes())
    second = outbox.begin()
    outbox.resume(0)
    said = everything(outbox, second)
    (told,) = left_out(said)
    assert told[0] + kinds(said).count("episodes") == 9
    assert said[-1].HasField("notice")
    outbox.acknowledge(said[-1].sequence)
    third = outbox.begin()
    outbox.resume(0)
    assert everything(outbox, third) == [], "it is told once"


def test_it_is_told_too_where_the_server_was_only_slow() -> None:
    outbox = Outbox(capacity=4)
    conversation = outbox.begin()
    outbox.resume(0)
    for _ in range(7):
        outbox.add(episodes())
    said = everything(outbox, conversation)
    assert left_out(said) == []
    outbox.acknowledge(said[0].sequence)
    assert left_out(everything(outbox, conversation)) == [(4, 0)]


def test_metric_points_are_kept_however_many() -> None:
    outbox = Outbox(capacity=10)
    for number in range(1, 20_001):
        outbox.add(metric(number))
    conversation = outbox.begin()
    outbox.resume(0)
    said = everything(outbox, conversation)
    assert [e.metrics.sequence for e in said] == list(range(1, 20_001))


def test_metric_points_are_bounded_by_what_they_take_and_acknowledging_makes_room() -> None:
    outbox = Outbox(most_bytes=100)
    added = 0
    with pytest.raises(OutboxFull):
        while added < 100:
            outbox.add(metric(added + 1))
            added += 1
    assert 10 <= added < 100
    outbox.add(episodes())  # they have a bound of their own
    outbox.acknowledge(added // 2)
    outbox.add(metric(added + 1))
    conversation = outbox.begin()
    outbox.resume(0)
    said = [e.metrics.sequence for e in everything(outbox, conversation) if e.HasField("metrics")]
    assert said == list(range(added // 2 + 1, added + 2)), "without a gap"
    outbox.acknowledge(2**40)
    for number in range(added):
        outbox.add(metric(number))


def test_days_of_points_fit() -> None:
    point = MetricPoint(
        sequence=2**20,
        placements=2**40,
        mean_lines=1.5,
        mean_reward=1.5,
        placements_per_second=1e5,
        exploration=0.1,
        learning_rate=0.1,
        loss=0.1,
        score=10**9,
    )
    point.evaluation.mean_lines = point.evaluation.standard_error = 1.5
    point.evaluation.median_lines = point.evaluation.placements = 2**30
    size = AttachRequest(sequence=2**20, metrics=point).ByteSize()
    assert MOST_BYTES / size > 2 * 86_400
