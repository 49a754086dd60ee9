"""Reading beside the writer, episodes by page, and totals that outlive their runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import History, WorkerEvent

RUN = "train-1"


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "mltetris.db") as history:
        yield history


def a_run(run_id: str = RUN) -> run_pb2.Run:
    run = run_pb2.Run(id=run_id, kind=run_pb2.RUN_KIND_TRAINING, state=run_pb2.RUN_STATE_RUNNING)
    run.training.SetInParent()
    return run


def test_who_reads_does_not_wait_for_who_writes(history: History) -> None:
    """A transaction that writes stays open while everything is read."""
    history.create_run(a_run())
    history.append(RUN, [WorkerEvent(1, [run_pb2.MetricPoint(sequence=1)])])
    told: list[object] = []
    with history._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM metric_points")

        def look() -> None:
            told.append(history.list_runs()[0])
            told.append(history.thinned_points(RUN, 10)[1])
            told.append(history.stats().metric_points)
            told.append(history.activity.page()[0])

        reader = threading.Thread(target=look)
        reader.start()
        reader.join(20)
        assert not reader.is_alive(), "it waits for the writer"
    assert told == [[a_run()], 1, 1, []]
    assert history.points(RUN) == [], "what is stored is seen by whoever asks afterwards"


def test_who_reads_cannot_write(history: History) -> None:
    with (
        pytest.raises(errors.Unavailable, match="readonly"),
        history._reading() as connection,
    ):
        connection.exec_driver_sql("DELETE FROM runs")


def test_episodes_come_by_time_and_by_lines_in_pages(history: History) -> None:
    history.create_run(a_run())
    games = [
        run_pb2.Episode(
            number=n,
            lines=n % 5,
            player="bcts" if n % 3 == 0 else "random",
            view=run_pb2.RunView.ValueType(1 + n % 2),
        )
        for n in range(40)
    ]
    history.append(RUN, [WorkerEvent(1, episodes=games)])
    for player in ("", "bcts", "nobody"):
        for view in (0, 1, 2):
            for order in ("", "time", "lines"):
                for ascending in (False, True):
                    expected = [
                        game
                        for game in games
                        if player in ("", game.player) and view in (0, game.view)
                    ]
                    by_lines = order == "lines"
                    expected.sort(key=lambda g: (g.lines if by_lines else 0, g.number))
                    if not ascending:
                        expected.reverse()
                    found: list[run_pb2.Episode] = []
                    token = ""
                    while True:
                        page, token = history.list_episodes(
                            RUN,
                            player=player,
                            view=view,
                            order_by=order,
                            ascending=ascending,
                            page_size=7,
                            page_token=token,
                        )
                        found += page
                        if not token:
                            break
                    assert found == expected, (player, view, order, ascending)
    _, token = history.list_episodes(RUN, page_size=3)
    with pytest.raises(errors.InvalidArgument):
        history.list_episodes(RUN, order_by="lines", page_token=token)
    with pytest.raises(errors.InvalidArgument):
        history.list_episodes(RUN, order_by="colour")
    with pytest.raises(errors.NotFound):
        history.list_episodes("none")


class Training:
    """A run as its worker tells of it."""

    def __init__(self, history: History, run: run_pb2.Run) -> None:
        self.history = history
        self.run = run
        self.event = 0
        history.create_run(run)

    def report(self, placements: int, games: int) -> None:
        self.event += 1
        point = run_pb2.MetricPoint(sequence=self.event, placements=placements, episodes=games)
        self.run.metrics.CopyFrom(point)
        self.history.append(self.run.id, [WorkerEvent(self.event, [point])], run=self.run)

    def restart(self) -> None:
        self.run.restarts += 1
        self.run.state = run_pb2.RUN_STATE_STARTING
        self.history.save_run(self.run)
        self.run.state = run_pb2.RUN_STATE_RUNNING
        self.history.save_run(self.run)


def totals(history: History) -> tuple[int, int]:
    stats = history.stats()
    return stats.placements, stats.games


def test_totals_count_what_was_made_once_and_outlive_it(tmp_path: Path) -> None:
    path = tmp_path / "mltetris.db"
    with History(path) as history:
        training = Training(history, a_run())
        training.report(100, 2)
        training.report(250, 7)
        # Sent again after a broken line: nothing new.
        history.append(RUN, [WorkerEvent(2, [training.run.metrics])], run=training.run)
        assert totals(history) == (250, 7)
    with History(path) as history:
        training.history = history
        training.report(300, 8)
        history.delete_run(RUN)
        assert totals(history) == (300, 8)
        Training(history, a_run("train-2")).report(10, 1)
        assert totals(history) == (310, 9)


def test_what_a_training_goes_on_from_is_not_counted_again(history: History) -> None:
    run = a_run()
    run.training.slot = "mine"
    training = Training(history, run)
    run.first_placements = 1_000_000
    training.report(1_000_050, 5000)
    assert totals(history) == (50, 0)
    training.report(1_000_100, 5003)
    assert totals(history) == (100, 3)


def test_a_restarted_worker_is_counted_from_its_checkpoint(history: History) -> None:
    training = Training(history, a_run())
    training.report(100, 1)
    training.run.checkpoints.add(kind=run_pb2.CHECKPOINT_KIND_LATEST, placements=100)
    training.report(180, 5)
    training.restart()
    assert totals(history) == (180, 5), "what was lost was played all the same"
    # It is further than before by the time it first tells.
    training.report(200, 4)
    assert totals(history) == (280, 5)
    training.report(230, 6)
    assert totals(history) == (310, 7)


def test_a_restarted_run_without_checkpoints_is_counted_from_its_beginning(
    history: History,
) -> None:
    training = Training(history, a_run())
    training.report(100, 5)
    training.restart()
    training.report(40, 2)
    assert totals(history) == (140, 7)


def test_dropped_episodes_and_points_are_not_counted_as_kept(history: History) -> None:
    history.create_run(a_run())
    points = [run_pb2.MetricPoint(sequence=n) for n in range(1, 11)]
    games = [run_pb2.Episode(number=n) for n in range(10)]
    history.append(RUN, [WorkerEvent(1, points, games)])
    assert history.drop_points(RUN, 4) == 4
    assert [point.sequence for point in history.points(RUN)] == list(range(5, 11))
    assert history.stats().metric_points == 6
    assert history.drop_episodes(RUN, 3) == 3
    assert [game.number for game in history.episodes(RUN)] == list(range(3, 10))
    assert history.drop_episodes(RUN) == 7
    assert history.drop_episodes(RUN) == 0
