"""Workers that die, hang, fail or never come: the run says so, and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import grpc
import pytest
from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_api.v1.run_pb2 import RunReason
from support.small_server import SmallServer, living_workers, small_server
from support.small_worker import VARIABLE

FAILED = run_pb2.RUN_STATE_FAILED
RUNNING = run_pb2.RUN_STATE_RUNNING


async def gone(count: int = 0) -> None:
    """Waits until at most `count` workers live."""
    async with asyncio.timeout(20):
        while len(living_workers()) > count:  # noqa: ASYNC110 - other processes tell nobody
            await asyncio.sleep(0.02)


async def test_a_killed_worker_fails_its_run_at_once(small: SmallServer) -> None:
    run, other = await small.running(), await small.running()
    metrics = small.trainer.StreamMetrics(trainer_pb2.StreamMetricsRequest(run=run.id))
    await small.until(run.id, lambda run: run.metrics.sequence > 3)
    (victim,) = [p for p in living_workers() if p.environ()["MLTETRIS_WORKER_RUN"] == run.id]
    victim.kill()
    failed = await small.until_state(run.id, FAILED)
    assert failed.reason == RunReason.RUN_REASON_WORKER_DIED
    assert "SIGKILL" in failed.error.message
    points = [point.sequence async for response in metrics for point in response.points]
    assert points == list(range(1, failed.metrics.sequence + 1)), "what it said is kept"
    assert (await small.run(other.id)).state == RUNNING
    assert (await small.start()).id != run.id, "the server serves on"


async def test_a_worker_that_ends_says_how(
    small: SmallServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "die-on-pause")
    run = await small.running()
    with pytest.raises(grpc.aio.AioRpcError):
        await small.trainer.PauseRun(trainer_pb2.PauseRunRequest(run=run.id))
    failed = await small.until_state(run.id, FAILED)
    assert failed.reason == RunReason.RUN_REASON_WORKER_DIED
    assert "exit code 7" in failed.error.message
    assert failed.log_tail.endswith("about to die")


async def test_a_worker_that_ends_before_it_reports_never_started(
    small: SmallServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "exit")
    run = await small.start()
    failed = await small.until_state(run.id, FAILED)
    assert failed.reason == RunReason.RUN_REASON_START_FAILED
    assert "exit code 3" in failed.error.message
    assert failed.log_tail == "no luck today"
    assert not failed.HasField("start_time")


async def test_a_worker_that_says_it_failed_is_quoted(
    small: SmallServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "fail")
    run = await small.start()
    failed = await small.until_state(run.id, FAILED)
    assert failed.reason == RunReason.RUN_REASON_WORKER_ERROR
    assert failed.error.message == "no luck today"
    assert failed.metrics.sequence == 5


async def test_a_worker_that_reaches_its_goal_succeeds(
    small: SmallServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "quick")
    run = await small.start()
    done = await small.until_state(run.id, run_pb2.RUN_STATE_SUCCEEDED)
    assert done.reason == RunReason.RUN_REASON_GOAL_REACHED
    assert done.metrics.sequence == 5
    assert done.best_evaluation.mean_lines == done.last_evaluation.mean_lines == 95
    await gone()


async def test_a_worker_that_never_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "mute")
    async with small_server(tmp_path / "data", start_s=0.5) as small:
        run = await small.start()
        failed = await small.until_state(run.id, FAILED)
        assert failed.reason == RunReason.RUN_REASON_START_FAILED
        assert "did not report within 0.5 s" in failed.error.message
        await gone()


async def test_a_worker_that_cannot_be_started(tmp_path: Path) -> None:
    async with small_server(tmp_path / "data", command=("/nonexistent/program",)) as small:
        failed = await small.start()
    assert failed.state == FAILED
    assert failed.reason == RunReason.RUN_REASON_START_FAILED
    assert "could not be started" in failed.error.message


@pytest.mark.skipif(not hasattr(__import__("signal"), "SIGSTOP"), reason="needs SIGSTOP")
async def test_a_worker_that_falls_silent_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "hang-on-pause")
    async with small_server(tmp_path / "data", silence_s=2.5) as small:
        run = await small.running()
        with pytest.raises(grpc.aio.AioRpcError):
            await small.trainer.PauseRun(trainer_pb2.PauseRunRequest(run=run.id))
        failed = await small.until_state(run.id, FAILED)
        assert failed.reason == RunReason.RUN_REASON_WORKER_UNRESPONSIVE
        await gone()


async def test_a_worker_that_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "deaf")
    async with small_server(tmp_path / "data", stop_s=0.5) as small:
        run = await small.running()
        stopped = (await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))).run
        assert stopped.state == FAILED
        assert stopped.reason == RunReason.RUN_REASON_WORKER_UNRESPONSIVE
        assert "did not stop within 0.5 s" in stopped.error.message
        await gone()


async def test_a_place_is_free_again_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small_server(tmp_path / "data", max_runs=1) as small:
        monkeypatch.setenv(VARIABLE, "exit")
        first = await small.start()
        monkeypatch.delenv(VARIABLE)
        second = await small.start()
        await small.until_state(first.id, FAILED)
        await small.until_state(second.id, RUNNING)


async def test_only_the_runs_own_worker_is_let_in(small: SmallServer) -> None:
    from mltetris_api.worker.v1 import worker_pb2, worker_pb2_grpc

    run = await small.running()
    (worker,) = living_workers()
    address = worker.environ()["MLTETRIS_WORKER_ADDRESS"]
    secret = worker.environ()["MLTETRIS_WORKER_SECRET"]
    assert secret not in " ".join(worker.cmdline())

    async def attach(run_id: str, secret: str) -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(address) as channel:
            call = worker_pb2_grpc.WorkerServiceStub(channel).Attach(
                metadata=(("mltetris-run", run_id), ("mltetris-secret", secret))
            )
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(worker_pb2.AttachRequest(hello=worker_pb2.Hello(pid=1)))
            return await call.code()

    assert await attach(run.id, "guess") == grpc.StatusCode.UNAUTHENTICATED
    assert await attach(run.id, "") == grpc.StatusCode.UNAUTHENTICATED
    assert await attach("train-nosuch", secret) == grpc.StatusCode.NOT_FOUND
    await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))
    await gone()
    assert await attach(run.id, secret) == grpc.StatusCode.FAILED_PRECONDITION
