"""Metric points reach every reader in order, each once, wherever it begins, however slow it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from mltetris_api.v1 import run_pb2
from mltetris_server.runs import metrics
from mltetris_server.runs.metrics import Metrics, replay


class Disk:
    """A history that takes its time."""

    def __init__(self) -> None:
        self.points: list[run_pb2.MetricPoint] = []
        self.reads = 0

    async def read(self, after: int, limit: int) -> Sequence[run_pb2.MetricPoint]:
        self.reads += 1
        found = [p for p in self.points if p.sequence > after][:limit]
        await asyncio.sleep(0.001)
        return found


async def collect(live: Metrics, disk: Disk, after: int, delay: float = 0) -> list[int]:
    seen: list[int] = []
    caught_up = False
    async for response in live.follow(after, disk.read):
        assert len(response.points) <= metrics.PAGE
        assert not (caught_up and not response.caught_up)
        caught_up = response.caught_up
        seen += [point.sequence for point in response.points]
        await asyncio.sleep(delay)
    assert caught_up
    return seen


@pytest.mark.parametrize("seed", range(5))
async def test_readers_that_come_at_any_time_miss_nothing_and_see_nothing_twice(seed: int) -> None:
    chance = random.Random(seed)
    disk, live = Disk(), Metrics()
    total = 3000
    readers: list[tuple[int, asyncio.Task[list[int]]]] = []
    made = 0
    while made < total:
        batch = [
            run_pb2.MetricPoint(sequence=made + 1 + i)
            for i in range(min(chance.randint(1, 300), total - made))
        ]
        made += len(batch)
        disk.points += batch  # stored, and only then known
        if chance.random() < 0.5:
            await asyncio.sleep(0)
        live.publish(batch)
        after = chance.choice([0, 0, made, chance.randint(0, made)])
        delay = chance.choice([0, 0, 0.003])
        readers.append((after, asyncio.create_task(collect(live, disk, after, delay))))
        await asyncio.sleep(0.001)
    live.end()
    for after, reader in readers:
        assert await reader == list(range(after + 1, total + 1))


async def test_a_reader_that_keeps_up_does_not_touch_the_disk() -> None:
    disk, live = Disk(), Metrics()
    reader = asyncio.create_task(collect(live, disk, 0))
    for sequence in range(1, 100):
        live.publish([run_pb2.MetricPoint(sequence=sequence)])
        await asyncio.sleep(0)
    live.end()
    assert await reader == list(range(1, 100))
    assert disk.reads == 0


async def test_after_a_restart_the_past_is_on_disk_only() -> None:
    disk, live = Disk(), Metrics(last=1200)
    disk.points = [run_pb2.MetricPoint(sequence=i) for i in range(1, 1201)]
    reader = asyncio.create_task(collect(live, disk, 100))
    await asyncio.sleep(0.01)
    live.publish([run_pb2.MetricPoint(sequence=1201)])
    live.end()
    assert await reader == list(range(101, 1202))


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1000])
async def test_a_final_run_is_replayed_whole(count: int) -> None:
    disk = Disk()
    disk.points = [run_pb2.MetricPoint(sequence=i) for i in range(1, count + 1)]
    responses = [response async for response in replay(0, disk.read)]
    assert [p.sequence for r in responses for p in r.points] == list(range(1, count + 1))
    assert [r.caught_up for r in responses] == [False] * (len(responses) - 1) + [True]
