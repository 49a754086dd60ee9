"""Looking back over the wire: lists, metrics, games, lineages, and what may not be removed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mltetris_client
import pytest
from mltetris_client import InvalidArgument, MlTetrisError, NotFound, Run, Trainer, WrongState
from support.server import ServerProcess
from support.small import eventually, in_state, small_service


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Two runs at a time; every training reaches its goal after five metric points."""
    folder = tmp_path_factory.mktemp("history") / "data"
    with small_service(folder, "--max-runs", "2", habits="quick") as server:
        yield server


@pytest.fixture
def trainer(server: ServerProcess) -> Iterator[Trainer]:
    with mltetris_client.connect(server.address) as trainer:
        yield trainer


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Trainer]:
    """A server of its own with one place, whose runs go on until they are stopped."""
    with (
        small_service(tmp_path / "data", "--max-runs", "1") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        yield trainer


def ended(trainer: Trainer, **options: object) -> Run:
    run = trainer.start_training(**options)  # type: ignore[arg-type]
    return in_state(trainer, run.id, "succeeded")


def stopped(trainer: Trainer, **options: object) -> Run:
    """A run that has its `final` checkpoint."""
    run = trainer.start_training(**options)  # type: ignore[arg-type]
    eventually(lambda: trainer.get_run(run.id).metrics.sequence, "a metric point")
    trainer.stop_run(run.id)
    return trainer.get_run(run.id)


def test_a_run_is_in_the_list_as_soon_as_it_was_answered(trainer: Trainer) -> None:
    for _ in range(5):
        run = trainer.start_training(display_name="just now")
        assert trainer.list_runs(text="JUST NOW", limit=1)[0].id == run.id
        in_state(trainer, run.id, "succeeded")


def test_runs_are_found_by_what_they_are(trainer: Trainer) -> None:
    begun = datetime.now(UTC)
    ours = ended(trainer, display_name="50%_of it", algorithm="cem", from_slot="bcts")
    other = ended(trainer, display_name="50 of it")

    def found(**asked: object) -> set[str]:
        told = {run.id for run in trainer.list_runs(**asked)}  # type: ignore[arg-type]
        return told & {ours.id, other.id}

    assert found(text="%_O") == {ours.id}
    assert found(text=other.id.upper()) == {other.id}
    assert found(slot="bcts") == {ours.id}
    assert found(algorithms=["cem"]) == {ours.id}
    assert found(created_after=begun - timedelta(seconds=1)) == {ours.id, other.id}
    assert found(created_before=begun - timedelta(seconds=1)) == set()
    assert found(kinds=["demo"]) == set()
    assert found(suite="standard-10x20-bag") == set()
    newest_first = [run.id for run in trainer.list_runs(order_by="end_time")]
    assert newest_first.index(other.id) < newest_first.index(ours.id)


def test_metrics_are_thinned_also_of_a_run_that_goes_on(slow: Trainer) -> None:
    run = slow.start_training()
    eventually(lambda: slow.get_run(run.id).metrics.sequence > 60, "sixty points")
    history = slow.get_metric_history(run.id, max_points=10)
    assert len(history.points) <= 10 < 60 < history.total_points
    assert history.points[0].sequence == 1
    assert history.points[-1].sequence == history.total_points
    after = slow.get_metric_history(run.id, after_sequence=history.total_points - 5)
    assert after.points[0].sequence == history.total_points - 4
    for most in (9, 10_001):
        with pytest.raises(InvalidArgument, match="max_points"):
            slow.get_metric_history(run.id, max_points=most)
    with pytest.raises(NotFound):
        slow.get_metric_history("train-none")
    # Who streams sees all of them all the same.
    seen = [point.sequence for point in slow.stream_metrics(run.id).history()]
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) >= history.total_points


def test_games_come_newest_first_or_best_first(slow: Trainer) -> None:
    run = slow.start_training()
    eventually(lambda: len(slow.list_episodes(run.id)) >= 3, "three games")
    games = slow.list_episodes(run.id)
    assert [game.number for game in games] == sorted((g.number for g in games), reverse=True)
    assert slow.list_episodes(run.id, ascending=True, limit=1)[0].number == games[-1].number
    lines = [game.lines for game in slow.list_episodes(run.id, order_by="lines")]
    assert lines == sorted(lines, reverse=True)
    assert slow.list_episodes(run.id, player="bcts") == []
    with pytest.raises(NotFound):
        slow.list_episodes("train-none")


