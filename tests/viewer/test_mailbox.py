"""What threads leave for the window."""

from __future__ import annotations

import threading

from mltetris_viewer.link.mailbox import MOST_POINTS, Mailbox
from mltetris_viewer.model import events
from viewer.making import frame, point


def test_only_the_newest_frames_are_kept() -> None:
    box = Mailbox()
    for sequence in range(1, 4):
        box.put(events.FramesArrived("train-a", [frame(sequence)]))
    assert box.take() == [events.FramesArrived("train-a", [frame(3)])]
    assert box.take() == []


def test_events_come_out_in_order() -> None:
    box = Mailbox()
    given = [events.LinkUp(), events.RunsCaughtUp(), events.LinkDown("gone"), events.LinkUp()]
    for event in given:
        box.put(event)
    assert box.take() == given


def test_a_long_history_comes_in_parts_and_is_complete_at_the_last() -> None:
    calls = []
    box = Mailbox(lambda: calls.append(1))
    count = MOST_POINTS + 10
    for number in range(1, count + 1):
        box.put(events.PointsArrived("train-a", [point(number, number)], False))
    box.put(events.PointsArrived("train-a", [], True))
    (first,) = box.take()
    assert isinstance(first, events.PointsArrived)
    assert len(first.points) == MOST_POINTS and not first.caught_up
    assert len(calls) == 2, "the rest wakes the reader again"
    (second,) = box.take()
    assert isinstance(second, events.PointsArrived)
    assert [p.sequence for p in second.points] == list(range(MOST_POINTS + 1, count + 1))
    assert second.caught_up


def test_nothing_is_lost_between_threads() -> None:
    box = Mailbox()
    writers = [
        threading.Thread(
            target=lambda n=n: [box.put(events.RunDeleted(f"{n}-{i}")) for i in range(500)]
        )
        for n in range(4)
    ]
    for writer in writers:
        writer.start()
    taken: list[events.Event] = []
    while any(writer.is_alive() for writer in writers):
        taken += box.take()
    for writer in writers:
        writer.join()
    taken += box.take()
    assert len(taken) == len(set(taken)) == 2000
