"""The server's side of one connection of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from mltetris_api.worker.v1 import worker_pb2


class Attachment:
    """One Attach call: what is to be sent on it, and whether it still stands."""

    def __init__(self) -> None:
        self._outgoing: asyncio.Queue[worker_pb2.AttachResponse | None] = asyncio.Queue()
        self.closed = asyncio.Event()
        """Set once nothing more of this connection will be read."""

    def send(self, message: worker_pb2.AttachResponse) -> None:
        """Sends `message`, if the connection stands; what is lost with it, commands know."""
        self._outgoing.put_nowait(message)

    def end(self) -> None:
        """Ends the connection after what was sent before."""
        self._outgoing.put_nowait(None)

    async def outgoing(self) -> AsyncGenerator[worker_pb2.AttachResponse, None]:
        """Yields what is to be sent until `end`."""
        while (message := await self._outgoing.get()) is not None:
            yield message
