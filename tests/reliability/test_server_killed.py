"""Servers that are killed while runs train: no gap, no repeat, one run for each request."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import grpc
import mltetris_client
import pytest
from mltetris_api.v1 import run_pb2, trainer_pb2, trainer_pb2_grpc
from mltetris_client import Trainer
from mltetris_server.runs.settings import RunSettings
from mltetris_server.storage.history import History
from support.server import ServerProcess
from support.small import PATIENCE_S, eventually, in_state, small_service
from support.watchers import EventWatcher, MetricWatcher

State = run_pb2.RunState
ONE_LIFE = [
    State.RUN_STATE_QUEUED,
    State.RUN_STATE_STARTING,
    State.RUN_STATE_RUNNING,
    State.RUN_STATE_STOPPING,
    State.RUN_STATE_STOPPED,
]

MANY = [pytest.mark.slow, pytest.mark.timeout(900)]


def counted(numbers: Iterable[int]) -> list[int]:
    """The numbers, which are to be 1, 2, 3, and so on."""
    found = list(numbers)
    assert found == list(range(1, len(found) + 1)), found
    return found


def goes_on(trainer: Trainer, run: str, points: int = 3) -> run_pb2.Run:
    """Waits until the run has said some more to the server that is there now."""
    before = trainer.get_run(run).metrics.sequence
    return eventually(
        lambda: run_ if (run_ := trainer.get_run(run)).metrics.sequence > before + points else None,
        f"run {run} to go on after point {before}",
    )


def kill_at_random(server: ServerProcess, dice: random.Random, runs: list[str]) -> None:
    """Kills the server at some moment, and starts it again after another."""
    time.sleep(dice.uniform(0, 0.7))
    server.kill()
    time.sleep(dice.uniform(0, 1.0))
    server.start()
    with mltetris_client.connect(server.address) as trainer:
        for run in runs:
            goes_on(trainer, run)


def test_the_grace_is_a_minute() -> None:
    assert RunSettings(max_runs=1).grace_s == 60


@pytest.mark.parametrize(
    "kills", [pytest.param(3, id="few"), pytest.param(20, id="many", marks=MANY)]
)
def test_a_history_has_no_gap_and_no_repeat(tmp_path: Path, kills: int) -> None:
    dice = random.Random(kills)
    with (
        small_service(tmp_path / "data", "--max-runs", "4", habits="talkative") as server,
        mltetris_client.connect(server.address) as trainer,
        EventWatcher(trainer) as events,
    ):
        runs = [trainer.start_training().id for _ in range(3)]
        watchers = {run: MetricWatcher(trainer, run) for run in runs}
        for run in runs:
            in_state(trainer, run, "running")
            trainer.save_slot(f"slot-{run}", run=run, checkpoint="latest")
        workers = {worker.pid for worker in server.workers()}
        kept = {run: list(trainer.get_run(run).checkpoints) for run in runs}
        for _ in range(kills):
            kill_at_random(server, dice, runs)
            trainer.wait_ready(PATIENCE_S)
            for run in runs:
                assert list(trainer.get_run(run).checkpoints) == kept[run]
        assert {worker.pid for worker in server.workers()} == workers
        lengths = {}
        for run in runs:
            assert trainer.stop_run(run).restarts == 0
            stored = list(trainer.stream_metrics(run))
            lengths[run] = counted(point.sequence for point in stored)[-1]
            assert [point.placements for point in stored] == [100 * p.sequence for p in stored]
            assert watchers[run].ended(PATIENCE_S) == stored, "the watcher saw each point once"
    with History(tmp_path / "data" / "mltetris.db") as history:
        for run in runs:
            numbers = counted(episode.number for episode in history.episodes(run, 10**6))
            assert len(numbers) == lengths[run] // 10
            assert [change.state for change in history.state_changes(run)] == ONE_LIFE
    assert len({(e.run, e.number) for e in events.episodes}) == len(events.episodes)
    for run in runs:
        said = [text for of, text in events.notices if of == run]
        # Notices are in no history: who is not there yet does not hear them, but nobody twice.
        assert said
        assert said == sorted(set(said), key=lambda text: int(text.split()[1]))
    print(f"{kills} kills, points by run: {sorted(lengths.values())}")


@pytest.mark.parametrize(
    "kills", [pytest.param(2, id="few"), pytest.param(8, id="many", marks=MANY)]
)
def test_a_real_training_goes_on_as_if_nothing_had_happened(tmp_path: Path, kills: int) -> None:
    dice = random.Random(kills)
    with (
        ServerProcess(tmp_path / "data") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        run = trainer.start_training(
            seed=1,
            mode="headless",
            max_training_rate=20_000,
            checkpoint_period=0.3,
            evaluation_games=2,
            evaluation_max_lines=20,
            training_height=6,
        ).id
        watcher = MetricWatcher(trainer, run)
        eventually(lambda: len(trainer.get_run(run).checkpoints) == 2, "the first checkpoints")
        (worker,) = server.workers()
        before = trainer.get_run(run)
        for _ in range(kills):
            kill_at_random(server, dice, [run])
            trainer.wait_ready(PATIENCE_S)
            now = trainer.get_run(run)
            assert [info.kind for info in now.checkpoints] == [i.kind for i in before.checkpoints]
            for new, old in zip(now.checkpoints, before.checkpoints, strict=True):
                assert new.placements >= old.placements
            before = now
        assert [process.pid for process in server.workers()] == [worker.pid]
        seen = trainer.get_run(run).checkpoints[1]
        eventually(
            lambda: trainer.get_run(run).checkpoints[1].placements > seen.placements,
            "another checkpoint",
        )
        stopped = trainer.stop_run(run)
        assert stopped.restarts == 0
        stored = list(trainer.stream_metrics(run))
        assert watcher.ended(PATIENCE_S) == stored
    counted(point.sequence for point in stored)
    placements = [point.placements for point in stored]
    assert placements == sorted(placements)
    assert not any("restarted" in change for point in stored for change in point.changes)
    with History(tmp_path / "data" / "mltetris.db") as history:
        games = [(e.view, e.board, e.number) for e in history.episodes(run, 10**6)]
        assert games
        assert len(set(games)) == len(games)
        assert [change.state for change in history.state_changes(run)] == ONE_LIFE


@pytest.mark.parametrize(
    "times", [pytest.param(5, id="few"), pytest.param(15, id="many", marks=MANY)]
)
def test_a_request_asked_again_of_the_next_server_is_one_run(tmp_path: Path, times: int) -> None:
    dice = random.Random(times)
    answered, runs = 0, []
    with (
        small_service(tmp_path / "data", "--max-runs", str(times)) as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        for k in range(times):
            request = trainer_pb2.StartRunRequest(
                training=run_pb2.TrainingSpec(), request_id=f"request-{k}", display_name=f"run {k}"
            )
            with server.channel() as channel:
                grpc.channel_ready_future(channel).result(PATIENCE_S)
                call = trainer_pb2_grpc.TrainerServiceStub(channel).StartRun.future(
                    request, timeout=PATIENCE_S
                )
                # Some before it is stored, some while its worker is started, some afterwards.
                time.sleep(dice.uniform(0, dice.choice([0.03, 0.5])))
                server.kill()
                try:
                    first = call.result().run.id
                    answered += 1
                except grpc.RpcError:
                    first = ""
            server.start()
            run = trainer.start_training(request_id=f"request-{k}", display_name=f"run {k}").id
            assert first in ("", run)
            runs.append(run)
        assert sorted(run.id for run in trainer.list_runs()) == sorted(runs)
        for run in runs:
            # Also where the server was killed in the middle of starting its worker.
            in_state(trainer, run, "running")
            counted(point.sequence for point in trainer.stream_metrics(run).history())
        eventually(lambda: len(server.workers()) == times, "one worker for each")
    print(f"{times} kills, {answered} answered before")


def test_a_request_asked_twice_at_once_after_a_restart_is_one_run(tmp_path: Path) -> None:
    with (
        small_service(tmp_path / "data") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        first = trainer.start_training(request_id="the-one").id
        server.kill()
        server.start()
        found: list[str] = []
        threads = [
            threading.Thread(
                target=lambda: found.append(trainer.start_training(request_id="the-one").id)
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert found == [first] * 8
        assert len(trainer.list_runs()) == 1
