"""One run that is not final yet: the one place through which everything about it changes.

Whoever changes a run holds its lock: a caller's command, the worker's events, the worker's death,
a limit of time. A change is first stored and then known, so that what watchers saw is what a
restarted server finds. Waiting for the worker is done without the lock: its answer needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Final

import structlog
from google.rpc import code_pb2  # type: ignore[import-untyped]
from mltetris_api.v1 import dataset_pb2, run_pb2
from mltetris_api.v1.run_pb2 import RunReason
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.errors import DomainError, Unavailable, WrongState
from mltetris_server.runs import reports, restarts, states
from mltetris_server.runs.attachment import Attachment, greeting
from mltetris_server.runs.boards import Boards
from mltetris_server.runs.commands import Command, Effect
from mltetris_server.runs.launchers import Worker
from mltetris_server.runs.line import Line
from mltetris_server.runs.metrics import Metrics
from mltetris_server.runs.post import Post
from mltetris_server.runs.silence import Silence
from mltetris_server.runs.surroundings import Surroundings
from mltetris_server.runs.tasks import Tasks

_log = structlog.get_logger(__name__)

_LAST_WORDS_S: Final = 0.5
"""After a worker's process has ended: for what it said before to come in."""


class LiveRun:
    """A run that is not final yet.

    Args:
        run: as it is stored.
        last_event: number of the worker's last stored event.
        secret_hash: of the secret its worker was given by a former server process, if any.
    """

    def __init__(
        self,
        run: run_pb2.Run,
        around: Surroundings,
        *,
        last_event: int = 0,
        secret_hash: bytes = b"",
    ) -> None:
        self.run = run
        """As stored. Only `store` replaces it; nobody changes it in place."""
        self.id = run.id
        self.lock = asyncio.Lock()
        self.boards = Boards(self._tell_demand)
        self.metrics = Metrics(run.metrics.sequence)
        self.final = asyncio.Event()
        self.gone = asyncio.Event()
        """Set once the run is final and its worker's process has ended."""
        self.retired = False
        """Whether the history alone says from now on what the run is. Set with the lock held."""
        self.wanted_control = run_pb2.RunControl()
        """What the worker was last told; `run.control` is what it has confirmed."""
        self.wanted_control.CopyFrom(run.control)
        self._around = around
        self._tasks = Tasks(run=run.id)
        self._silence = Silence()
        self._line = Line(lock=self.lock, last_event=last_event, take=self._take, tasks=self._tasks)
        self._post = Post(run.id, around, secret_hash)
        self._held = False
        """Whether it was PAUSED when its worker was lost."""
        self._stop_reason = RunReason.RUN_REASON_UNSPECIFIED
        self._finished_itself = False
        self._sending = 0
        """Datasets on their way from its worker: more than one where a line broke."""

    # --- what it is

    @property
    def state(self) -> states.State:
        """Its state, as stored."""
        return self.run.state

    @property
    def pid(self) -> int:
        """Its worker's process id; 0: it has none."""
        return self._post.worker.pid if self._post.worker is not None else 0

    def snapshot(self) -> run_pb2.Run:
        """Returns a copy of the run as it is now; with the lock held, one to change and `store`."""
        copy = run_pb2.Run()
        copy.CopyFrom(self.run)
        return copy

    async def store(self, changed: run_pb2.Run) -> None:
        """Makes `changed` what the run is: on disk, then here, then for watchers. Lock held."""
        changed.revision = self.run.revision + 1
        await self._around.disk(self._around.history.save_run, changed)
        self._known(changed)

    def _known(self, changed: run_pb2.Run) -> None:
        before, self.run = self.run.state, changed
        self._around.events.run_changed(changed)
        if changed.state != before:
            _log.info("run changed", run=self.id, state=states.name(changed.state))
            if changed.state in states.FINAL:
                self._end()

    # --- its beginning

    async def launch(self) -> None:
        """Starts the worker of a QUEUED run. A run that was stopped meanwhile stays stopped."""
        async with self.lock:
            if self.state != states.QUEUED:
                return
            changed = self.snapshot()
            reports.move(changed, states.STARTING)
            secret = await self._post.renew_secret()
            await self.store(changed)
            await self._start_worker(secret)

    async def _start_worker(self, secret: str) -> None:
        """Starts a worker of a STARTING run. Lock held."""
        try:
            worker = await self._post.fill(secret)
        except OSError as error:
            await self._lose(
                # Not the error itself: it names the file, with its whole path.
                RunReason.RUN_REASON_START_FAILED,
                f"the worker could not be started: {error.strerror or type(error).__name__}",
            )
            return
        self._tasks.spawn(self._watch_process(worker))
        self._expect(
            self._around.settings.start_s,
            RunReason.RUN_REASON_START_FAILED,
            "the worker did not report within",
        )
        await self._post.note()

    async def restore(self, pid: int) -> None:
        """Takes up a run that a former server process left STARTING, RUNNING, PAUSED or STOPPING.

        Its worker, which had process id `pid` (0: none is known), has the grace period to come
        back.
        """
        async with self.lock:
            await self._note_checkpoints()
            if self.run.reason == RunReason.RUN_REASON_RESTARTING:
                # The server ended while the run was between two workers.
                changes = await self._around.disk(self._around.history.state_changes, self.id)
                before = [change.state for change in changes if change.state != states.STARTING]
                self._held = bool(before) and before[-1] == states.PAUSED
            worker = await self._post.find(pid)
            if worker is None and not pid and self.state == states.STARTING:
                # There was none to lose yet.
                self._tasks.spawn(self._relaunch(None, 0.0))
                return
            if worker is None:
                await self._lose(
                    RunReason.RUN_REASON_SERVER_RESTARTED,
                    "the server was restarted, and the run's worker was gone by then",
                )
                return
            if self.state == states.STOPPING:
                self._stop_reason = self.run.reason or RunReason.RUN_REASON_STOPPED_BY_CALLER
                self._line.command(worker_pb2.AttachResponse(stop=worker_pb2.Stop()))
                settings = self._around.settings
                self._tasks.spawn(self._expect_end(settings.grace_s + settings.stop_s))
            self._tasks.spawn(self._watch_process(worker))
            self._expect(
                self._around.settings.grace_s,
                RunReason.RUN_REASON_SERVER_RESTARTED,
                "the server was restarted, and the worker did not come back within",
            )

    async def _note_checkpoints(self) -> None:
        """Notes checkpoints that the last server had stored when it died, and not noted yet."""
        changed = self.snapshot()
        for info in await self._around.checkpoints(self.id):
            reports.add_checkpoint(changed, info)
        if changed == self.run:
            return
        try:
            await self.store(changed)
        except DomainError as error:
            # They are there all the same, and found by whoever asks for them.
            _log.error("checkpoints could not be noted", run=self.id, error=str(error))

    # --- its worker's line

    def admits(self, secret: str) -> bool:
        """Whether `secret` is that of this run's worker."""
        return self._post.admits(secret)

    async def attach(self, hello: worker_pb2.Hello) -> Attachment:
        """Takes a worker's connection, in place of any before, and greets it.

        Raises:
            WrongState: the run is over.
        """
        async with self.lock:
            if self.state in states.FINAL:
                raise WrongState(f"run {self.id} is {states.name(self.state)}: nothing to do")
            welcome = greeting(
                self.run,
                self.wanted_control,
                self.boards.demand(),
                self._around.settings.grace_s,
                paused=self.state == states.PAUSED
                or (self.state == states.STARTING and self._held),
                resumption=await self._resumption(),
            )
            attachment = self._line.connect(welcome)
            self._expect(
                self._around.settings.silence_s,
                RunReason.RUN_REASON_WORKER_UNRESPONSIVE,
                "the worker has said nothing for",
            )
        _log.info("worker attached", run=self.id, pid=hello.pid, again=hello.acknowledged > 0)
        return attachment

    async def _resumption(self) -> worker_pb2.Resumption | None:
        """Where a worker goes on that is not the run's first and has yet to begin."""
        if self.state != states.STARTING or not self.run.restarts:
            return None
        return restarts.resumption(self.run, await self._around.checkpoints(self.id))

    def detach(self, attachment: Attachment) -> None:
        """Notes that `attachment` is broken or done with. The worker may come back."""
        self._line.disconnect(attachment)

    def heard(self) -> None:
        """Notes that the worker has just said something."""
        self._silence.heard()

    async def receive(self, attachment: Attachment, event: worker_pb2.AttachRequest) -> None:
        """Takes one event of the worker. It is acknowledged once it is stored."""
        if not self._line.is_current(attachment):
            return
        self.heard()
        if event.HasField("frames"):
            for frame in event.frames.frames:
                frame.run = self.id
            self.boards.publish(event.frames.frames)
        elif event.sequence:
            await self._line.receive(event)

    async def _take(self, events: Sequence[worker_pb2.AttachRequest]) -> int:
        """Stores events of the worker and makes known what follows from them. Lock held."""
        if self.state in states.FINAL:
            return self._line.last_event
        outcome = reports.apply(self.run, events, self._line.commands, self._stop_reason)
        run = outcome.run
        if run.state == states.FAILED:
            run.log_tail = await self._post.log_tail()
        run.revision = self.run.revision + 1
        last_event = await self._around.disk(
            self._around.history.append, self.id, outcome.events, run=run
        )
        self._finished_itself = run.state in states.FINAL
        self.metrics.publish(outcome.points)
        for episode in outcome.episodes:
            self._around.events.episode(episode)
        for text in outcome.notices:
            self._around.events.notice(self.id, text)
        for number in outcome.answered:
            self._line.commands.answered(number, run)
        self._known(run)
        return last_event

    def _tell_demand(self, watch: worker_pb2.Watch) -> None:
        self._line.tell(worker_pb2.AttachResponse(watch=watch))

    async def checkpoint_stored(self, info: run_pb2.CheckpointInfo) -> None:
        """Notes a checkpoint of the run that has been stored.

        Raises:
            WrongState: the run has ended, and its worker with it.
        """
        async with self.lock:
            if self.retired:
                raise WrongState(f"run {self.id} is {states.name(self.state)}: nothing to do")
            changed = self.snapshot()
            reports.add_checkpoint(changed, info)
            await self.store(changed)

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Within, the worker is sending a dataset: a run that is to stop is waited for."""
        self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1

    async def dataset_stored(self, dataset: dataset_pb2.Dataset) -> None:
        """Notes that the dataset of this simulation has been stored.

        Raises:
            WrongState: the run has ended, and its worker with it.
        """
        async with self.lock:
            if self.retired:
                raise WrongState(f"run {self.id} is {states.name(self.state)}: nothing to do")
            changed = self.snapshot()
            reports.add_dataset(changed, dataset)
            if changed != self.run:
                await self.store(changed)

    # --- what it is told

    def send(self, message: worker_pb2.AttachResponse, effect: Effect | None = None) -> Command:
        """Sends a command to the worker, now or when it is back. Lock held.

        Args:
            effect: changes the run once the worker has confirmed.
        """
        return self._line.command(message, effect)

    async def ended_within(self, seconds: float) -> bool:
        """Waits until the run is final, at most `seconds`; returns whether it is."""
        try:
            async with asyncio.timeout(seconds):
                await self.final.wait()
        except TimeoutError:
            return False
        return True

    @property
    def attached(self) -> bool:
        """Whether its worker is connected now."""
        return self._line.attached

    @property
    def waits(self) -> bool:
        """Whether there are commands that the worker has not answered."""
        return bool(self._line.commands)

    async def answered(self, command: Command) -> run_pb2.Run:
        """Waits until the worker has done `command`, without the lock.

        Returns the run as the answer left it, whatever has happened to it since.

        Raises:
            WrongState: the run ended instead.
            Unavailable: there was no answer in time; the command stands.
        """
        try:
            async with asyncio.timeout(self._around.settings.answer_s):
                answer = await asyncio.shield(command.answer)
        except TimeoutError:
            raise Unavailable(
                f"run {self.id}'s worker has not answered for "
                f"{self._around.settings.answer_s:g} s; the command still stands"
            ) from None
        copy = run_pb2.Run()
        copy.CopyFrom(answer)
        return copy

    async def stop(self, reason: RunReason.ValueType) -> None:
        """Lets the run end with its last checkpoint kept; returns at once. See `final`.

        A run that has not begun ends now. Stopping twice is stopping once.
        """
        async with self.lock:
            if self.state in states.FINAL or self.state == states.STOPPING:
                return
            changed = self.snapshot()
            if self.state in (states.QUEUED, states.STARTING):
                reports.move(changed, states.STOPPED, reason)
                await self.store(changed)
                return
            reports.move(changed, states.STOPPING, reason)
            await self.store(changed)
            self._stop_reason = reason
            self.send(worker_pb2.AttachResponse(stop=worker_pb2.Stop()))
            self._tasks.spawn(self._expect_end(self._around.settings.stop_s))

    async def abandon(self, reason: RunReason.ValueType) -> None:
        """Ends a run that was told to stop and did not in time, with what is stored of it."""
        async with self.lock:
            if self.state not in states.FINAL:
                changed = self.snapshot()
                reports.move(changed, states.STOPPED, reason)
                await self.store(changed)
        self.kill()

    def kill(self) -> None:
        """Ends the worker's process at once, if there is one."""
        self._post.kill()

    # --- its end

    async def _watch_process(self, worker: Worker) -> None:
        how = await worker.wait()
        # What it said last may still be on its way.
        if not await self._line.read_out(_LAST_WORDS_S):
            _log.warning("a dead worker's line stays open", run=self.id)
        try:
            await self._line.flush()
        except DomainError as error:
            _log.error("a worker's last words could not be stored", run=self.id, error=str(error))
        async with self.lock:
            if self.state in states.FINAL or worker is not self._post.worker:
                return
            if self.state == states.STARTING:
                reason, text = RunReason.RUN_REASON_START_FAILED, "ended before it had started"
            else:
                reason, text = RunReason.RUN_REASON_WORKER_DIED, "ended unexpectedly"
            await self._lose(reason, f"the worker {text} ({how})")

    async def _lose(self, reason: RunReason.ValueType, message: str) -> None:
        """Goes on with another worker, where the run's policy says so, or is FAILED. Lock held."""
        await self._take_spooled()
        wait = restarts.wait_s(self.run, reason)
        if wait is None:
            await self._fail(reason, message)
            return
        self._silence.end()
        self._line.restart()
        self._line.fail(
            Unavailable(f"run {self.id} is being restarted, for {message}: try again in a moment")
        )
        if self.state != states.STARTING:
            self._held = self.state == states.PAUSED
        changed = self.snapshot()
        reports.move(changed, states.STARTING, RunReason.RUN_REASON_RESTARTING)
        changed.restarts += 1
        changed.error.code = code_pb2.INTERNAL
        changed.error.message = message
        changed.next_start_time.FromNanoseconds(time.time_ns() + round(wait * 1e9))
        try:
            await self._post.renew_secret()
            await self.store(changed)
        except DomainError as error:
            _log.error("a restart could not be stored", run=self.id, error=str(error))
            await self._fail(reason, message)
            return
        lost = self._post.vacate()
        _log.warning("worker lost", run=self.id, error=message, restart=changed.restarts)
        source = restarts.newest(changed.checkpoints)
        self._around.events.notice(self.id, restarts.notice(changed, wait, source))
        self._tasks.spawn(self._relaunch(lost, wait))

    async def _take_spooled(self) -> None:
        """Takes in what its worker left when a former server was gone. Lock held."""
        try:
            info = await self._around.take_spooled(self.run)
            if info is not None:
                changed = self.snapshot()
                reports.add_checkpoint(changed, info)
                await self.store(changed)
                _log.info("took in a worker's last checkpoint", run=self.id)
        except DomainError as error:
            # It stays where it is.
            _log.error("a worker's last checkpoint was not taken in", run=self.id, error=str(error))

    async def _relaunch(self, lost: Worker | None, wait: float) -> None:
        """Starts the next worker after `wait` seconds, once the `lost` one is surely gone."""
        if lost is not None:
            lost.kill()
            await lost.wait()
        await asyncio.sleep(wait)
        async with self.lock:
            if self.state != states.STARTING or self._post.worker is not None:
                return
            await self._start_worker(await self._post.renew_secret())

    async def _fail(self, reason: RunReason.ValueType, message: str) -> None:
        """Ends the run as FAILED. Lock held."""
        _log.warning("run failed", run=self.id, reason=RunReason.Name(reason), error=message)
        changed = self.snapshot()
        reports.move(changed, states.FAILED, reason)
        changed.error.code = code_pb2.INTERNAL
        changed.error.message = message
        changed.log_tail = await self._post.log_tail()
        try:
            await self.store(changed)
        except DomainError as error:
            # The disk refuses. The worker is gone all the same, and nobody should wait for it; a
            # restarted server will come to the same conclusion.
            _log.error("a failure could not be stored", run=self.id, error=str(error))
            self._known(changed)

    def _end(self) -> None:
        """Everything that follows from the run being final."""
        self._silence.end()
        self.boards.end()
        self.metrics.end()
        self._line.fail(
            WrongState(
                f"run {self.id} ended before it could do so: it is {states.name(self.state)}"
            )
        )
        self.final.set()
        self._tasks.spawn(self._see_off())
        self._around.on_final(self.id)

    async def _see_off(self) -> None:
        """Waits until the worker's process has ended, and sees to it that it does."""
        if not self._finished_itself:
            self._post.kill()
        await self._post.see_off(self._around.settings.leave_s)
        self._line.hang_up()
        self.gone.set()

    # --- limits of time

    def _expect(self, seconds: float, reason: RunReason.ValueType, otherwise: str) -> None:
        """Gives the run up, as `otherwise` says, once its worker is silent for `seconds`."""
        self._silence.limit(
            seconds, lambda: self._tasks.spawn(self._give_up(reason, f"{otherwise} {seconds:g} s"))
        )

    async def _expect_end(self, seconds: float) -> None:
        ended = await self.ended_within(seconds)
        while not ended and self._sending:
            # A large dataset may take longer, and is what the run was for.
            ended = await self.ended_within(seconds)
        if not ended:
            await self._give_up(
                RunReason.RUN_REASON_WORKER_UNRESPONSIVE,
                f"the worker did not stop within {seconds:g} s",
            )

    async def _give_up(self, reason: RunReason.ValueType, message: str) -> None:
        async with self.lock:
            self.kill()
            if self.state not in states.FINAL:
                await self._lose(reason, message)
