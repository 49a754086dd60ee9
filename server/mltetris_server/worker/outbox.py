"""What the worker has to say, kept until the server has stored it.

There is a promise about some events and none about others, and so there are two bounds:

- Metric points, states and the last word are never given up: the history has no gap. They are
  bounded by the memory they take, 64 MiB as they are sent. At one point a second and some 200 bytes
  each that is days, far more than the grace period of any server, so a worker gets there only
  where a server neither goes away nor ever acknowledges anything. Then it does what it does past
  the grace period: it keeps a last checkpoint and leaves. What it had to say is lost with it; to
  train on unheard for days more would lose more.
- Episodes and notices are for people who watch. Beyond 10,000 such events the older half is given
  up, and told: as soon as the server listens again, a notice says how many were left out, after
  what was kept. Nothing is counted that the server turns out to have.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from mltetris_api.worker.v1.worker_pb2 import AttachRequest, Frames, Notice

CAPACITY = 10_000
"""Events of episodes and notices kept at most while the server does not acknowledge."""
MOST_BYTES = 64 * 1024 * 1024
"""Bytes of all other events kept at most: days of metric points."""

_EXPENDABLE = frozenset({"episodes", "notice"})
"""What is given up, oldest first, where there are too many."""


class OutboxFull(Exception):
    """Nothing was acknowledged for so long that what must not be lost does not fit any more."""


class ConversationOver(Exception):
    """Another conversation has begun, or the outbox was closed."""


@dataclass
class _LeftOut:
    """What was given up and not told yet."""

    episodes: int = 0
    notices: int = 0

    def add(self, event: AttachRequest) -> None:
        """Counts an event in."""
        if event.WhichOneof("event") == "episodes":
            self.episodes += len(event.episodes.episodes)
        else:
            self.notices += 1

    def __bool__(self) -> bool:
        return bool(self.episodes or self.notices)

    def __str__(self) -> str:
        return (
            "While the server was away or busy there was more to say than could be kept: "
            f"{self.episodes:,} episodes and {self.notices:,} notices were left out, "
            "no metric point."
        )


class Outbox:
    """Numbered events, and the newest frames, on their way to the server.

    Events are numbered from 1 and kept until they are acknowledged; `begin`
    starts a new conversation, which is given everything after the last event
    the server says it has. Frames are not kept: the newest replace the ones
    before, and without a conversation there are none.

    Any thread may call any method.

    Args:
        capacity: events of episodes and notices that are kept at most, at least 2.
        most_bytes: bytes of all other events that are kept at most.
    """

    def __init__(self, capacity: int = CAPACITY, most_bytes: int = MOST_BYTES) -> None:
        self._changed = threading.Condition()
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._kept: deque[AttachRequest] = deque()
        self._expendable = 0
        """How many of the kept events are."""
        self._bytes = 0
        """What the others take."""
        self._unsent: deque[AttachRequest] = deque()
        self._left_out = _LeftOut()
        self._told = _LeftOut()
        """What the last notice of that says."""
        self._telling = 0
        """Number of that notice."""
        self._doubtful: deque[AttachRequest] = deque()
        """Given up when they were on their way already: the server may have them."""
        self._sent = 0
        """Number of the last event that was given out."""
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
            OutboxFull: there is no room for it, and it must not be lost.
        """
        with self._changed:
            if event.WhichOneof("event") in _EXPENDABLE:
                if self._expendable >= self._capacity:
                    self._make_room()
                self._expendable += 1
            else:
                event.sequence = self._numbered + 1
                size = event.ByteSize()
                if self._bytes + size > self._most_bytes:
                    raise OutboxFull(f"{len(self._kept)} events wait for an acknowledgement")
                self._bytes += size
            return self._append(event)

    def _append(self, event: AttachRequest) -> int:
        self._numbered += 1
        event.sequence = self._numbered
        self._kept.append(event)
        self._unsent.append(event)
        self._changed.notify_all()
        return self._numbered

    def _make_room(self) -> None:
        """Gives up the older half of what is expendable."""
        first_unsent = self._unsent[0].sequence if self._unsent else self._numbered + 1
        surplus = self._expendable - self._capacity // 2
        spared: deque[AttachRequest] = deque()
        for event in self._kept:
            expendable = event.WhichOneof("event") in _EXPENDABLE
            if not expendable or surplus <= 0 or event.sequence == self._telling:
                spared.append(event)
                continue
            surplus -= 1
            self._expendable -= 1
            if event.sequence <= self._sent:
                self._doubtful.append(event)
            else:
                self._left_out.add(event)
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
                self._forget(self._kept.popleft())
            while self._doubtful and self._doubtful[0].sequence <= self._acknowledged:
                self._doubtful.popleft()
            while self._unsent and self._unsent[0].sequence <= self._acknowledged:
                self._unsent.popleft()
            if self._open and self._telling <= self._acknowledged:
                self._tell_what_was_left_out()
            self._changed.notify_all()

    def _forget(self, event: AttachRequest) -> None:
        if event.WhichOneof("event") in _EXPENDABLE:
            self._expendable -= 1
        else:
            self._bytes -= event.ByteSize()

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
            for event in self._doubtful:
                self._left_out.add(event)
            self._doubtful.clear()
            self._tell_what_was_left_out()
            self._unsent = deque(self._kept)
            self._open = True
            self._changed.notify_all()

    def _tell_what_was_left_out(self) -> None:
        """Says so in a notice, after everything that was kept."""
        if not self._left_out:
            return
        if self._telling > self._acknowledged:
            # The notice before has not come through: this one is in its place.
            self._kept = deque(e for e in self._kept if e.sequence != self._telling)
            self._expendable -= 1
            self._left_out.episodes += self._told.episodes
            self._left_out.notices += self._told.notices
        self._told, self._left_out = self._left_out, _LeftOut()
        self._expendable += 1
        self._telling = self._append(AttachRequest(notice=Notice(text=str(self._told))))

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
                event = self._unsent.popleft()
                self._sent = max(self._sent, event.sequence)
                return event
            if self._frames is not None:
                frames, self._frames = self._frames, None
                return AttachRequest(frames=frames)
            return None

    def wait_open(self, conversation: int) -> bool:
        """Waits until the conversation may go on; False: it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or conversation != self._conversation)
            return conversation == self._conversation
