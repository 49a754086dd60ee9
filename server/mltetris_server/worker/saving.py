"""Checkpoints on their way to the server, while the run goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mltetris_api.v1.run_pb2 import CheckpointKind

from mltetris_server.worker.link import ServerGone
from mltetris_server.worker.transfer import Checkpoint, TransferError

_log = logging.getLogger(__name__)


@dataclass
class _Waiting:
    checkpoint: Checkpoint
    stored: list[Callable[[], None]] = field(default_factory=list)


class Saver:
    """Stores checkpoints from a thread of its own, so that the run never waits for a disk.

    Of each kind only the newest waits: while the server is away the others
    would only be replaced by it.

    Args:
        put: stores a checkpoint, as `transfer.put_checkpoint` does.
        failed: is told, in one sentence, that the server did not take one; on this thread.
    """

    def __init__(
        self,
        put: Callable[[CheckpointKind.ValueType, Checkpoint], object],
        failed: Callable[[str], None],
    ) -> None:
        self._put = put
        self._failed = failed
        self._changed = threading.Condition()
        self._waiting: dict[CheckpointKind.ValueType, _Waiting] = {}
        self._closing = False
        self._fault: Exception | None = None
        self.refusals: dict[CheckpointKind.ValueType, TransferError] = {}
        """Why the server did not take the last checkpoint of a kind, where it did not."""
        self._thread = threading.Thread(target=self._work, name="saver", daemon=True)
        self._thread.start()

    def save(
        self,
        kind: CheckpointKind.ValueType,
        checkpoint: Checkpoint,
        stored: Callable[[], None] | None = None,
    ) -> None:
        """Stores a checkpoint in the background, then calls `stored`, on the saver's thread."""
        with self._changed:
            # Who waited for an older one is served by this one as well. A new key goes to the
            # end: checkpoints are stored in the order in which they were made.
            before = self._waiting.pop(kind, None)
            waiting = _Waiting(checkpoint, before.stored if before else [])
            if stored is not None:
                waiting.stored.append(stored)
            self._waiting[kind] = waiting
            self._changed.notify_all()

    def finish(self) -> None:
        """Waits until everything is stored, refused, or the server is gone; ends the thread.

        Raises:
            Exception: whatever ended the saver's thread before its time.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _work(self) -> None:
        try:
            self._store_all()
        except ServerGone:
            return
        except Exception as error:  # noqa: BLE001 - told by `finish`, on the run's own thread
            _log.exception("storing checkpoints failed")
            self._fault = error

    def _store_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                kind = next(iter(self._waiting))
                waiting = self._waiting.pop(kind)
            name = CheckpointKind.Name(kind).removeprefix("CHECKPOINT_KIND_").lower()
            try:
                self._put(kind, waiting.checkpoint)
            except TransferError as error:
                _log.error("checkpoint %s was not stored: %s", name, error)
                self.refusals[kind] = error
                self._failed(f"The checkpoint {name!r} was not stored: {error}")
                continue
            self.refusals.pop(kind, None)
            for stored in waiting.stored:
                stored()
