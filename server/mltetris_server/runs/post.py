"""The worker processes of one run: there is one at a time, and a next one may take its place."""

from __future__ import annotations

import asyncio

from mltetris_server.runs.launchers import Link, Worker
from mltetris_server.runs.secret import digest, is_secret, new_secret
from mltetris_server.runs.surroundings import Surroundings


class Post:
    """A run's post, and the worker that fills it.

    Args:
        run: the run's id.
        secret_hash: of the secret its worker was given by a former server process, if any.
    """

    def __init__(self, run: str, around: Surroundings, secret_hash: bytes) -> None:
        self.worker: Worker | None = None
        """Who fills it now; only this class replaces it."""
        self._run = run
        self._around = around
        self._secret_hash = secret_hash

    def admits(self, secret: str) -> bool:
        """Whether `secret` is that of the run's worker."""
        return is_secret(secret, self._secret_hash)

    async def renew_secret(self) -> str:
        """Makes the secret of the next worker; that of any before is none from now on.

        Raises:
            DomainError: it could not be stored.
        """
        secret = new_secret()
        self._secret_hash = digest(secret)
        await self._around.disk(
            self._around.history.set_worker,
            self._run,
            secret_hash=self._secret_hash,
            pid=0,
            last_event=0,
        )
        return secret

    async def fill(self, secret: str) -> Worker:
        """Starts a worker that is let in with `secret`.

        Raises:
            OSError: it could not be started.
        """
        link = Link(run=self._run, address=self._around.address, secret=secret)
        self.worker = await asyncio.to_thread(self._around.launcher.launch, link)
        return self.worker

    async def find(self, pid: int) -> Worker | None:
        """Takes the worker of a former server that had process id `pid` (0: none is known)."""
        self.worker = await asyncio.to_thread(self._around.launcher.find, self._run, pid)
        return self.worker

    async def note(self) -> None:
        """Stores which process the worker is, for a next server to find it.

        Raises:
            DomainError: that could not be stored.
        """
        if self.worker is not None:
            await self._around.disk(self._around.history.set_worker, self._run, pid=self.worker.pid)

    def vacate(self) -> Worker | None:
        """Takes the worker off it, for the next; returns who it was."""
        worker, self.worker = self.worker, None
        return worker

    def kill(self) -> None:
        """Ends the worker's process at once, if there is one."""
        if self.worker is not None:
            self.worker.kill()

    async def log_tail(self) -> str:
        """The end of what the worker wrote."""
        return await asyncio.to_thread(self.worker.log_tail) if self.worker is not None else ""

    async def see_off(self, patience_s: float) -> None:
        """Waits until the worker's process has ended, and kills it after `patience_s`."""
        if self.worker is None:
            return
        try:
            async with asyncio.timeout(patience_s):
                await self.worker.wait()
        except TimeoutError:
            self.worker.kill()
            await self.worker.wait()
