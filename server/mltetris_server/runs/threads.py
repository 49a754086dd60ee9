"""Blocking work in order, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from mltetris_server.errors import DiskFull

P = ParamSpec("P")
T = TypeVar("T")


class Thread:
    """One thread that does one thing after the other.

    The stores are not made for several threads, and need not be: what one thread does in order
    needs no locks. A call that was begun is finished even where its caller is cancelled.

    Args:
        name: of the thread.
        retries: whether what finds no room is tried once more after `on_full`, which may have made
            some: for small things that matter.
        threads: more than the one, for things that may be done at the same time.
    """

    def __init__(self, name: str, *, retries: bool = False, threads: int = 1) -> None:
        self.on_full: Callable[[], object] = lambda: None
        """Called, in the event loop, when something finds no room on the disk."""
        self._retries = retries
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Returns what `function` returns, once everything asked for before has been done."""
        try:
            return await self._run(lambda: function(*args, **kwargs))
        except DiskFull:
            self.on_full()
            if not self._retries:
                raise
        return await self._run(lambda: function(*args, **kwargs))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Waits for what was asked for, and ends the thread."""
        self._executor.shutdown(wait=True)
