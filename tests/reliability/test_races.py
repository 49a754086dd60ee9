"""Many clients who tell the same run different things at once: one history, and everybody's answer
is a page of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from mltetris_api.v1 import run_pb2, trainer_pb2, trainer_pb2_grpc
from mltetris_server.errors import WrongState
from mltetris_server.runs import control, states
from mltetris_server.runs.run import LiveRun
from mltetris_server.runs.states import FINAL, PAUSED, QUEUED, RUNNING
from mltetris_server.storage.history import History
from support.server import CHANNEL_OPTIONS
from support.small_server import SmallServer, small_server

CLIENTS: Final = 6
LANES: Final = 4
"""Runs that are raced at once: more than there are places, so that some wait in the queue."""
PLACES: Final = 3

COMMANDS: Final = {
    "PauseRun": 6,
    "ResumeRun": 6,
    "SetSpeed": 2,
    "UpdateRun": 2,
    "GetRun": 2,
    "StopRun": 1,
    "DeleteRun": 1,
}
"""What a client may say, and how often."""

OK: Final = grpc.StatusCode.OK
REFUSALS: Final = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND}


@dataclass
class Answer:
    """How one command went: `run` where it was done, else why it was not."""

    method: str
    known: int
    """The newest revision anybody had been told of when the command was given."""
    late: bool
    """Whether a DeleteRun had been answered before that."""
    run: run_pb2.Run | None = None
    code: grpc.StatusCode = OK
    text: str = ""


@dataclass
class Story:
    """Everything that was told of one run: by WatchRuns, and to whoever gave a command."""

    pages: dict[int, run_pb2.Run] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    deleted: int = 0
    answers: list[Answer] = field(default_factory=list)

    @property
    def deletions(self) -> list[Answer]:
        return [a for a in self.answers if a.method == "DeleteRun" and a.code == OK]

    @property
    def told(self) -> list[run_pb2.Run]:
        return [self.pages[revision] for revision in self.order]


class Watcher:
    """Writes down what WatchRuns says of every run."""

    def __init__(self, small: SmallServer) -> None:
        self.stories: dict[str, Story] = defaultdict(Story)
        self.caught_up = asyncio.Event()
        self.news = asyncio.Condition()
        self.call = small.trainer.WatchRuns(trainer_pb2.WatchRunsRequest())
        self.task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        async for event in self.call:
            async with self.news:
                if event.HasField("run"):
                    story = self.stories[event.run.id]
                    assert not story.deleted, "a deleted run was heard of again"
                    story.order.append(event.run.revision)
                    story.pages[event.run.revision] = event.run
                elif event.WhichOneof("event") == "deleted_run":
                    self.stories[event.deleted_run].deleted += 1
                elif event.caught_up:
                    self.caught_up.set()
                self.news.notify_all()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60), self.news:
            await self.news.wait_for(lambda: bool(condition()) or self.task.done())
        assert condition(), "the stream of runs ended"


def request(method: str, run: str, rng: random.Random) -> Any:
    match method:
        case "SetSpeed":
            return trainer_pb2.SetSpeedRequest(run=run, placements_per_second=rng.randint(1, 1000))
        case "UpdateRun":
            update = trainer_pb2.RunUpdate(display_name=f"name {rng.randint(1, 1000)}")
            return trainer_pb2.UpdateRunRequest(
                run=run, update=update, update_mask=FieldMask(paths=["display_name"])
            )
        case _:
            return getattr(trainer_pb2, f"{method}Request")(run=run)


class Race:
    """Clients, each with a connection of its own, and one lane of runs they are set upon."""

    def __init__(
        self,
        small: SmallServer,
        watcher: Watcher,
        stubs: list[trainer_pb2_grpc.TrainerServiceAsyncStub],
        rng: random.Random,
    ) -> None:
        self.small = small
        self.watcher = watcher
        self.stubs = stubs
        self.rng = rng

    async def run(self, races: int) -> None:
        """Holds so many races, over as many runs as it takes."""
        run = ""
        for _ in range(races):
            if not run or self.watcher.stories[run].deleted:
                run = (await self.small.start()).id
            elif self.rng.random() < 0.2 and self.state(run) in FINAL:
                run = (await self.small.start()).id  # and the last one stays as it is
            if self.rng.random() < 0.7:
                # Else it is raced while it waits, starts or has ended.
                story = self.watcher.stories[run]
                await self.watcher.until(
                    lambda story=story: story.order and story.told[-1].state != states.STARTING
                )
            await self.one(run)
        if run and self.state(run) not in FINAL:
            await self.command(self.stubs[0], "StopRun", run, 0.0)

    def state(self, run: str) -> states.State:
        told = self.watcher.stories[run].told
        return told[-1].state if told else QUEUED

    async def one(self, run: str) -> None:
        """Every client says something, all within a few milliseconds."""
        methods = self.rng.choices(list(COMMANDS), list(COMMANDS.values()), k=len(self.stubs))
        async with asyncio.timeout(60):
            await asyncio.gather(
                *(
                    self.command(stub, method, run, self.rng.choice((0.0, 0.002, 0.01, 0.03)))
                    for stub, method in zip(self.stubs, methods, strict=True)
                )
            )

    async def command(
        self, stub: trainer_pb2_grpc.TrainerServiceAsyncStub, method: str, run: str, delay: float
    ) -> None:
        await asyncio.sleep(delay * self.rng.random())
        story = self.watcher.stories[run]
        known = max((a.run.revision for a in story.answers if a.run), default=0)
        answer = Answer(method, max([known, *story.order]), bool(story.deletions))
        call: Callable[..., Awaitable[Any]] = getattr(stub, method)
        try:
            response = await call(request(method, run, self.rng), timeout=60)
        except grpc.aio.AioRpcError as error:
            answer.code, answer.text = error.code(), error.details() or ""
        else:
            answer.run = response.run if method != "DeleteRun" else None
        story.answers.append(answer)


def check(run: str, story: Story) -> None:
    """What holds of every run, whatever was said to it."""
    assert story.order == list(range(1, len(story.order) + 1)), f"{run}: a change was left out"
    assert story.told[0].state == QUEUED
    for before, after in pairwise(story.told):
        if before.state != after.state:
            assert after.state in states.TRANSITIONS[before.state], (
                f"{run}: {states.name(before.state)} -> {states.name(after.state)}"
            )
        if before.state in FINAL:
            kept, now = run_pb2.Run(), run_pb2.Run()
            kept.CopyFrom(before)
            now.CopyFrom(after)
            for copy in (kept, now):
                copy.ClearField("revision")
                copy.ClearField("display_name")
            assert kept == now, f"{run}: more than the name of an ended run has changed"
    for answer in story.answers:
        check_answer(run, story, answer)
    deletions = len(story.deletions)
    assert deletions == story.deleted <= 1, f"{run} was deleted {deletions} times"
    ends = {
        (answer.run.state, answer.run.reason, answer.run.end_time.ToNanoseconds())
        for answer in story.answers
        if answer.method == "StopRun" and answer.run is not None
    }
    assert len(ends) <= 1, f"{run} has ended in several ways: {ends}"


def check_answer(run: str, story: Story, answer: Answer) -> None:
    """An answer is a page of the run's story, and says what the command is for."""
    about = f"{run}: {answer.method}: {answer.text}"
    if answer.late:
        assert answer.code == grpc.StatusCode.NOT_FOUND, f"{about}: of a run that was deleted"
    if answer.run is None:
        assert answer.method == "DeleteRun" or answer.code in REFUSALS, f"{about} {answer.code}"
        return
    page = story.pages.get(answer.run.revision)
    assert page is not None, f"{about}: an answer that is not in the history"
    assert page == answer.run, f"{about}: {page} was answered as {answer.run}"
    if answer.method != "GetRun":
        assert answer.run.revision >= answer.known, f"{about}: the answer is of before the command"
    wanted = {"PauseRun": {PAUSED}, "ResumeRun": {RUNNING}, "StopRun": FINAL}.get(answer.method)
    if wanted is not None:
        assert answer.run.state in wanted, f"{about}: it is {states.name(answer.run.state)}"


