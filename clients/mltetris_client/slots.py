"""The part of `Trainer` that keeps slots."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from google.protobuf.field_mask_pb2 import FieldMask
from mltetris_api.v1 import run_pb2, slot_pb2, trainer_pb2

from mltetris_client.errors import InvalidArgument
from mltetris_client.link import Link
from mltetris_client.names import CheckpointName, FormatName, OrderName, value_of
from mltetris_client.transfer import default_slot_name, download, upload

_PAGE = 500
# A transfer may take this many times longer than a plain call.
_TRANSFER_TIMEOUTS = 10


class SlotCalls:
    """What a `Trainer` can do with slots. Names have 1 to 64 of A-Z a-z 0-9 _ -.

    The reference players (`bcts`, `dellacherie`, `dt10`, `random`; `Slot.reference` is true) are
    slots that come with the server: they are listed, played, copied, activated and exported like
    the others, and cannot be changed, deleted or overwritten.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def list_slots(
        self, *, order_by: OrderName = "score", suite: str = "", limit: int | None = None
    ) -> list[slot_pb2.Slot]:
        """Slots, best first (or by ``order_by``): all, or the first ``limit``.

        Reference players are among them. With a ``suite``, the best is the one with the best
        newest score in it; slots without one come last.

        Raises:
            InvalidArgument.
        """
        request = trainer_pb2.ListSlotsRequest(order_by=order_by, suite=suite)
        slots: list[slot_pb2.Slot] = []
        while limit is None or len(slots) < limit:
            request.page_size = _PAGE if limit is None else min(_PAGE, limit - len(slots))
            response = self._link.unary(self._link.trainer.ListSlots, request)
            slots.extend(response.slots)
            request.page_token = response.next_page_token
            if not response.next_page_token:
                break
        return slots

    def get_slot(self, name: str) -> slot_pb2.Slot:
        """One slot.

        Raises:
            InvalidArgument, NotFound, DataLoss.
        """
        request = trainer_pb2.GetSlotRequest(name=name)
        return self._link.unary(self._link.trainer.GetSlot, request).slot

    def save_slot(
        self,
        name: str,
        *,
        run: str | None = None,
        checkpoint: CheckpointName = "best",
        slot: str | None = None,
        notes: str = "",
        tags: Sequence[str] = (),
        overwrite: bool = False,
    ) -> slot_pb2.Slot:
        """Saves a ``run``'s checkpoint, or another ``slot``, under a name.

        ``latest`` of a live run is written first: it is what the agent is now. The name of a
        reference player is taken, also with ``overwrite``.

        Raises:
            InvalidArgument, NotFound, AlreadyExists, WrongState, DataLoss.
        """
        if run is not None and slot is not None:
            raise InvalidArgument.field("source", "give run or slot, not both")
        request = trainer_pb2.SaveSlotRequest(
            name=name, notes=notes, tags=tags, overwrite=overwrite
        )
        if slot is not None:
            request.slot = slot
        if run is not None:
            kind = value_of(run_pb2.CheckpointKind, checkpoint, field="checkpoint.kind")
            request.checkpoint.CopyFrom(run_pb2.RunCheckpoint(run=run, kind=kind))
        return self._link.unary(self._link.trainer.SaveSlot, request).slot

    def update_slot(
        self,
        name: str,
        *,
        new_name: str | None = None,
        notes: str | None = None,
        tags: Iterable[str] | None = None,
    ) -> slot_pb2.Slot:
        """Renames a slot, or changes its notes or tags; what is None stays as it is.

        Raises:
            InvalidArgument, NotFound, AlreadyExists; WrongState: it is a reference player.
        """
        request = trainer_pb2.UpdateSlotRequest(
            name=name,
            update=trainer_pb2.SlotUpdate(
                name=new_name, notes=notes or "", tags=() if tags is None else tags
            ),
        )
        given = {"name": new_name, "notes": notes, "tags": tags}
        paths = [path for path, value in given.items() if value is not None]
        request.update_mask.CopyFrom(FieldMask(paths=paths))
        return self._link.unary(self._link.trainer.UpdateSlot, request).slot

    def delete_slot(self, name: str, *, force: bool = False) -> None:
        """Removes a slot; the active one only with ``force``.

        Raises:
            InvalidArgument, NotFound; WrongState: it is active, or a reference player.
        """
        request = trainer_pb2.DeleteSlotRequest(name=name, force=force)
        self._link.unary(self._link.trainer.DeleteSlot, request)

    def activate_slot(self, name: str) -> slot_pb2.Slot:
        """Makes a slot the one used where none is named.

        Raises:
            InvalidArgument, NotFound, DataLoss.
        """
        request = trainer_pb2.ActivateSlotRequest(name=name)
        return self._link.unary(self._link.trainer.ActivateSlot, request).slot

    def export_slot(
        self,
        name: str,
        path: str | os.PathLike[str] | None = None,
        *,
        format: FormatName = "slot",
        weights_only: bool = False,
        overwrite: bool = False,
    ) -> Path:
        """Writes a slot into a file, whole or not at all, and returns its path.

        ``path`` is a file or a folder; None: the working folder. The SHA-256 is checked.

        Raises:
            InvalidArgument, NotFound, NotSupported; WrongState: a reference player has no form
            for stable-baselines3; DataLoss: damaged there or on the way;
            AlreadyExists: the file does, and ``overwrite`` is False; OSError.
        """
        request = trainer_pb2.ExportSlotRequest(
            name=name,
            format=value_of(slot_pb2.SlotFormat, format, field="format"),
            weights_only=weights_only,
        )
        return download(
            self._link.trainer,
            request,
            None if path is None else Path(path),
            overwrite=overwrite,
            timeout=self._link.timeout * _TRANSFER_TIMEOUTS,
            address=self._link.address,
        )

    def import_slot(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        *,
        overwrite: bool = False,
    ) -> slot_pb2.Slot:
        """Sends a file, whole or not at all; ``name`` defaults to the file's name.

        A SLOT bundle, or a stable-baselines3 .zip that an algorithm of mlTetris saved, of which
        only weights are read and nothing is run: a slot that plays the same.

        Raises:
            InvalidArgument: the name, or the file's content; AlreadyExists; DataLoss: the file is
            damaged; OSError: it cannot be read.
        """
        source = Path(path)
        return upload(
            self._link.trainer,
            source,
            default_slot_name(source) if name is None else name,
            overwrite=overwrite,
            timeout=self._link.timeout * _TRANSFER_TIMEOUTS,
            address=self._link.address,
        )
