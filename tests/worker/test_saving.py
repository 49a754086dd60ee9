"""The saver: off the run's thread, only the newest of a kind, and everyone is told."""

from __future__ import annotations

import threading

import grpc
import pytest
from mltetris_api.v1.run_pb2 import CheckpointKind
from mltetris_server.worker.link import ServerGone
from mltetris_server.worker.saving import Saver
from mltetris_server.worker.transfer import Checkpoint, TransferError

BEST = CheckpointKind.CHECKPOINT_KIND_BEST
LATEST = CheckpointKind.CHECKPOINT_KIND_LATEST
FINAL = CheckpointKind.CHECKPOINT_KIND_FINAL


def checkpoint(placements: int) -> Checkpoint:
    return Checkpoint("{}", {}, placements)


class Shelf:
    """Where checkpoints go; opens when the test says so."""

    def __init__(self) -> None:
        self.stored: list[tuple[int, int]] = []
        self.open = threading.Event()
        self.busy = threading.Event()
        self.refusal: Exception | None = None

    def put(self, kind: CheckpointKind.ValueType, checkpoint: Checkpoint) -> None:
        self.busy.set()
        assert self.open.wait(60)
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            raise refusal
        self.stored.append((kind, checkpoint.placements))


def test_only_the_newest_of_a_kind_waits_and_order_is_kept() -> None:
    shelf, told = Shelf(), []
    saver = Saver(shelf.put, told.append)
    saver.save(BEST, checkpoint(1))
    assert shelf.busy.wait(60)
    served: list[str] = []
    saver.save(LATEST, checkpoint(2), lambda: served.append("first"))
    saver.save(BEST, checkpoint(3))
    saver.save(LATEST, checkpoint(4), lambda: served.append("second"))
    saver.save(FINAL, checkpoint(5))
    shelf.open.set()
    saver.finish()
    assert shelf.stored == [(BEST, 1), (BEST, 3), (LATEST, 4), (FINAL, 5)]
    assert served == ["first", "second"]
    assert told == []


def test_a_refused_checkpoint_is_told_and_the_next_is_tried() -> None:
    shelf, told = Shelf(), []
    shelf.refusal = TransferError(grpc.StatusCode.UNAVAILABLE, "the disk is full")
    shelf.open.set()
    saver = Saver(shelf.put, told.append)
    saver.save(LATEST, checkpoint(1), lambda: told.append("stored"))
    saver.save(FINAL, checkpoint(2))
    saver.finish()
    assert shelf.stored == [(FINAL, 2)]
    assert told == ["The checkpoint 'latest' was not stored: the disk is full"]


def test_a_server_that_is_gone_ends_it() -> None:
    shelf = Shelf()
    shelf.refusal = ServerGone("away")
    shelf.open.set()
    saver = Saver(shelf.put, print)
    saver.save(LATEST, checkpoint(1))
    saver.save(FINAL, checkpoint(2))
    saver.finish()
    assert shelf.stored == []


def test_a_fault_is_not_lost_with_its_thread() -> None:
    shelf = Shelf()
    shelf.refusal = ZeroDivisionError("a fault")
    shelf.open.set()
    saver = Saver(shelf.put, print)
    saver.save(FINAL, checkpoint(1))
    with pytest.raises(ZeroDivisionError):
        saver.finish()
