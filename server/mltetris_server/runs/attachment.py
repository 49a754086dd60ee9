"""The server's side of one connection of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from mltetris_api.v1 import run_pb2
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.errors import DomainError


def greeting(
    run: run_pb2.Run,
    control: run_pb2.RunControl,
    watch: worker_pb2.Watch,
    grace_s: float,
    *,
    paused: bool,
    resumption: worker_pb2.Resumption | None,
) -> worker_pb2.Welcome:
    """Returns what the worker of `run` is told first on every connection.

    Args:
        paused: whether it is to hold.
        resumption: where it goes on, in place of a worker that was lost.
    """
    kind = run.WhichOneof("spec")
    welcome = worker_pb2.Welcome(
        training=run.training if kind == "training" else None,
        demo=run.demo if kind == "demo" else None,
        benchmark=run.benchmark if kind == "benchmark" else None,
        simulation=run.simulation if kind == "simulation" else None,
        control=control,
        watch=watch,
        paused=paused,
        resumption=resumption,
    )
    welcome.grace.FromMilliseconds(round(grace_s * 1000))
    return welcome


class Attachment:
    """One Attach call: what is to be sent on it, and whether it still stands."""

    def __init__(self) -> None:
        self._outgoing: asyncio.Queue[worker_pb2.AttachResponse | DomainError | None] = (
            asyncio.Queue()
        )
        self.closed = asyncio.Event()
        """Set once nothing more of this connection will be read."""

    def send(self, message: worker_pb2.AttachResponse) -> None:
        """Sends `message`, if the connection stands; what is lost with it, commands know."""
        self._outgoing.put_nowait(message)

    def end(self, error: DomainError | None = None) -> None:
        """Ends the connection after what was sent before; with `error`, where there is one."""
        self._outgoing.put_nowait(error)

    async def outgoing(self) -> AsyncGenerator[worker_pb2.AttachResponse, None]:
        """Yields what is to be sent until `end`, and raises what that was given."""
        while (message := await self._outgoing.get()) is not None:
            if isinstance(message, DomainError):
                raise message
            yield message
