"""Scores of benchmarks, for those who are not to block: lists, and what slots carry."""

from __future__ import annotations

from collections.abc import Sequence

from mltetris_api.v1 import benchmark_pb2, slot_pb2, trainer_pb2

from mltetris_server.errors import InvalidArgument
from mltetris_server.runs.threads import Thread
from mltetris_server.storage.scores import ScoreStore
from mltetris_server.suites import SUITES


def check_suite(suite: str) -> None:
    """Raises InvalidArgument where a suite is named that there is not."""
    if suite and suite not in SUITES:
        raise InvalidArgument.field(
            "suite", f"there is none of that name; known are {', '.join(SUITES)}"
        )


class Scores:
    """What official benchmarks have measured.

    Args:
        store: where it is kept.
        disk: the threads that read it.
    """

    def __init__(self, store: ScoreStore, disk: Thread) -> None:
        self._store = store
        self._disk = disk

    async def page(
        self, request: trainer_pb2.ListBenchmarkScoresRequest
    ) -> tuple[Sequence[benchmark_pb2.BenchmarkScore], str]:
        """Returns a page of scores, newest first, and the token of the next page.

        Raises:
            InvalidArgument: there is no such suite.
        """
        check_suite(request.suite)
        return await self._disk(
            self._store.page,
            suite=request.suite,
            player=request.player,
            page_size=request.page_size,
            page_token=request.page_token,
        )

    async def add_to(self, *slots: slot_pb2.Slot) -> None:
        """Gives each slot the newest scores of its model, whatever it was called then."""
        newest = await self._disk(self._store.newest, [slot.sha256 for slot in slots])
        for slot in slots:
            slot.benchmark_scores.extend(newest.get(slot.sha256, ()))
