"""The worker's line to its server: one conversation that survives breaks.

Two background threads of gRPC and one of ours carry it, so that the run's own
thread never waits for the network. A broken line is taken up again within a
second; what the server had not stored is said again. A server that stays away
for longer than the grace period is gone, and the worker with it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator

import grpc
from mltetris_api.worker.v1.worker_pb2 import (
    AttachRequest,
    AttachResponse,
    Frames,
    Heartbeat,
    Hello,
    Welcome,
    WorkerState,
)
from mltetris_api.worker.v1.worker_pb2_grpc import WorkerServiceStub

from mltetris_server.worker.outbox import ConversationOver, Outbox, OutboxFull
from mltetris_server.worker.settings import WorkerSettings

_log = logging.getLogger(__name__)

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # A loopback address must not go through the proxy of the environment.
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A server that hangs is noticed like one that is gone.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
    ("grpc.max_send_message_length", 8 * 1024 * 1024),
)

HEARTBEAT_SECONDS = 1.0
"""Silence after which the worker says that it is alive."""
FIRST_GRACE_SECONDS = 30.0
"""How long the first attachment is tried, before the server has said its own grace period."""
WELCOME_SECONDS = 10.0
"""How long one attempt waits for the server's Welcome."""
BACKOFF_SECONDS = (0.05, 1.0)
"""Shortest and longest wait between two attempts."""

