"""TrainerService: runs. Thin: what a call means is decided in runs/."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from mltetris_api.v1 import trainer_pb2

from mltetris_server.runs import control
from mltetris_server.runs.datasets import Datasets
from mltetris_server.runs.manager import RunManager
from mltetris_server.runs.models import Models
from mltetris_server.runs.scores import Scores
from mltetris_server.runs.specs import check_speed
from mltetris_server.runs.threads import Thread
from mltetris_server.service.benchmarks import BenchmarkMethods
from mltetris_server.service.datasets import DatasetMethods
from mltetris_server.service.handlers import Context
from mltetris_server.service.history import HistoryMethods
from mltetris_server.service.slots import SlotMethods
from mltetris_server.storage.history import History


class TrainerServicer(SlotMethods, HistoryMethods, BenchmarkMethods, DatasetMethods):
    """Answers `mltetris.v1.TrainerService`."""

    def __init__(
        self,
        manager: RunManager,
        models: Models,
        datasets: Datasets,
        scores: Scores,
        *,
        history: History,
        look: Thread,
    ) -> None:
        SlotMethods.__init__(self, manager, models, scores)
        HistoryMethods.__init__(self, history, look, models, datasets)
        self._manager = manager
        self._datasets = datasets

    async def StartRun(
        self, request: trainer_pb2.StartRunRequest, context: Context
    ) -> trainer_pb2.StartRunResponse:
        """Starts a run, or queues it."""
        return trainer_pb2.StartRunResponse(run=await self._manager.start(request))

    async def PauseRun(
        self, request: trainer_pb2.PauseRunRequest, context: Context
    ) -> trainer_pb2.PauseRunResponse:
        """Holds a run; returns when it is held."""
        run = await self._manager.command(request.run, "paused", control.pause)
        return trainer_pb2.PauseRunResponse(run=run)

    async def ResumeRun(
        self, request: trainer_pb2.ResumeRunRequest, context: Context
    ) -> trainer_pb2.ResumeRunResponse:
        """Lets a run go on."""
        run = await self._manager.command(request.run, "resumed", control.resume)
        return trainer_pb2.ResumeRunResponse(run=run)

    async def StopRun(
        self, request: trainer_pb2.StopRunRequest, context: Context
    ) -> trainer_pb2.StopRunResponse:
        """Ends a run; returns when it is final."""
        return trainer_pb2.StopRunResponse(run=await self._manager.stop(request.run))

    async def SetSpeed(
        self, request: trainer_pb2.SetSpeedRequest, context: Context
    ) -> trainer_pb2.SetSpeedResponse:
        """Sets the pace of the watched game, of the training, or of both."""
        check_speed(request)
        run = await self._manager.command(
            request.run, "steered", lambda live: control.set_speed(live, request)
        )
        return trainer_pb2.SetSpeedResponse(run=run)

    async def SetMode(
        self, request: trainer_pb2.SetModeRequest, context: Context
    ) -> trainer_pb2.SetModeResponse:
        """Sets how the watched game is paced and which game it is."""
        run = await self._manager.command(
            request.run, "steered", lambda live: control.set_mode(live, request)
        )
        return trainer_pb2.SetModeResponse(run=run)

    async def UpdateRun(
        self, request: trainer_pb2.UpdateRunRequest, context: Context
    ) -> trainer_pb2.UpdateRunResponse:
        """Changes a run's name, learning rate, exploration or budget."""
        return trainer_pb2.UpdateRunResponse(run=await self._manager.update(request))

    async def GetRun(
        self, request: trainer_pb2.GetRunRequest, context: Context
    ) -> trainer_pb2.GetRunResponse:
        """Returns one run."""
        return trainer_pb2.GetRunResponse(run=await self._manager.get(request.run))

    async def ListRuns(
        self, request: trainer_pb2.ListRunsRequest, context: Context
    ) -> trainer_pb2.ListRunsResponse:
        """Returns a page of runs."""
        runs, token, total = await self._manager.list(request)
        return trainer_pb2.ListRunsResponse(runs=runs, next_page_token=token, total_count=total)

    async def DeleteRun(
        self, request: trainer_pb2.DeleteRunRequest, context: Context
    ) -> trainer_pb2.DeleteRunResponse:
        """Removes a final run."""
        await self._manager.delete(request.run)
        return trainer_pb2.DeleteRunResponse()

    def WatchRuns(
        self, request: trainer_pb2.WatchRunsRequest, context: Context
    ) -> AsyncGenerator[bytes, None]:
        """Sends every run as it is, then every change, episode and notice."""
        return self._manager.watch_runs(request.run)

    def StreamMetrics(
        self, request: trainer_pb2.StreamMetricsRequest, context: Context
    ) -> AsyncGenerator[trainer_pb2.StreamMetricsResponse, None]:
        """Sends a run's metrics: history first, then live."""
        return self._manager.stream_metrics(request.run, request.after_sequence)

    def StreamBoard(
        self, request: trainer_pb2.StreamBoardRequest, context: Context
    ) -> AsyncGenerator[bytes, None]:
        """Sends a run's boards: always the newest."""
        return self._manager.stream_board(request.run, request.max_fps, request.include_values)