def test_a_lineage_leads_from_a_slot_to_what_it_was_made_of(slow: Trainer) -> None:
    trainer = slow
    first = stopped(trainer, from_slot="bcts", algorithm="cem")
    trainer.save_slot("first", run=first.id, checkpoint="final")
    second = stopped(trainer, from_slot="first")
    trainer.save_slot("second", run=second.id, checkpoint="final")

    def told(slot: str) -> list[tuple[str, bool]]:
        nodes = trainer.get_lineage(slot=slot).nodes
        return [(getattr(node, node.WhichOneof("subject") or ""), node.exists) for node in nodes]

    whole = [("second", True), (second.id, True), ("first", True), (first.id, True), ("bcts", True)]
    assert told("second") == whole
    trainer.update_slot("first", new_name="renamed")
    assert told("second") == [
        *whole[:2],
        ("renamed", True),
        *whole[3:],
    ]
    trainer.delete_run(first.id)
    assert told("second")[3:] == [(first.id, False)]
    trainer.delete_slot("renamed")
    assert told("second")[2:] == [("first", False)]
    with pytest.raises(NotFound):
        trainer.get_lineage(slot="renamed")
    with pytest.raises(InvalidArgument):
        trainer.get_lineage()


def test_a_deleted_run_leaves_nothing_but_the_totals(
    trainer: Trainer, server: ServerProcess
) -> None:
    run = ended(trainer)
    before = trainer.get_stats()
    assert (server.data_dir / "runs" / run.id).exists()
    trainer.delete_run(run.id)
    for ask in (
        lambda: trainer.get_run(run.id),
        lambda: trainer.get_metric_history(run.id),
        lambda: trainer.list_episodes(run.id),
        lambda: trainer.get_lineage(run=run.id),
        lambda: trainer.delete_run(run.id),
    ):
        with pytest.raises(NotFound):
            ask()
    assert not (server.data_dir / "runs" / run.id).exists()
    after = trainer.get_stats()
    assert (after.placements, after.games) == (before.placements, before.games)
    assert after.metric_points == before.metric_points - run.metrics.sequence


def test_what_an_unfinished_run_needs_is_not_removed(slow: Trainer) -> None:
    first = stopped(slow)
    slow.save_slot("mine", run=first.id, checkpoint="final")
    busy = slow.start_training()
    in_state(slow, busy.id, "running")
    waiting = slow.start_training(from_run=f"{first.id}:final")
    other = slow.start_training(from_slot="mine")
    with pytest.raises(WrongState, match=waiting.id):
        slow.delete_run(first.id)
    for attempt in (
        lambda: slow.delete_slot("mine", force=True),
        lambda: slow.update_slot("mine", new_name="yours"),
        lambda: slow.save_slot("mine", run=first.id, checkpoint="final", overwrite=True),
    ):
        with pytest.raises(WrongState, match=other.id):
            attempt()
    # Its notes are no part of the model.
    slow.update_slot("mine", notes="in use")
    slow.stop_run(waiting.id)
    slow.stop_run(other.id)
    slow.save_slot("mine", run=first.id, checkpoint="final", overwrite=True)
    slow.update_slot("mine", new_name="yours")
    slow.delete_run(first.id)
    slow.delete_slot("yours", force=True)


def test_a_run_is_not_deleted_under_one_that_is_just_being_made_of_it(slow: Trainer) -> None:
    """Either the start finds it gone, or the deletion is refused; never a run without its model."""
    for _ in range(8):
        source = stopped(slow)
        with ThreadPoolExecutor(2) as pool:
            started = pool.submit(slow.start_training, from_run=f"{source.id}:final")
            deleted = pool.submit(slow.delete_run, source.id)
            refusals = [job.exception() for job in (started, deleted)]
        assert len([refusal for refusal in refusals if refusal is not None]) == 1, refusals
        assert isinstance(refusals[0] or refusals[1], MlTetrisError)
        if refusals[0] is None:
            slow.stop_run(started.result().id)
            assert slow.get_run(source.id).id == source.id
