"""Slots: named models that stay until they are deleted, ``slots/NAME/`` each.

A slot is a checkpoint's folder with a ``slot.json`` of what may change. It appears and disappears
by one rename. One that is replaced is first set aside as ``.old-NAME``; where the process dies
before the new one stands in its place, the old one comes back when the store is opened.

The reference players are slots that come with the program: folders like the others, in another
place, that are read and never written. A slot that is kept under the name of one hides it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from mltetris_api.v1 import slot_pb2

from mltetris_server import errors
from mltetris_server.storage import (
    bundle,
    checkpoints,
    durable,
    names,
    slot_listing,
    slot_record,
)
from mltetris_server.storage.checkpoints import Checkpoint
from mltetris_server.storage.places import shown
from mltetris_server.storage.slot_record import SlotRecord

_log = structlog.get_logger(__name__)

DEFAULT_ACTIVE = "starter"
"""The slot that is active where none was activated."""

REFERENCES = Path(__file__).with_name("reference")
"""The reference players, a folder each, as `mltetris_server.learning.reference` makes them."""

_ASIDE = ".old-"
# With a dot, so that it cannot be the name of a slot.
_ACTIVE_FILE = "active.json"


class SlotStore:
    """Keeps slots in the folder ``root`` (``DataDir.slots``). One owner, one thread.

    ``references`` is the folder of slots that are there besides, and cannot be changed or deleted:
    ``REFERENCES``, or None where there are to be none.

    Methods raise InvalidArgument for a name no slot may have, NotFound for one that no slot has,
    DataLoss where a file is damaged, and Unavailable where the disk refuses; a failed call changes
    nothing.
    """

    def __init__(self, root: Path, references: Path | None = None) -> None:
        self._root = root
        self._references = _folders(references) if references is not None else {}
        self._warned: set[str] = set()
        self.on_change: Callable[[Collection[str]], None] = lambda names: None
        """Called after slots of these names may have changed or gone, in the thread that did it; an
        empty name stands for which one is active."""
        with durable.writing(str(root)):
            root.mkdir(parents=True, exist_ok=True)
            self._recover()

    def names(self) -> list[str]:
        """The names of all slots, damaged ones included, in alphabetical order."""
        return sorted(self._all())

    def list_slots(self, order_by: str = "score") -> list[slot_pb2.Slot]:
        """All slots, by "score" (best mean lines first), "name" or "create_time" (newest first).

        A damaged slot is left out, with a warning in the log. Weights are not read.
        """
        order = slot_listing.order(order_by)
        active = self.known_active()
        found = []
        for name, folder in self._all().items():
            try:
                found.append(self._message(name, folder, active))
            except errors.DataLoss as error:
                if name not in self._warned:
                    _log.warning("slot damaged", slot=name, error=str(error))
                    self._warned.add(name)
        return sorted(found, key=order)

    def get(self, name: str) -> slot_pb2.Slot:
        """One slot, every byte of it checked."""
        folder = self._folder(name)
        checkpoints.read(folder)
        return self._message(name, folder, self.known_active())

    def read(self, name: str) -> Checkpoint:
        """The slot's model, every byte of it checked."""
        return checkpoints.read(self._folder(name))

    def save(
        self,
        name: str,
        checkpoint: Checkpoint,
        *,
        notes: str = "",
        tags: Sequence[str] = (),
        source_slot: str = "",
        imported: bool = False,
        overwrite: bool = False,
    ) -> slot_pb2.Slot:
        """Save a model under a name, fingerprint and all.

        ``source_slot`` names the slot it is a copy of. Raises AlreadyExists where the name is
        taken and ``overwrite`` is not given, or where a slot's name differs in case only; a name of
        a reference player is taken whatever ``overwrite`` says.
        """
        names.check_slot_name(name)
        record = SlotRecord.new(notes=notes, tags=tags, source_slot=source_slot, imported=imported)
        self._check_free(name, overwrite=overwrite)
        folder = self._root / name
        with self._changing(name), durable.writing(folder):
            unfinished = durable.temporary_path(folder)
            unfinished.mkdir()
            try:
                durable.write_durably(unfinished / slot_record.FILE_NAME, record.to_bytes())
                checkpoints.write(unfinished, checkpoint)
                self._put(unfinished, folder)
            except BaseException:
                durable.discard(unfinished)
                raise
        self._warned.discard(name)
        return self._message(name, folder, self.known_active())

    def update(
        self,
        name: str,
        *,
        new_name: str | None = None,
        notes: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> slot_pb2.Slot:
        """Change what is given. An active slot stays active under its new name.

        Raises WrongState for a reference player, and AlreadyExists where the new name is taken.
        """
        folder = self._kept_folder(name, "changed. Save a copy under another name, and change that")
        manifest, _ = checkpoints.read_manifest(folder)
        record = replace(slot_record.read(folder, manifest), update_time=datetime.now(UTC))
        if notes is not None:
            record = replace(record, notes=slot_record.check_notes(notes))
        if tags is not None:
            record = replace(record, tags=slot_record.check_tags(tags))
        renamed = new_name is not None and new_name != name
        if renamed:
            assert new_name is not None
            names.check_slot_name(new_name)
            self._check_free(new_name, overwrite=False, but=name)
        changed = (name, new_name or name, "") if renamed else ()
        with self._changing(*changed), durable.writing(folder):
            durable.replace_file(folder / slot_record.FILE_NAME, record.to_bytes())
            if renamed:
                assert new_name is not None
                self._rename(name, new_name)
                name, folder = new_name, self._root / new_name
        return self._message(name, folder, self.known_active())

    def delete(self, name: str, *, force: bool = False) -> None:
        """Remove a slot, damaged or not; the active one only with ``force``, else WrongState.

        A reference player cannot be removed: WrongState, too.
        """
        folder = self._kept_folder(name, "deleted. It takes no room in the data directory")
        was_active = name == self.known_active()
        if was_active and not force:
            raise errors.WrongState(
                f"slot {name} is the active one: activate another first, or delete it with force"
            )
        with self._changing(name, ""), durable.writing(folder):
            self._clear_aside(name)
            durable.remove_folder(folder)
            if was_active:
                # Else the next slot of that name would be active without being asked.
                (self._root / _ACTIVE_FILE).unlink(missing_ok=True)
        self._warned.discard(name)

    def activate(self, name: str) -> slot_pb2.Slot:
        """Make a whole slot the one that is used where none is named."""
        folder = self._folder(name)
        checkpoints.read(folder)
        with self._changing(""), durable.writing(self._root / _ACTIVE_FILE):
            self._write_active([name])
        self._warned.discard(_ACTIVE_FILE)
        return self._message(name, folder, name)

    def active(self) -> str | None:
        """The name of the active slot; "starter" where none was activated; None without slots.

        Raises DataLoss where the file that says it is damaged.
        """
        existing = self._all()
        return next((name for name in self._candidates() if name in existing), None)

    def known_active(self) -> str | None:
        """The name of the active slot; None where there is none, or it is not known which."""
        try:
            return self.active()
        except errors.DataLoss as error:
            if _ACTIVE_FILE not in self._warned:
                _log.warning("active slot unknown", error=str(error))
                self._warned.add(_ACTIVE_FILE)
            return None

    def to_bundle(self, name: str, *, weights_only: bool = False) -> bytes:
        """The slot as one zip; the same slot gives the same bytes.

        ``weights_only`` leaves out what only a training needs (and so changes the fingerprint).
        """
        checkpoint = self.read(name)
        return bundle.pack(checkpoint.weights_only() if weights_only else checkpoint)

    def from_bundle(self, name: str, data: bytes, *, overwrite: bool = False) -> slot_pb2.Slot:
        """Save the model in a bundle under a name; its fingerprint stays what it was.

        Raises InvalidArgument where ``data`` is no bundle, DataLoss where it is a damaged one.
        """
        names.check_slot_name(name)
        self._check_free(name, overwrite=overwrite)
        return self.save(name, bundle.unpack(data), imported=True, overwrite=overwrite)

    @contextlib.contextmanager
    def _changing(self, *names: str) -> Iterator[None]:
        """Tells of a change of these at its end, also where it failed midway."""
        try:
            yield
        finally:
            if names:
                self.on_change(names)

    def _kept(self) -> dict[str, Path]:
        """The folders of the slots in the data directory, which may be changed, by name."""
        return _folders(self._root)

    def _all(self) -> dict[str, Path]:
        """The folders of all slots, by name."""
        return self._references | self._kept()

    def _folder(self, name: str) -> Path:
        """The folder of a slot that exists under exactly this name, also where case is ignored."""
        names.check_slot_name(name)
        folder = self._all().get(name)
        if folder is None:
            raise errors.NotFound(f"there is no slot {name}")
        return folder

    def _kept_folder(self, name: str, refusal: str) -> Path:
        """The folder of a slot that may be changed; WrongState where it is a reference player.

        ``refusal`` says what cannot be done with one, and what can.
        """
        folder = self._folder(name)
        if folder == self._references.get(name):
            raise errors.WrongState(
                f"{name} is a reference player, which comes with mlTetris and cannot be {refusal}"
            )
        return folder

    def _message(self, name: str, folder: Path, active: str | None) -> slot_pb2.Slot:
        manifest, manifest_bytes = checkpoints.read_manifest(folder)
        return slot_record.slot_message(
            name,
            active=name == active,
            reference=folder == self._references.get(name),
            manifest=manifest,
            manifest_bytes=manifest_bytes,
            record=slot_record.read(folder, manifest),
        )

    def _check_free(self, name: str, *, overwrite: bool, but: str | None = None) -> None:
        """Raise AlreadyExists where the name, or one that Windows takes for it, is taken."""
        existing = [other for other in self._kept() if other != but]
        if name in existing and not overwrite:
            raise errors.AlreadyExists(
                f"there is a slot {name} already; choose another name or overwrite it"
            )
        if other := names.same_but_for_case(name, existing):
            raise errors.AlreadyExists(
                f"there is a slot {other} already, and not every system tells it from {name}"
            )
        if name in existing:
            return
        for reference in self._references:
            if reference.lower() == name.lower():
                raise errors.AlreadyExists(
                    f"{reference} is a reference player, which comes with mlTetris and cannot be "
                    "overwritten. Choose another name"
                )

    def _put(self, unfinished: Path, folder: Path) -> None:
        """Put a finished folder in its place; what stood there is kept until it stands."""
        if not os.path.lexists(folder):
            durable.rename(unfinished, folder)
            return
        aside = self._clear_aside(folder.name)
        durable.rename(folder, aside)
        try:
            durable.rename(unfinished, folder)
        except BaseException:
            durable.rename(aside, folder)
            raise
        try:
            durable.remove_folder(aside)
        except OSError as error:
            # The new slot stands; the old one goes when its name is used next, or on opening.
            _log.warning("replaced slot stays for now", slot=folder.name, error=str(error))

    def _clear_aside(self, name: str) -> Path:
        """Where a slot is set aside, with nothing there.

        Also before a slot is deleted or renamed: what is aside would come back in its place.
        """
        aside = self._root / f"{_ASIDE}{name}"
        if os.path.lexists(aside):
            durable.remove_folder(aside)
        return aside

    def _rename(self, name: str, new_name: str) -> None:
        self._clear_aside(name)
        if self.known_active() == name:
            # Before the rename the first of these names no slot, after it the second does not:
            # the slot is active at every instant.
            self._write_active([new_name, name])
            durable.rename(self._root / name, self._root / new_name)
            self._write_active([new_name])
        else:
            durable.rename(self._root / name, self._root / new_name)

    def _candidates(self) -> list[str]:
        """Names for the active slot; the first that is there is it."""
        path = self._root / _ACTIVE_FILE
        if not os.path.lexists(path):
            return [DEFAULT_ACTIVE]
        try:
            candidates = json.loads(checkpoints.read_file(path, 1 << 16))["active"]
        except (ValueError, TypeError, KeyError, RecursionError):
            candidates = None
        if not isinstance(candidates, list) or not all(isinstance(c, str) for c in candidates):
            raise errors.DataLoss(f"{shown(path)} is damaged; activate a slot to write it anew")
        return [*candidates, DEFAULT_ACTIVE]

    def _write_active(self, candidates: Sequence[str]) -> None:
        data = json.dumps({"active": candidates}).encode() + b"\n"
        durable.replace_file(self._root / _ACTIVE_FILE, data)

    def _recover(self) -> None:
        """Finish or take back what a killed process left. Only on opening."""
        for aside in self._root.glob(f"{_ASIDE}*"):
            folder = self._root / aside.name.removeprefix(_ASIDE)
            if folder.exists():
                durable.remove_folder(aside)
            else:
                durable.rename(aside, folder)
                _log.warning("slot restored after an interrupted overwrite", slot=folder.name)
        durable.remove_leftovers(self._root)
        for folder in self._kept().values():
            # A link is listed, so that it can be deleted, but nothing behind it is touched.
            if not folder.is_symlink():
                durable.remove_leftovers(folder)
        self._settle_active()

    def _settle_active(self) -> None:
        """Make the pointer name the active slot alone, or nothing."""
        path = self._root / _ACTIVE_FILE
        if not path.exists():
            return
        try:
            candidates = self._candidates()[:-1]
        except errors.DataLoss as error:
            _log.warning("active slot unknown", error=str(error))
            return
        existing = self._all()
        named = [name for name in candidates if name in existing][:1]
        if not named:
            path.unlink()
        elif named != candidates:
            self._write_active(named)


def _folders(root: Path) -> dict[str, Path]:
    """The folders that may be slots, by name."""
    return {
        path.name: path
        for path in sorted(root.iterdir())
        if names.is_slot_name(path.name) and (path.is_dir() or path.is_symlink())
    }