@contextlib.asynccontextmanager
async def clients(address: str) -> AsyncIterator[list[trainer_pb2_grpc.TrainerServiceAsyncStub]]:
    options = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    async with contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
            for _ in range(CLIENTS)
        ]
        yield [trainer_pb2_grpc.TrainerServiceStub(channel) for channel in channels]


@pytest.mark.parametrize(
    "races",
    [100, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
async def test_one_history_whoever_says_what_and_when(tmp_path: Path, races: int) -> None:
    async with small_server(tmp_path / "data", max_runs=PLACES) as small:
        watcher = Watcher(small)
        async with clients(small.server.address) as stubs:
            await asyncio.wait_for(watcher.caught_up.wait(), 20)
            lanes = [
                Race(small, watcher, stubs, random.Random(seed)).run(races // LANES)
                for seed in range(LANES)
            ]
            await asyncio.gather(*lanes)
            # What is there at the end has been told of, too.
            present = (await stubs[0].ListRuns(trainer_pb2.ListRunsRequest(page_size=400))).runs
            for run in present:
                story = watcher.stories[run.id]
                await watcher.until(lambda story=story, run=run: story.order[-1:] == [run.revision])
        watcher.call.cancel()
    assert {run.id for run in present} == {
        run for run, story in watcher.stories.items() if not story.deleted
    }
    for run_id, story in watcher.stories.items():
        check(run_id, story)
    with History(tmp_path / "data" / "mltetris.db") as history:
        for run in present:
            assert history.get_run(run.id) == run, "it has ended, and nothing changes it"
            stored = [(change.state, change.reason) for change in history.state_changes(run.id)]
            told = [(page.state, page.reason) for page in watcher.stories[run.id].told]
            assert stored == [told[0], *(b for a, b in pairwise(told) if a != b)]
    said = [a for story in watcher.stories.values() for a in story.answers]
    done = {a.method for a in said if a.code == OK}
    assert done == set(COMMANDS), "not everything was tried"


async def test_a_deleted_run_is_gone_at_once(tmp_path: Path) -> None:
    async with small_server(tmp_path / "data") as small:
        run = await small.running()
        manager = small.server._manager
        async with manager._pumping:  # as if the next worker took its time to start
            await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))
            await small.trainer.DeleteRun(trainer_pb2.DeleteRunRequest(run=run.id))
            rng = random.Random(1)
            for method in COMMANDS:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await getattr(small.trainer, method)(request(method, run.id, rng))
                assert caught.value.code() == grpc.StatusCode.NOT_FOUND, method


@pytest.mark.parametrize("asked", [control.pause, control.resume])
async def test_who_is_overtaken_by_a_stop_is_told_so(
    tmp_path: Path, asked: Callable[[LiveRun], Awaitable[run_pb2.Run]]
) -> None:
    """The worker does as it was told, but by then that is no longer how the run is."""
    async with small_server(tmp_path / "data") as small:
        run = await small.running()
        live = small.server._manager.live(run.id)
        assert live is not None
        if asked is control.resume:
            await control.pause(live)
        stop = live.stop(run_pb2.RUN_REASON_STOPPED_BY_CALLER)
        answer, _ = await asyncio.gather(asked(live), stop, return_exceptions=True)
        assert isinstance(answer, WrongState), answer
        assert "STOPPING" in str(answer)
