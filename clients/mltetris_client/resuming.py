"""A stream that outlives its connection: it breaks, waits, and goes on where it was."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import grpc

from mltetris_client._calls import translate, translated
from mltetris_client.errors import Cancelled, Closed, TooSlow, Unreachable
from mltetris_client.link import Link

_Message = TypeVar("_Message")
_Covariant = TypeVar("_Covariant", covariant=True)

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 1.0


class Responses(Protocol[_Covariant]):
    """The responses of one streaming call."""

    def __iter__(self) -> Iterator[_Covariant]: ...

    def __next__(self) -> _Covariant: ...

    def cancel(self) -> object:
        """Ends the call."""


class Resuming(Generic[_Message]):
    """The responses of a streaming call that is made again whenever its connection breaks.

    ``open_call`` makes the call; it is asked again after every break, so it can resume from where
    the reader is. Where the server never answered anything over ``link`` it raises at once; else it
    keeps trying for ``patience`` seconds without a message (``None``: for ever). It ends when the
    server ends it, and when `cancel` is called, from any thread.

    Iterate from one thread only.
    """

    def __init__(
        self,
        open_call: Callable[[], Responses[_Message]],
        *,
        link: Link,
        patience: float | None = None,
        on_open: Callable[[], None] | None = None,
    ) -> None:
        self._open_call = open_call
        self._link = link
        self._patience = patience
        self._on_open = on_open
        self._lock = threading.Lock()
        self._call: Responses[_Message] | None = None
        self._cancelled = threading.Event()
        self._connected = threading.Event()

    @property
    def connected(self) -> bool:
        """Whether the last thing that came was a message and not a break."""
        return self._connected.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ends the stream; a reader waiting for a message stops at once. May be called twice."""
        self._cancelled.set()
        with self._lock:
            call = self._call
        if call is not None:
            call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()

    def __iter__(self) -> Iterator[_Message]:
        """Yields messages over all connections.

        Raises:
            Unreachable: never connected, or broken for longer than ``patience``.
            MlTetrisError: the server refused or failed the call.
        """
        delay = FIRST_DELAY_S
        broken_since = time.monotonic()
        while not self._cancelled.is_set():
            received = False
            try:
                for message in self._one_call():
                    received = self._link.answered = True
                    delay = FIRST_DELAY_S
                    self._connected.set()
                    yield message
                    broken_since = time.monotonic()
                return
            except Closed:
                if self._cancelled.is_set():
                    return
                raise
            except (Unreachable, Cancelled, TooSlow) as error:
                # Cancelled is a server resetting its streams as it stops, TooSlow one dropping a
                # reader that fell behind: both resume like a broken connection. TooSlow before
                # any message would only repeat itself.
                if self._cancelled.is_set():
                    return
                waited = time.monotonic() - broken_since
                hopeless = isinstance(error, TooSlow) and not received
                too_long = self._patience is not None and waited >= self._patience
                if hopeless or too_long or not self._link.answered:
                    raise
            finally:
                self._connected.clear()
            self._cancelled.wait(delay * random.uniform(0.8, 1.2))
            delay = min(2 * delay, LONGEST_DELAY_S)

    def _one_call(self) -> Iterator[_Message]:
        """Yields the messages of one connection."""
        if self._on_open is not None:
            self._on_open()
        with translated(self._link.address):
            call = self._open_call()
        with self._lock:
            self._call = call
        if self._cancelled.is_set():
            call.cancel()
        try:
            yield from call
        except grpc.RpcError as error:
            raise translate(error, self._link.address) from error
        finally:
            # An iterator left before its end would otherwise keep the call open on the server.
            call.cancel()
            with self._lock:
                self._call = None
