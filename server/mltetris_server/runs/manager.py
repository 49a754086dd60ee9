"""All runs of a server: who may go, who waits, and where each is found."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final

import structlog
from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_api.v1.run_pb2 import RunReason

from mltetris_server.errors import (
    AlreadyExists,
    DataLoss,
    NotFound,
    TooMany,
    Unavailable,
    WrongState,
)
from mltetris_server.runs import (
    benchmark_specs,
    control,
    metrics,
    queries,
    specs,
    states,
    uses,
    warm_starts,
)
from mltetris_server.runs.boards import DEFAULT_FPS
from mltetris_server.runs.datasets import Datasets
from mltetris_server.runs.events import RunEvents
from mltetris_server.runs.launchers import Launcher
from mltetris_server.runs.models import Models
from mltetris_server.runs.places import Places
from mltetris_server.runs.queue import RunQueue
from mltetris_server.runs.run import LiveRun
from mltetris_server.runs.settings import RunSettings
from mltetris_server.runs.surroundings import Surroundings
from mltetris_server.runs.tasks import Tasks
from mltetris_server.runs.threads import Thread
from mltetris_server.storage.history import History

_log = structlog.get_logger(__name__)

_ID_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_PREFIXES: Final = {
    "training": "train",
    "demo": "demo",
    "benchmark": "bench",
    "simulation": "sim",
}
"""What the ids of runs begin with."""
_WATCHED_RUNS: Final = 1000
"""Most runs that WatchRuns begins with."""
_DROPPED_AT_ONCE: Final = 2000
"""Metric points or episodes of a run that is deleted, in one transaction."""
_MOST_PAGE: Final = 400
"""Runs a page at most, so that a page stays below gRPC's usual 4 MiB."""


