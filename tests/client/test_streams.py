"""Streams: complete, resuming, and gone when they are not wanted any more."""

from __future__ import annotations

import threading
import time

import mltetris_client
import pytest
from mltetris_client import Trainer, is_final
from support.server import ServerProcess
from support.small import eventually, in_state


def watchers(trainer: Trainer) -> int:
    return trainer.get_server_info().watchers


def test_metrics_come_in_order_without_gap_until_the_end(trainer: Trainer) -> None:
    run = trainer.start_training()
    with trainer.stream_metrics(run.id) as points:
        sequences = []
        for point in points:
            sequences.append(point.sequence)
            if len(sequences) == 20:
                trainer.stop_run(run.id)
    assert sequences == list(range(1, len(sequences) + 1))
    assert points.last_sequence == sequences[-1]
    assert points.caught_up
    again = [point.sequence for point in trainer.stream_metrics(run.id, after_sequence=10)]
    assert again == sequences[10:]


def test_the_history_of_a_live_run_ends_without_waiting(trainer: Trainer) -> None:
    run = trainer.start_training()
    eventually(lambda: trainer.get_run(run.id).metrics.sequence > 5, "points")
    trainer.pause_run(run.id)  # nothing more to come: reading on would wait for ever
    newest = trainer.get_run(run.id).metrics.sequence
    points = trainer.stream_metrics(run.id)
    sequences = [point.sequence for point in points.history()]
    assert sequences == list(range(1, len(sequences) + 1)) and len(sequences) >= newest
    assert points.caught_up and points.last_sequence == sequences[-1]
    assert list(trainer.stream_metrics(run.id, after_sequence=10**6).history()) == []
    trainer.stop_run(run.id)
    ended = [point.sequence for point in trainer.stream_metrics(run.id).history()]
    assert ended == [point.sequence for point in trainer.stream_metrics(run.id)]
    assert ended[: len(sequences)] == sequences


def test_metrics_survive_a_killed_server(own: ServerProcess) -> None:
    with mltetris_client.connect(own.address) as trainer:
        run = trainer.start_training()
        with trainer.stream_metrics(run.id) as points:
            stream = iter(points)
            sequences = [next(stream).sequence for _ in range(10)]
            assert points.connected
            own.kill()
            eventually(lambda: not _reachable(trainer), "the server to be gone")
            own.start()
            while len(sequences) < 60:
                sequences.append(next(stream).sequence)
        trainer.stop_run(run.id)
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_stream_opened_while_a_known_server_is_away_waits_for_it(own: ServerProcess) -> None:
    with mltetris_client.connect(own.address) as trainer:
        run = trainer.start_training()
        in_state(trainer, run.id, "running")
        own.kill()
        eventually(lambda: not _reachable(trainer), "the server to be gone")
        with trainer.stream_board(run.id) as boards, trainer.watch_runs(run.id) as events:
            own.start()
            assert boards.wait(timeout=30) is not None
            assert next(iter(events)).run.id == run.id
        trainer.stop_run(run.id)


def test_patience_ends(own: ServerProcess) -> None:
    with mltetris_client.connect(own.address) as trainer:
        run = trainer.start_training()
        stream = trainer.stream_metrics(run.id, patience=0.5)
        points = iter(stream)
        next(points)
        own.terminate()
        with pytest.raises(mltetris_client.Unreachable):
            for _ in points:
                pass
        assert not stream.connected


def test_events_of_runs(trainer: Trainer) -> None:
    with trainer.watch_runs() as events:
        stream = iter(events)
        for event in stream:
            if event.WhichOneof("event") == "caught_up":
                break
        run = trainer.start_training()
        revisions: list[int] = []
        stopped = False
        for event in stream:
            if event.HasField("run") and event.run.id == run.id:
                revisions.append(event.run.revision)
                if is_final(event.run):
                    break
            if event.HasField("episode") and event.episode.run == run.id and not stopped:
                stopped = True
                trainer.stop_run(run.id)
        assert revisions == sorted(revisions)
        trainer.delete_run(run.id)
        deleted = next(e.deleted_run for e in stream if e.WhichOneof("event") == "deleted_run")
        assert deleted == run.id


def test_events_survive_a_restart_and_tell_what_changed_meanwhile(own: ServerProcess) -> None:
    with mltetris_client.connect(own.address) as trainer:
        gone = trainer.start_training()
        trainer.stop_run(gone.id)
        kept = trainer.start_training()
        trainer.stop_run(kept.id)
        with trainer.watch_runs() as events:
            stream = iter(events)
            seen = [next(stream) for _ in range(3)]
            assert {e.run.id for e in seen if e.HasField("run")} == {gone.id, kept.id}
            own.terminate()
            own.start()
            # The watcher may be back before or after this: it must learn of it either way.
            with mltetris_client.connect(own.address) as other:
                other.wait_ready()
                other.delete_run(gone.id)
            event = next(stream)
            assert event.WhichOneof("event") == "deleted_run", event
            assert event.deleted_run == gone.id


def test_boards_are_the_newest_and_count_what_was_dropped(trainer: Trainer) -> None:
    run = trainer.start_training()
    in_state(trainer, run.id, "running")
    with trainer.stream_board(run.id, max_fps=100) as boards:
        first = next(iter(boards)).frames[0]
        time.sleep(0.5)  # a slow reader
        second = next(iter(boards)).frames[0]
        # Every frame in between is accounted for.
        assert second.skipped > 0
        assert second.sequence - first.sequence == second.skipped + 1
        third = next(iter(boards)).frames[0]
        assert third.sequence > second.sequence
        assert boards.latest() is None or boards.connected
        trainer.stop_run(run.id)
        for _ in boards:
            pass
        assert boards.ended
        assert boards.wait(timeout=0.1) is None


def test_boards_survive_a_restart(own: ServerProcess) -> None:
    with mltetris_client.connect(own.address) as trainer:
        run = trainer.start_training()
        in_state(trainer, run.id, "running")
        with trainer.stream_board(run.id, max_fps=30) as boards:
            next(iter(boards))
            own.kill()
            own.start()
            eventually(boards.latest, "a frame from the restarted server")
            after = boards.wait(timeout=30)
            assert after is not None and after.frames[0].run == run.id
        trainer.stop_run(run.id)


def test_what_is_left_is_cancelled(trainer: Trainer) -> None:
    run = trainer.start_training()
    in_state(trainer, run.id, "running")
    before = watchers(trainer)
    next(iter(trainer.stream_metrics(run.id)))  # an iterator dropped at once
    with trainer.watch_runs() as events:
        next(iter(events))
    boards = trainer.stream_board(run.id)
    next(iter(boards))
    eventually(lambda: watchers(trainer) > before, "the stream of boards")
    boards.close()
    boards.close()
    eventually(lambda: watchers(trainer) == before, "every stream to be closed")
    trainer.stop_run(run.id)


def test_cancelling_wakes_a_waiting_reader(trainer: Trainer) -> None:
    events = trainer.watch_runs()
    ended = threading.Event()

    def read() -> None:
        for _ in events:
            pass
        ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    eventually(lambda: events.connected, "the stream")
    events.cancel()
    assert ended.wait(10)
    reader.join()


def _reachable(trainer: Trainer) -> bool:
    try:
        trainer.get_server_info()
    except mltetris_client.Unreachable:
        return False
    return True
