"""What the worker has to say, kept until the server has stored it."""

from __future__ import annotations

import threading
from collections import deque

from mltetris_api.worker.v1.worker_pb2 import AttachRequest, Frames

CAPACITY = 10_000
"""Events kept at most while the server does not acknowledge: hours of metric points."""

_EXPENDABLE = frozenset({"episodes", "notice"})
"""What is given up, oldest first, before a metric point would be."""


class OutboxFull(Exception):
    """Nothing was acknowledged for so long that not even metric points fit any more."""


class ConversationOver(Exception):
    """Another conversation has begun, or the outbox was closed."""


class Outbox:
    """Numbered events, and the newest frames, on their way to the server.

    Events are numbered from 1 and kept until they are acknowledged; `begin`
    starts a new conversation, which is given everything after the last event
    the server says it has. Frames are not kept: the newest replace the ones
    before, and without a conversation there are none.

    Any thread may call any method.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._changed = threading.Condition()
        self._capacity = capacity
        self._kept: deque[AttachRequest] = deque()
        self._unsent: deque[AttachRequest] = deque()
        self._frames: Frames | None = None
        self._numbered = 0
        self._acknowledged = 0
        self._conversation = 0
        self._open = False

    @property
    def acknowledged(self) -> int:
        """Number of the last acknowledged event; 0: none."""
        return self._acknowledged

    def add(self, event: AttachRequest) -> int:
        """Numbers an event, keeps it, and returns its number.

        Raises:
            OutboxFull: there is no room, and nothing expendable to make some.
        """
        with self._changed:
            if len(self._kept) >= self._capacity:
                self._make_room()
            self._numbered += 1
            event.sequence = self._numbered
            self._kept.append(event)
            self._unsent.append(event)
            self._changed.notify_all()
            return self._numbered

    def _make_room(self) -> None:
        spared = deque(e for e in self._kept if e.WhichOneof("event") not in _EXPENDABLE)
        if len(spared) == len(self._kept):
            raise OutboxFull(f"{len(self._kept)} events wait for an acknowledgement")
        first_unsent = self._unsent[0].sequence if self._unsent else self._numbered + 1
        self._kept = spared
        self._unsent = deque(e for e in spared if e.sequence >= first_unsent)

    def show(self, frames: Frames) -> None:
        """Puts the newest frames in place of any that are still waiting."""
        with self._changed:
            if self._open:
                self._frames = frames
                self._changed.notify_all()

    def acknowledge(self, sequence: int) -> None:
        """Forgets the events up to this one: the server has stored them."""
        with self._changed:
            # A server cannot have stored what was never sent: it speaks of another worker's events.
            self._acknowledged = max(self._acknowledged, min(sequence, self._numbered))
            while self._kept and self._kept[0].sequence <= self._acknowledged:
                self._kept.popleft()
            while self._unsent and self._unsent[0].sequence <= self._acknowledged:
                self._unsent.popleft()
            self._changed.notify_all()

    def wait_acknowledged(self, sequence: int, timeout: float) -> bool:
        """Waits until the server has stored this event; False: it has not within `timeout` s."""
        with self._changed:
            return self._changed.wait_for(lambda: self._acknowledged >= sequence, timeout)

    def begin(self) -> int:
        """Starts a new conversation, ending the one before, and returns its number.

        Nothing is given out until `resume` says what the server has.
        """
        with self._changed:
            self._conversation += 1
            self._open = False
            self._frames = None
            self._unsent.clear()
            self._changed.notify_all()
            return self._conversation

    def resume(self, acknowledged: int) -> None:
        """Lets the conversation go on with what comes after the last event the server has."""
        self.acknowledge(acknowledged)
        with self._changed:
            self._unsent = deque(self._kept)
            self._open = True
            self._changed.notify_all()

    def suspend(self) -> None:
        """Ends the conversation: events are kept, frames are not."""
        self.begin()

    def next(self, conversation: int, timeout: float) -> AttachRequest | None:
        """The next thing to say: events in order first, then the newest frames.

        Returns None after `timeout` seconds with nothing to say.

        Raises:
            ConversationOver: this conversation is not the current one any more.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    conversation != self._conversation
                    or (self._open and (self._unsent or self._frames is not None))
                ),
                timeout,
            )
            if conversation != self._conversation:
                raise ConversationOver
            if not self._open:
                return None
            if self._unsent:
                return self._unsent.popleft()
            if self._frames is not None:
                frames, self._frames = self._frames, None
                return AttachRequest(frames=frames)
            return None

    def wait_open(self, conversation: int) -> bool:
        """Waits until the conversation may go on; False: it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or conversation != self._conversation)
            return conversation == self._conversation