class RunManager:
    """Starts, finds, steers and shows runs.

    Args:
        disk: the one thread that writes `history`.
        look: the threads that read it, beside that one.
        address: where workers dial back.
    """

    def __init__(
        self,
        *,
        history: History,
        disk: Thread,
        look: Thread,
        models: Models,
        datasets: Datasets,
        launcher: Launcher,
        settings: RunSettings,
        address: str,
    ) -> None:
        self.events = RunEvents()
        self._history = history
        self._disk = disk
        self._look = look
        self._models = models
        self._datasets = datasets
        self._settings = settings
        self._around = Surroundings(
            history=history,
            disk=disk,
            events=self.events,
            launcher=launcher,
            settings=settings,
            address=address,
            checkpoints=models.whole,
            take_spooled=models.take_spooled,
            on_final=self._on_final,
        )
        self._runs: dict[str, LiveRun] = {}
        self._queue = RunQueue()
        self._watching = Places(
            settings.max_watchers,
            lambda run: (
                f"{f'run {run} has' if run else 'all runs together have'} "
                f"{settings.max_watchers} streams, the most this server allows (--max-watchers)"
            ),
        )
        self._starting = asyncio.Lock()
        self._pumping = asyncio.Lock()
        self._closing = False
        self._tasks = Tasks()

    # --- beginning and end

    async def open(self) -> None:
        """Takes up what a former server process left: queued runs wait again, others have the
        grace period for their workers to come back."""
        unfinished = await self._look(self._history.unfinished_runs)
        await self._models.disk(self._models.runs.recover, [run.id for run in unfinished])
        for run in unfinished:
            record = await self._look(self._history.worker, run.id)
            live = LiveRun(
                run,
                self._around,
                last_event=record.last_event,
                secret_hash=record.secret_hash,
            )
            self._runs[run.id] = live
            if run.state == states.QUEUED:
                self._queue.add(live)
            else:
                await self._note_dataset(live)
                await live.restore(record.pid)
        await self._pump()

    async def _note_dataset(self, live: LiveRun) -> None:
        """Notes a dataset that the last server had stored when it died, and not noted yet."""
        if not live.run.HasField("simulation") or live.run.simulation_result.stored:
            return
        try:
            dataset = await self._datasets.of_run(live.run.simulation.dataset, live.id)
        except DataLoss as error:
            _log.warning("a dataset is damaged", run=live.id, error=str(error))
            return
        if dataset is not None:
            await live.dataset_stored(dataset)

    async def close(self) -> None:
        """Ends every live run with its last checkpoint kept. QUEUED runs wait for the next server.

        Afterwards no worker process is left.
        """
        async with self._pumping:
            # Not in the middle of a launch: its process would be overlooked.
            self._closing = True
        live = [run for run in self._runs.values() if run.state != states.QUEUED]
        reason = RunReason.RUN_REASON_SERVER_SHUTDOWN
        await asyncio.gather(*(run.stop(reason) for run in live))
        ended = await asyncio.gather(*(run.ended_within(self._settings.shutdown_s) for run in live))
        for run, in_time in zip(live, ended, strict=True):
            if not in_time:
                _log.warning("a worker did not stop in time", run=run.id)
                await run.abandon(reason)
        try:
            async with asyncio.timeout(0.5):
                await asyncio.gather(*(run.gone.wait() for run in live))
        except TimeoutError:
            self.kill()

    async def pause_for_space(self) -> None:
        """Holds whatever runs, for as long as the disk is full."""
        await asyncio.gather(*(control.pause_for_space(run) for run in self._runs.values()))

    async def resume_for_space(self) -> None:
        """Lets go on what is held for the disk's sake."""
        await asyncio.gather(*(control.resume_for_space(run) for run in self._runs.values()))

    def kill(self) -> None:
        """Ends every worker process at once, without a word."""
        for run in self._runs.values():
            run.kill()

    # --- finding

    def live(self, run_id: str) -> LiveRun | None:
        """Returns the run, unless it is final and its worker gone."""
        return self._runs.get(run_id)

    @property
    def live_count(self) -> int:
        """Runs that take one of the places."""
        return sum(run.state in states.LIVE for run in self._runs.values())

    def workers(self) -> Sequence[tuple[str, int]]:
        """The runs that have a worker, and its process id."""
        return [(run.id, run.pid) for run in self._runs.values() if run.pid]

    @property
    def queued_count(self) -> int:
        """Runs that wait."""
        return len(self._queue)

    async def get(self, run_id: str) -> run_pb2.Run:
        """Returns the run as it is now. Raises NotFound."""
        live = self._runs.get(run_id)
        if live is not None:
            return live.snapshot()
        run = await self._look(self._history.get_run, run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}: ListRuns knows all there are")
        return run

    async def list(
        self, request: trainer_pb2.ListRunsRequest
    ) -> tuple[Sequence[run_pb2.Run], str, int]:
        """Returns a page of runs, the token of the next page, and how many there are on all."""
        return await self._look(
            self._history.find_runs,
            queries.run_query(request),
            min(request.page_size, _MOST_PAGE),
            request.page_token,
        )

    # --- steering

    async def start(self, request: trainer_pb2.StartRunRequest) -> run_pb2.Run:
        """Starts or queues a run; of a `request_id` known already, returns that run."""
        async with self._starting:
            if request.request_id:
                known = await self._look(self._history.find_by_request_id, request.request_id)
                if known is not None:
                    return await self.get(known.id)
            if self._closing:
                raise Unavailable("the server is shutting down: it starts nothing any more")
            specs.check(request)
            if len(self._queue) >= self._settings.max_queued:
                raise TooMany(
                    f"{len(self._queue)} runs wait already, the most this server allows "
                    "(--max-queued): try again when one has started, or stop one"
                )
            run = await self._make(request, await self._new_id(request))
            run.queue_position = len(self._queue) + 1
            run.revision = 1
            await self._disk(self._history.create_run, run, request_id=request.request_id)
            live = LiveRun(run, self._around)
            self._runs[run.id] = live
            self._queue.add(live)
            self.events.run_changed(run)
        _log.info("run created", run=run.id)
        await self._pump()
        return live.snapshot()

    async def _make(self, request: trainer_pb2.StartRunRequest, run_id: str) -> run_pb2.Run:
        """The run that `request` asks for, once everything it is made of has been looked at."""
        models = self._models
        match request.WhichOneof("spec"):
            case "training":
                model = await models.check_training(request.training)
                sources = [model.source] if model is not None else []
                if request.training.HasField("warm_start"):
                    name = request.training.warm_start.dataset
                    dataset, sha256 = await self._datasets.described(name)
                    request = warm_starts.with_game(request, model, dataset)
                    specs.check(request)
                    warm_starts.check(request.training, model, dataset)
                    sources.append(warm_starts.source_of(dataset, sha256))
                return specs.make_run(request, run_id, model=model, sources=sources)
            case "benchmark":
                game = benchmark_specs.resolved(request.benchmark).game
                asked = ("benchmark.players", list(request.benchmark.players), game)
            case "simulation":
                spec = request.simulation
                named = [spec.player] if spec.HasField("player") else []
                asked = ("simulation.player", named, spec.game)
            case _:
                slots = [run_pb2.Player(slot=slot) for slot in request.demo.slots]
                asked = ("demo.slots", slots, request.demo.game)
        players, facts = await models.players(*asked)
        sources = [player.source for player in facts]
        run = specs.make_run(request, run_id, players=players, sources=sources)
        if run.HasField("simulation"):
            await self._check_dataset_free(run.simulation.dataset)
        return run

    async def _check_dataset_free(self, name: str) -> None:
        """Raises AlreadyExists where a dataset or an unfinished simulation has the name."""
        await self._datasets.check_free(name, "simulation.dataset")
        for live in self._runs.values():
            theirs = live.run.simulation.dataset
            # As where it is stored: not every system tells upper from lower case.
            if live.state not in states.FINAL and theirs.lower() == name.lower():
                raise AlreadyExists(
                    f"run {live.id} is making a dataset {theirs}. Choose another name"
                )

    async def _new_id(self, request: trainer_pb2.StartRunRequest) -> str:
        prefix = _PREFIXES[request.WhichOneof("spec") or ""]
        while True:
            run_id = prefix + "-" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(6))
            if await self._look(self._history.get_run, run_id) is None:
                return run_id

    async def command(
        self, run_id: str, done: str, function: Callable[[LiveRun], Awaitable[run_pb2.Run]]
    ) -> run_pb2.Run:
        """Returns what `function` makes of the live run.

        Args:
            done: what is to be done to it, as a participle, for the answer where it is final.

        Raises:
            NotFound: there is no such run.
            WrongState: it is final.
        """
        live = self._runs.get(run_id)
        if live is None:
            raise control.refuse_final(await self.get(run_id), done)
        return await function(live)

    async def stop(self, run_id: str) -> run_pb2.Run:
        """Ends a run and returns it when it is final; a final one stays as it is."""
        live = self._runs.get(run_id)
        if live is None:
            return await self.get(run_id)
        return await control.stop(live, self._settings.stop_s + self._settings.leave_s)

    async def update(self, request: trainer_pb2.UpdateRunRequest) -> run_pb2.Run:
        """Changes a run; of a final one only its name."""
        paths = list(request.update_mask.paths)
        live = self._runs.get(request.run)
        if live is not None:
            updated = await control.update(live, request.update, paths)
            if updated is not None:
                return updated
        await self.get(request.run)
        run = await self._disk(self._rename, request.run, request.update, paths)
        self.events.run_changed(run)
        return run

    def _rename(
        self, run_id: str, update: trainer_pb2.RunUpdate, paths: Sequence[str]
    ) -> run_pb2.Run:
        """Renames a final run; on the history's thread, so that nobody comes in between."""
        run = self._history.get_run(run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        control.check_update(run, update, paths)
        run.display_name = update.display_name or specs.display_name(run)
        run.revision += 1
        self._history.save_run(run)
        return run

    def refuse_in_use(self, what: str, by: Callable[[run_pb2.Run], bool]) -> None:
        """Raises WrongState where a run that has not ended needs the thing called `what`.

        Args:
            by: whether a run needs it.
        """
        users = [
            live.id
            for live in self._runs.values()
            if live.state not in states.FINAL and by(live.run)
        ]
        if users:
            raise WrongState(
                f"{what} is in use by {', '.join(users)}: stop that first, or wait for the end"
            )

    @contextlib.asynccontextmanager
    async def removing(
        self, what: str, by: Callable[[run_pb2.Run], bool]
    ) -> AsyncGenerator[None, None]:
        """As `refuse_in_use`; within, no run begins that might need the thing, either."""
        async with self._starting:
            self.refuse_in_use(what, by)
            yield

    @contextlib.asynccontextmanager
    async def replacing_slot(self, slot: str) -> AsyncGenerator[None, None]:
        """Raises WrongState where a run has yet to read the slot's model; within, none begins.

        A run that has read it goes on with what it has.
        """

        def has_yet_to(run: run_pb2.Run) -> bool:
            return run.state in (states.QUEUED, states.STARTING) and uses.uses_slot(run, slot)

        async with self.removing(f"slot {slot}", has_yet_to):
            yield

    async def delete_dataset(self, name: str) -> None:
        """Removes a dataset that no run needs that has not ended."""
        async with self.removing(
            f"dataset {name}",
            lambda run: uses.uses_dataset(run, name) or run.simulation.dataset == name,
        ):
            await self._datasets.delete(name)

    async def delete(self, run_id: str) -> None:
        """Removes a final run with its history and its checkpoints."""
        live = self._runs.get(run_id)
        if live is not None:
            if live.state not in states.FINAL:
                raise WrongState(f"run {run_id} is {states.name(live.state)}: stop it first")
            await self._retire(live)
        else:
            await self.get(run_id)
        async with self.removing(f"run {run_id}", lambda run: uses.uses_run(run, run_id)):
            # Files first: what is left by a kill in between is a run that can be deleted again.
            await self._models.disk(self._models.runs.delete, run_id)
        # In pieces: whoever stores something meanwhile does not wait for all of it.
        for drop in (self._history.drop_points, self._history.drop_episodes):
            while await self._disk(drop, run_id, _DROPPED_AT_ONCE):
                pass
        await self._disk(self._history.delete_run, run_id)
        self.events.run_deleted(run_id)

    # --- watching

    async def watch_runs(self, run_id: str) -> AsyncGenerator[bytes, None]:
        """Yields serialized WatchRunsResponses: of one run, or of all for an empty id."""
        if run_id:
            await self.get(run_id)

        async def present() -> Sequence[run_pb2.Run]:
            if run_id:
                return [await self.get(run_id)]
            runs, _ = await self._look(self._history.list_runs, (), (), _WATCHED_RUNS, "")
            return runs

        with self._watching.one(run_id):
            async with contextlib.aclosing(self.events.watch(run_id, present)) as events:
                async for event in events:
                    yield event

    async def stream_metrics(
        self, run_id: str, after: int
    ) -> AsyncGenerator[trainer_pb2.StreamMetricsResponse, None]:
        """Yields a run's metric points beyond `after`, until it is final."""

        async def read_history(after: int, limit: int) -> Sequence[run_pb2.MetricPoint]:
            return await self._look(self._history.points, run_id, after, limit)

        live = self._runs.get(run_id)
        if live is None:
            await self.get(run_id)
            stream = metrics.replay(after, read_history)
        else:
            stream = live.metrics.follow(after, read_history)
        with self._watching.one(run_id):
            async with contextlib.aclosing(stream) as responses:
                async for response in responses:
                    yield response

    async def stream_board(
        self, run_id: str, max_fps: float, include_values: bool
    ) -> AsyncGenerator[bytes, None]:
        """Yields serialized StreamBoardResponses, the newest frames, until the run is final."""
        live = self._runs.get(run_id)
        if live is None:
            await self.get(run_id)
            return
        boards = live.boards.watch(max_fps=max_fps or DEFAULT_FPS, include_values=include_values)
        with self._watching.one(run_id):
            async with contextlib.aclosing(boards) as responses:
                async for response in responses:
                    yield response

    # --- scheduling

    async def _pump(self) -> None:
        """Launches waiting runs while there are places."""
        async with self._pumping:
            while not self._closing and self.live_count < self._settings.max_runs:
                live = self._queue.first()
                if live is None:
                    return
                await live.launch()
                self._queue.remove(live)
                await self._queue.renumber()

    def _on_final(self, run_id: str) -> None:
        self._tasks.spawn(self._after(self._runs[run_id]))

    async def _after(self, live: LiveRun) -> None:
        self._queue.remove(live)
        await self._queue.renumber()
        await self._pump()
        await self._retire(live)

    async def _retire(self, live: LiveRun) -> None:
        """Leaves a final run to the history, once its worker's process has ended."""
        await live.gone.wait()
        async with live.lock:
            # Nobody may change it here any more while another does so in the history.
            live.retired = True
            self._runs.pop(live.id, None)