REFUSALS = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Answers to an attachment that trying again would not change."""


class ServerGone(Exception):
    """The server does not want this worker, or stayed away longer than its grace period."""


class Link:
    """One worker's attachment to its server.

    Args:
        settings: where the server is, and who this is.
        deliver: is given every message of the server but the first Welcome and
            the acknowledgements, on the link's thread; it must return quickly.
        leave: is called once when the server is gone, on the link's thread.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        deliver: Callable[[AttachResponse], None],
        leave: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._deliver = deliver
        self._leave = leave
        self._outbox = Outbox()
        self._channel = grpc.insecure_channel(settings.address, options=CHANNEL_OPTIONS)
        self._stub = WorkerServiceStub(self._channel)
        self._changed = threading.Condition()
        self._welcome: Welcome | None = None
        self._attached = False
        self._gone: str | None = None
        self._closed = threading.Event()
        self._grace = FIRST_GRACE_SECONDS
        self._thread = threading.Thread(target=self._work, name="link", daemon=True)
        self.state: WorkerState.ValueType = WorkerState.WORKER_STATE_UNSPECIFIED
        """What the worker is doing, for the server to know after a reconnect."""
        self.attachments = 0
        """How often the server has welcomed us."""

    @property
    def attached(self) -> bool:
        """Whether there is a conversation now."""
        return self._attached

    @property
    def stub(self) -> WorkerServiceStub:
        """The server's methods, for what goes beside the conversation."""
        return self._stub

    @property
    def settings(self) -> WorkerSettings:
        """Where the server is, and who this is."""
        return self._settings

    def start(self) -> None:
        """Begins to attach, in the background."""
        self._thread.start()

    def welcome(self) -> Welcome:
        """Waits for the server's first Welcome: what to run.

        Raises:
            ServerGone: it never came.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._welcome is not None or self._gone is not None)
            if self._welcome is None:
                raise ServerGone(self._gone)
            return self._welcome

    def await_attached(self) -> None:
        """Waits until there is a conversation.

        Raises:
            ServerGone: there will be none.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._attached or self._gone is not None)
            if self._gone is not None:
                raise ServerGone(self._gone)

    def send(self, event: AttachRequest) -> None:
        """Says something that must not be lost; returns at once.

        Once the server is gone, this does nothing: the run's thread is about to be told.
        """
        if self._gone is not None:
            return
        try:
            self._outbox.add(event)
        except OutboxFull as error:
            self._give_up(str(error))

    def show(self, frames: Frames) -> None:
        """Shows the newest frames; they take the place of any not yet on their way."""
        self._outbox.show(frames)

    def send_and_wait(self, event: AttachRequest) -> None:
        """Says something and waits until the server has stored it.

        Raises:
            ServerGone: it never will.
        """
        if self._gone is not None:
            raise ServerGone(self._gone)
        try:
            number = self._outbox.add(event)
        except OutboxFull as error:
            self._give_up(str(error))
            raise ServerGone(str(error)) from error
        while not self._outbox.wait_acknowledged(number, timeout=0.2):
            if self._gone is not None:
                raise ServerGone(self._gone)

    def close(self) -> None:
        """Ends the conversation and the link's threads."""
        self._closed.set()
        self._outbox.suspend()
        self._channel.close()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=2)

    def _work(self) -> None:
        try:
            self._keep_attached()
        except Exception as error:  # noqa: BLE001 - without a line the run must not go on unheard
            _log.exception("the line to the server failed")
            self._give_up(f"{type(error).__name__}: {error}")

    def _keep_attached(self) -> None:
        lost_at = time.monotonic()
        backoff = BACKOFF_SECONDS[0]
        while not self._closed.is_set():
            try:
                self._converse()
                why = "the server ended the conversation"
            except grpc.RpcError as error:
                code, why = error.code(), f"{error.code().name}: {error.details()}"
                if code in REFUSALS:
                    self._give_up(why)
                    return
            if self._closed.is_set():
                return
            if self._attached:
                with self._changed:
                    self._attached = False
                _log.warning("the line to the server broke: %s", why)
                lost_at, backoff = time.monotonic(), BACKOFF_SECONDS[0]
            away = time.monotonic() - lost_at
            if away >= self._grace:
                self._give_up(f"the server stayed away for {away:.1f} s ({why})")
                return
            self._closed.wait(min(backoff, self._grace - away))
            backoff = min(backoff * 2, BACKOFF_SECONDS[1])

    def _converse(self) -> None:
        """One conversation, from Hello to its end.

        Raises:
            grpc.RpcError: it ended otherwise than by the server's will.
        """
        conversation = self._outbox.begin()
        call = self._stub.Attach(self._requests(conversation), metadata=self._settings.metadata)
        # A server that accepts a connection and then says nothing must not hold us for ever.
        impatience = threading.Timer(WELCOME_SECONDS, call.cancel)
        impatience.daemon = True
        impatience.start()
        try:
            for response in call:
                match response.WhichOneof("message"):
                    case "welcome":
                        impatience.cancel()
                        self._welcomed(response)
                    case "ack":
                        self._outbox.acknowledge(response.ack.sequence)
                    case _:
                        self._deliver(response)
        finally:
            impatience.cancel()
            self._outbox.suspend()
            call.cancel()

    def _requests(self, conversation: int) -> Iterator[AttachRequest]:
        yield AttachRequest(
            hello=Hello(pid=os.getpid(), acknowledged=self._outbox.acknowledged, state=self.state)
        )
        if not self._outbox.wait_open(conversation):
            return
        while True:
            try:
                request = self._outbox.next(conversation, HEARTBEAT_SECONDS)
            except ConversationOver:
                return
            yield request if request is not None else AttachRequest(heartbeat=Heartbeat())

    def _welcomed(self, response: AttachResponse) -> None:
        welcome = response.welcome
        first = self._welcome is None
        if welcome.HasField("grace"):
            self._grace = welcome.grace.ToTimedelta().total_seconds()
        if not first:
            # What the server holds to be so now, before anything it says from here on.
            self._deliver(response)
        self._outbox.resume(welcome.acknowledged)
        with self._changed:
            self._welcome = self._welcome or welcome
            self._attached = True
            self.attachments += 1
            self._changed.notify_all()
        _log.info("attached to the server%s", "" if first else " again")

    def _give_up(self, why: str) -> None:
        with self._changed:
            if self._gone is not None:
                return
            self._gone = why
            self._attached = False
            self._changed.notify_all()
        self._closed.set()
        _log.error("leaving: %s", why)
        self._leave()
