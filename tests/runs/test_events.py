"""What happens to runs reaches watchers whole, or they are told that it does not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_server.errors import TooSlow
from mltetris_server.runs import events as module
from mltetris_server.runs.events import RunEvents


def decode(raw: bytes) -> trainer_pb2.WatchRunsResponse:
    return trainer_pb2.WatchRunsResponse.FromString(raw)


async def test_the_present_comes_first_and_nothing_of_it_twice() -> None:
    events = RunEvents()

    async def present() -> Sequence[run_pb2.Run]:
        # While the list is read, one run changes before it is read and one after.
        events.run_changed(run_pb2.Run(id="a", revision=3))
        listed = [run_pb2.Run(id="a", revision=3), run_pb2.Run(id="b", revision=1)]
        events.run_changed(run_pb2.Run(id="b", revision=2))
        return listed

    async with contextlib.aclosing(events.watch("", present)) as watch:
        seen = [decode(await anext(watch)) for _ in range(4)]
    assert [(s.run.id, s.run.revision, s.caught_up) for s in seen] == [
        ("a", 3, False),
        ("b", 1, False),
        ("", 0, True),
        ("b", 2, False),
    ]


async def test_who_watches_one_run_hears_of_it_and_of_the_server_only() -> None:
    events = RunEvents()

    async def present() -> Sequence[run_pb2.Run]:
        return []

    async with contextlib.aclosing(events.watch("a", present)) as watch:
        assert decode(await anext(watch)).caught_up
        events.run_changed(run_pb2.Run(id="b", revision=1))
        events.episode(run_pb2.Episode(run="b", lines=1))
        events.episode(run_pb2.Episode(run="a", lines=2))
        events.notice("", "the server has something to say")
        events.notice("b", "not for everybody")
        events.run_deleted("a")
        assert decode(await anext(watch)).episode.lines == 2
        assert "something to say" in decode(await anext(watch)).notice.text
        assert decode(await anext(watch)).deleted_run == "a"


async def test_a_watcher_too_far_behind_is_told_so_after_all_there_was_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = RunEvents()

    async def present() -> Sequence[run_pb2.Run]:
        return []

    backlog = module._BACKLOG
    async with (
        contextlib.aclosing(events.watch("", present)) as slow,
        contextlib.aclosing(events.watch("", present)) as quick,
    ):
        await anext(slow)
        await anext(quick)
        for revision in range(1, backlog + 100):
            events.run_changed(run_pb2.Run(id="a", revision=revision))
            assert decode(await anext(quick)).run.revision == revision
        seen = [decode(await anext(slow)).run.revision for _ in range(backlog)]
        events.run_changed(run_pb2.Run(id="a", revision=backlog + 100))
        assert seen == list(range(1, backlog + 1))
        with pytest.raises(TooSlow, match="watch again"):
            async with asyncio.timeout(5):
                await anext(slow)
