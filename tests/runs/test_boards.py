"""Fan-out of boards: the newest frame, at each watcher's own pace, and nobody pays for another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from mltetris_api.v1 import board_pb2, trainer_pb2
from mltetris_api.worker.v1 import worker_pb2
from mltetris_server.runs.boards import Boards


def frame(sequence: int, *, values: bool = False) -> list[board_pb2.BoardFrame]:
    made = board_pb2.BoardFrame(sequence=sequence)
    if values:
        made.values.add(action=1, value=2.0)
    return [made]


async def take(watch: AsyncGenerator[bytes, None]) -> board_pb2.BoardFrame:
    async with asyncio.timeout(10):
        return trainer_pb2.StreamBoardResponse.FromString(await anext(watch)).frames[0]


@contextlib.asynccontextmanager
async def watching(
    boards: Boards, max_fps: float = 1000, include_values: bool = False
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    async with contextlib.aclosing(
        boards.watch(max_fps=max_fps, include_values=include_values)
    ) as watch:
        yield watch


async def test_a_new_watcher_gets_the_newest_frame_at_once() -> None:
    boards = Boards(lambda _: None)
    for sequence in (1, 2, 3):
        boards.publish(frame(sequence))
    async with watching(boards, max_fps=0.001) as watch:
        first = await take(watch)
    assert (first.sequence, first.skipped) == (3, 0)


async def test_what_was_not_sent_is_counted() -> None:
    boards = Boards(lambda _: None)
    boards.publish(frame(1))
    async with watching(boards) as watch:
        await take(watch)
        for sequence in range(2, 7):
            boards.publish(frame(sequence))
        second = await take(watch)
        boards.publish(frame(7))
        third = await take(watch)
    assert (second.sequence, second.skipped) == (6, 4)
    assert (third.sequence, third.skipped) == (7, 0)


async def test_what_the_worker_itself_left_out_is_counted_too() -> None:
    boards = Boards(lambda _: None)

    def race(sequence: int) -> list[board_pb2.BoardFrame]:
        # As workers number them: every frame of every board.
        return [*frame(sequence), *frame(sequence + 1)]

    boards.publish(race(1))
    async with watching(boards) as watch:
        await take(watch)
        boards.publish(race(7))
        later = await take(watch)
        boards.publish([])
        boards.publish(race(9))
        last = await take(watch)
    assert (later.sequence, later.skipped) == (7, 2)
    assert (last.sequence, last.skipped) == (9, 0)


async def test_a_watcher_is_sent_at_most_its_own_frames_a_second() -> None:
    boards = Boards(lambda _: None)
    fps = 50.0
    loop = asyncio.get_running_loop()

    async def publish() -> None:
        for sequence in range(10_000):
            boards.publish(frame(sequence))
            await asyncio.sleep(0.002)

    publisher = asyncio.create_task(publish())
    async with watching(boards, max_fps=fps) as watch:
        await take(watch)
        begin = loop.time()
        for _ in range(10):
            await take(watch)
        # Less time would be more frames a second. More is the machine's affair.
        assert loop.time() - begin >= 9 / fps
    publisher.cancel()


async def test_a_watcher_that_does_not_read_holds_up_nobody() -> None:
    boards = Boards(lambda _: None)
    boards.publish(frame(0))
    async with watching(boards) as stalled, watching(boards) as lively:
        await take(stalled)
        await take(lively)
        for sequence in range(1, 200):
            boards.publish(frame(sequence))
            assert (await take(lively)).skipped == 0
        late = await take(stalled)
    assert (late.sequence, late.skipped) == (199, 198)


async def test_the_end_comes_after_the_last_frame_and_does_not_wait_for_the_pace() -> None:
    boards = Boards(lambda _: None)
    boards.publish(frame(1))
    async with watching(boards, max_fps=0.001) as watch:
        await take(watch)
        boards.publish(frame(2))
        boards.end()
        assert (await take(watch)).sequence == 2
        assert await anext(watch, None) is None


async def test_the_worker_is_asked_for_the_most_that_anybody_wants() -> None:
    told: asyncio.Queue[worker_pb2.Watch] = asyncio.Queue()
    boards = Boards(told.put_nowait)

    async def next_told() -> tuple[float, bool]:
        async with asyncio.timeout(10):
            watch = await told.get()
            return watch.max_fps, watch.include_values

    async def watch(fps: float, values: bool) -> None:
        async with watching(boards, fps, values) as frames:
            async for _ in frames:
                pass

    watchers = [
        asyncio.create_task(watch(fps, values))
        for fps, values in ((10, False), (30, False), (5, True))
    ]
    assert await next_told() == (30, True)
    assert told.empty(), "three watchers at once are one change"
    for watcher in watchers:
        watcher.cancel()
    assert await next_told() == (0, False)


async def test_a_watcher_that_comes_back_at_once_does_not_reach_the_worker() -> None:
    told: list[worker_pb2.Watch] = []
    boards = Boards(told.append)
    boards.publish(frame(1))
    for _ in range(5):
        async with watching(boards, 30) as watch:
            await take(watch)
            await asyncio.sleep(0.01)
    assert [watch.max_fps for watch in told] == [30]


async def test_only_who_asked_gets_values() -> None:
    boards = Boards(lambda _: None)
    boards.publish(frame(1, values=True))
    async with watching(boards, include_values=True) as with_values, watching(boards) as without:
        assert len((await take(with_values)).values) == 1
        assert len((await take(without)).values) == 0
