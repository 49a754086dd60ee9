"""`Trainer`: a connection to a server, with a method for everything it can do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, Unpack

from google.protobuf.field_mask_pb2 import FieldMask
from mltetris_api.v1 import run_pb2, system_pb2, trainer_pb2

from mltetris_client import specs
from mltetris_client.access import Access
from mltetris_client.benchmarks import BenchmarkCalls
from mltetris_client.boards import BoardStream
from mltetris_client.datasets import DatasetCalls
from mltetris_client.errors import InvalidArgument
from mltetris_client.history import HistoryCalls
from mltetris_client.link import Link
from mltetris_client.machine import MachineCalls
from mltetris_client.names import ModeName, ViewName, value_of
from mltetris_client.policy import PolicyCalls
from mltetris_client.slots import SlotCalls
from mltetris_client.streams import MetricStream, RunEvents

_PAGE = 500


class Trainer(SlotCalls, HistoryCalls, BenchmarkCalls, DatasetCalls, PolicyCalls, MachineCalls):
    """A connection to a server. Make it with `connect`; use it from any number of threads.

    Methods return the contract's messages (`Run`, `Slot`, ...) and raise `MlTetrisError`. Where a
    method names its exceptions, these are the ones to expect beside `Unreachable`, which every
    call may raise.
    """

    def __init__(
        self, address: str | None = None, access: Access | None = None, *, timeout: float = 30.0
    ) -> None:
        super().__init__(Link(address, access or Access.of(), timeout=timeout))

    @property
    def address(self) -> str:
        """Where the server is, as HOST:PORT or unix:/PATH."""
        return self._link.address

    def close(self) -> None:
        """Closes the connection: calls under way fail, streams end. May be called twice."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Waits until the server answers.

        Raises:
            Unreachable: it did not within ``timeout`` seconds.
        """
        self._link.wait_ready(timeout)

    # -- Starting runs ---------------------------------------------------------------------------

    def start_run(
        self,
        spec: run_pb2.TrainingSpec
        | run_pb2.DemoSpec
        | run_pb2.BenchmarkSpec
        | run_pb2.SimulationSpec,
        *,
        display_name: str = "",
        request_id: str = "",
        restarts: int = 0,
        restart_backoff: float | None = None,
    ) -> run_pb2.Run:
        """Starts what a spec describes, or queues it. A repeated ``request_id`` starts nothing.

        Args:
            spec: What to run.
            display_name: For people.
            request_id: The same one never starts a second run.
            restarts: How often it goes on by itself, from its newest checkpoint, after its worker
                died or hung, 0..1000.
            restart_backoff: Seconds before the first time, doubled with each that follows; None:
                the server's default, 1.

        Raises:
            InvalidArgument: the spec is wrong; ``fields`` names where.
            NotFound: it starts from, or plays, something that is not there.
            NotSupported: this server does not offer this kind of run.
        """
        request = trainer_pb2.StartRunRequest(display_name=display_name, request_id=request_id)
        if restarts or restart_backoff is not None:
            request.restart_policy.CopyFrom(specs.restart_policy(restarts, restart_backoff))
        match spec:
            case run_pb2.TrainingSpec():
                request.training.CopyFrom(spec)
            case run_pb2.DemoSpec():
                request.demo.CopyFrom(spec)
            case run_pb2.BenchmarkSpec():
                request.benchmark.CopyFrom(spec)
            case run_pb2.SimulationSpec():
                request.simulation.CopyFrom(spec)
            case _:
                raise InvalidArgument.field("spec", f"{type(spec).__name__} is no spec of a run")
        return self._link.unary(self._link.trainer.StartRun, request).run

    def start_training(
        self,
        *,
        display_name: str = "",
        request_id: str = "",
        restarts: int = 0,
        restart_backoff: float | None = None,
        **options: Unpack[specs.TrainingOptions],
    ) -> run_pb2.Run:
        """Starts a training; ``options`` are those of `specs.TrainingOptions`. See `start_run`."""
        spec = specs.training(**options)
        return self.start_run(
            spec,
            display_name=display_name,
            request_id=request_id,
            restarts=restarts,
            restart_backoff=restart_backoff,
        )

    def start_demo(
        self,
        slots: Sequence[str] = (),
        *,
        display_name: str = "",
        request_id: str = "",
        restarts: int = 0,
        restart_backoff: float | None = None,
        **options: Unpack[specs.DemoOptions],
    ) -> run_pb2.Run:
        """Shows up to four slots playing; none: the active one. See `start_run`."""
        spec = specs.demo(slots, **options)
        return self.start_run(
            spec,
            display_name=display_name,
            request_id=request_id,
            restarts=restarts,
            restart_backoff=restart_backoff,
        )

    def start_simulation(
        self,
        *,
        display_name: str = "",
        request_id: str = "",
        restarts: int = 0,
        restart_backoff: float | None = None,
        **options: Unpack[specs.SimulationOptions],
    ) -> run_pb2.Run:
        """Plays games to make a dataset; ``options`` are those of `specs.SimulationOptions`.

        See `start_run`. The dataset is there once ``run.simulation_result.stored`` is true.

        Raises:
            AlreadyExists: there is a dataset of that name.
        """
        spec = specs.simulation(**options)
        return self.start_run(
            spec,
            display_name=display_name,
            request_id=request_id,
            restarts=restarts,
            restart_backoff=restart_backoff,
        )

    def start_benchmark(
        self,
        players: Sequence[str],
        *,
        display_name: str = "",
        request_id: str = "",
        restarts: int = 0,
        restart_backoff: float | None = None,
        **options: Unpack[specs.BenchmarkOptions],
    ) -> run_pb2.Run:
        """Compares one to sixteen players on the same pieces: slots, or ``RUN:best|latest|final``.

        See `specs.BenchmarkOptions` and `start_run`. What came of it is `Run.benchmark_result`.
        """
        spec = specs.benchmark(players, **options)
        return self.start_run(
            spec,
            display_name=display_name,
            request_id=request_id,
            restarts=restarts,
            restart_backoff=restart_backoff,
        )

    # -- Steering runs ---------------------------------------------------------------------------

    def pause_run(self, run: str) -> run_pb2.Run:
        """Holds a running run; returns when it is held.

        Raises:
            NotFound, WrongState.
        """
        request = trainer_pb2.PauseRunRequest(run=run)
        return self._link.unary(self._link.trainer.PauseRun, request).run

    def resume_run(self, run: str) -> run_pb2.Run:
        """Lets a paused run go on.

        Raises:
            NotFound, WrongState.
        """
        request = trainer_pb2.ResumeRunRequest(run=run)
        return self._link.unary(self._link.trainer.ResumeRun, request).run

    def stop_run(self, run: str) -> run_pb2.Run:
        """Ends a run with its last checkpoint kept; returns when it is final.

        Raises:
            NotFound.
        """
        request = trainer_pb2.StopRunRequest(run=run)
        return self._link.unary(self._link.trainer.StopRun, request).run

    def set_speed(
        self,
        run: str,
        placements_per_second: float | None = None,
        *,
        max_training_rate: float | None = None,
    ) -> run_pb2.Run:
        """Sets the pace of the watched game, of the training, or of both; None: as it is.

        Args:
            run: the run's id.
            placements_per_second: of the watched game, 0.1..1000.
            max_training_rate: placements a second a training learns from at most, over all its
                boards; 0: full speed.

        Raises:
            InvalidArgument, NotFound, WrongState.
        """
        request = trainer_pb2.SetSpeedRequest(
            run=run,
            placements_per_second=placements_per_second,
            max_training_rate=max_training_rate,
        )
        return self._link.unary(self._link.trainer.SetSpeed, request).run

    def set_mode(
        self, run: str, *, mode: ModeName | None = None, view: ViewName | None = None
    ) -> run_pb2.Run:
        """Sets how the watched game is paced, and which it is; None: as it is.

        Raises:
            InvalidArgument, NotFound, WrongState.
        """
        request = trainer_pb2.SetModeRequest(
            run=run,
            mode=value_of(run_pb2.RunMode, mode, field="mode"),
            view=value_of(run_pb2.RunView, view, field="view"),
        )
        return self._link.unary(self._link.trainer.SetMode, request).run

    def update_run(
        self,
        run: str,
        *,
        display_name: str | None = None,
        learning_rate: float | None = None,
        exploration: float | None = None,
        budget: run_pb2.Budget | None = None,
        evaluation_period: float | None = None,
        reset: Iterable[str] = (),
    ) -> run_pb2.Run:
        """Changes a run: what is None stays as it is.

        ``evaluation_period`` is in seconds of training. ``reset`` names what goes back to its
        default: of ``learning_rate`` and ``exploration`` the schedule, of ``budget`` no end.

        Raises:
            InvalidArgument, NotFound, WrongState.
        """
        update = trainer_pb2.RunUpdate(
            display_name=display_name or "",
            learning_rate=learning_rate,
            exploration=exploration,
            budget=budget,
        )
        if evaluation_period is not None:
            period = specs.duration(evaluation_period, field="update.evaluation_period")
            update.evaluation_period.CopyFrom(period)
        given = {
            "display_name": display_name,
            "learning_rate": learning_rate,
            "exploration": exploration,
            "budget": budget,
            "evaluation_period": evaluation_period,
        }
        paths = [path for path, value in given.items() if value is not None]
        for path in reset:
            if path in paths:
                raise InvalidArgument.field(path, "give a value or reset it, not both")
            paths.append(path)
        request = trainer_pb2.UpdateRunRequest(
            run=run, update=update, update_mask=FieldMask(paths=paths)
        )
        return self._link.unary(self._link.trainer.UpdateRun, request).run

    # -- Looking at runs -------------------------------------------------------------------------

    def get_run(self, run: str) -> run_pb2.Run:
        """One run, as it is now.

        Raises:
            NotFound.
        """
        request = trainer_pb2.GetRunRequest(run=run)
        return self._link.unary(self._link.trainer.GetRun, request).run

    def delete_run(self, run: str) -> None:
        """Removes a final run, its history and its checkpoints; slots saved from it stay.

        Raises:
            NotFound, WrongState.
        """
        request = trainer_pb2.DeleteRunRequest(run=run)
        self._link.unary(self._link.trainer.DeleteRun, request)

    # -- Watching --------------------------------------------------------------------------------

    def watch_runs(self, run: str = "", *, patience: float | None = None) -> RunEvents:
        """Every run (or one) as it is, then every change. It ends only when cancelled.

        After a break it goes on by itself, for ``patience`` seconds (None: for ever).
        """
        return RunEvents(self._link, run, patience=patience)

    def stream_metrics(
        self, run: str, *, after_sequence: int = 0, patience: float | None = None
    ) -> MetricStream:
        """A run's metric points: history first, then live, without gap or repeat.

        Ends when the run is final; resumes after a break like `watch_runs`.
        """
        return MetricStream(self._link, run, after_sequence=after_sequence, patience=patience)

    def stream_board(
        self,
        run: str,
        *,
        max_fps: float = 30.0,
        include_values: bool = False,
        patience: float | None = None,
    ) -> BoardStream:
        """A run's boards, at most ``max_fps`` (up to 120) times a second, always the newest.

        Ends when the run is final; resumes after a break like `watch_runs`.
        """
        return BoardStream(
            self._link,
            run,
            max_fps=max_fps,
            include_values=include_values,
            patience=patience,
        )

    # -- The server ------------------------------------------------------------------------------

    def get_server_info(self) -> system_pb2.GetServerInfoResponse:
        """Version, data directory, limits and load of the server."""
        return self._link.unary(self._link.system.GetServerInfo, system_pb2.GetServerInfoRequest())

    def list_activity(
        self, *, run: str = "", slot: str = "", limit: int | None = 100
    ) -> list[system_pb2.Activity]:
        """The audit trail, newest first: all of it (None), or the first ``limit`` entries.

        Args:
            run: Only what was done to this run.
            slot: Only what was done to this slot.
            limit: Entries at most.

        Raises:
            InvalidArgument, PermissionDenied.
        """
        request = system_pb2.ListActivityRequest(run=run, slot=slot)
        entries: list[system_pb2.Activity] = []
        while limit is None or len(entries) < limit:
            request.page_size = _PAGE if limit is None else min(_PAGE, limit - len(entries))
            response = self._link.unary(self._link.system.ListActivity, request)
            entries.extend(response.activity)
            request.page_token = response.next_page_token
            if not response.next_page_token:
                break
        return entries
