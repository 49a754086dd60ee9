"""The files of runs: their checkpoints and their workers' logs, ``runs/ID/`` each.

``runs/ID/best/000003/`` is the third version of the run's best checkpoint. A version is a folder of
its own that nothing is ever written over: it counts from the moment its manifest stands, the newest
whole one is the checkpoint, and the one before it is kept in case the newest is damaged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_api.v1 import run_pb2

from mltetris_server import errors
from mltetris_server.storage import checkpoints, durable, names, spool
from mltetris_server.storage import manifest as manifests
from mltetris_server.storage.checkpoints import Checkpoint
from mltetris_server.storage.manifest import Json

_log = structlog.get_logger(__name__)

_FOLDERS = {
    run_pb2.CHECKPOINT_KIND_BEST: "best",
    run_pb2.CHECKPOINT_KIND_LATEST: "latest",
    run_pb2.CHECKPOINT_KIND_FINAL: "final",
}
_VERSION = re.compile(r"[0-9]{6,12}")
_KEPT_VERSIONS = 2


class RunStore:
    """Keeps the files of runs in the folder ``root`` (``DataDir.runs``). One owner, one thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        with durable.writing(str(root)):
            root.mkdir(parents=True, exist_ok=True)
            durable.remove_leftovers(root)

    def folder(self, run_id: str) -> Path:
        """The run's folder; made on first use by ``log_path`` and ``write``.

        Raises DataLoss where a link stands there.
        """
        folder = self._root / names.check_run_id(run_id)
        checkpoints.refuse_link(folder)
        return folder

    def _kind(self, run_id: str, kind: run_pb2.CheckpointKind.ValueType) -> Path:
        """The folder of the versions of a checkpoint. Raises DataLoss where a link stands there."""
        folder = self.folder(run_id) / _FOLDERS[kind]
        checkpoints.refuse_link(folder)
        return folder

    def log_path(self, run_id: str) -> Path:
        """Where the worker's output goes; the folder is there when this returns."""
        folder = self.folder(run_id)
        with durable.writing(folder):
            folder.mkdir(exist_ok=True)
        return folder / "worker.log"

    def write(
        self,
        run_id: str,
        kind: run_pb2.CheckpointKind.ValueType,
        *,
        model: Mapping[str, Json] | str,
        files: Mapping[str, bytes],
        placements: int,
        evaluation: run_pb2.Evaluation | None = None,
        command: str | None = None,
    ) -> run_pb2.CheckpointInfo:
        """Store a checkpoint in the place of the run's last one of that kind.

        It is whole or absent whenever the process dies, and the one before stays readable. The
        arguments are those of ``Checkpoint.create``. Raises InvalidArgument and Unavailable.
        """
        checkpoint = Checkpoint.create(
            model=model,
            files=files,
            placements=placements,
            evaluation=evaluation,
            source=run_pb2.RunCheckpoint(run=run_id, kind=_default(kind)),
            command=command,
        )
        return self._write(run_id, _default(kind), checkpoint)

    def _write(
        self, run_id: str, kind: run_pb2.CheckpointKind.ValueType, checkpoint: Checkpoint
    ) -> run_pb2.CheckpointInfo:
        parent = self._kind(run_id, kind)
        with durable.writing(parent):
            existing = _versions(parent)
            number = int(existing[-1].name) + 1 if existing else 1
            folder = parent / f"{number:06d}"
            folder.mkdir(parents=True)
            try:
                checkpoints.write(folder, checkpoint)
                # All of them each time: a write before may have been cut off in between.
                for above in (parent, parent.parent, self._root):
                    durable.sync_folder(above)
            except BaseException:
                _remove(folder)
                raise
        _prune(parent)
        return _info(kind, checkpoint)

    def read(self, run_id: str, kind: run_pb2.CheckpointKind.ValueType) -> Checkpoint:
        """The run's checkpoint, every byte checked; BEST where ``kind`` is UNSPECIFIED.

        A damaged one is passed over for the one before it, with a warning in the log. Raises
        DataLoss where there are only damaged ones, NotFound where there is none.
        """
        kind = _default(kind)
        damage: errors.DataLoss | None = None
        for folder in reversed(_complete(self._kind(run_id, kind))):
            try:
                return checkpoints.read(folder)
            except errors.DataLoss as error:
                _log.warning("checkpoint damaged", run=run_id, error=str(error))
                damage = damage or error
        raise damage or _none(run_id, kind)

    def take_spooled(self, run_id: str, *, command: str) -> run_pb2.CheckpointInfo | None:
        """Store what a worker left when its server was gone, as ``latest``; None: it left nothing.

        What is damaged, or no farther than ``latest`` is, is removed. Raises Unavailable.
        """
        folder = self.folder(run_id)
        try:
            found = spool.read(folder)
        except errors.DataLoss as error:
            _log.warning("a spooled checkpoint is damaged", run=run_id, error=str(error))
            found = None
        info = None
        if found is not None:
            header = found.header
            latest = run_pb2.CHECKPOINT_KIND_LATEST
            stored = [known for known in self.info(run_id) if known.kind == latest]
            if not stored or stored[0].placements < header.placements:
                file_names = [file.name for file in header.files]
                info = self.write(
                    run_id,
                    latest,
                    model=header.model_json,
                    files=dict(zip(file_names, found.files, strict=True)),
                    placements=header.placements,
                    evaluation=header.evaluation if header.HasField("evaluation") else None,
                    command=command,
                )
        spool.remove(folder)
        return info

    def whole(self, run_id: str) -> list[run_pb2.CheckpointInfo]:
        """The checkpoints that ``read`` would return, BEST first."""
        found = []
        for kind in _FOLDERS:
            try:
                found.append(_info(kind, self.read(run_id, kind)))
            except (errors.NotFound, errors.DataLoss):
                # A damaged one is in the log by now.
                continue
        return found

    def info(self, run_id: str) -> list[run_pb2.CheckpointInfo]:
        """The checkpoints there are, BEST first; what their manifests say, weights unread."""
        found = []
        for kind in _FOLDERS:
            try:
                versions = _complete(self._kind(run_id, kind))
            except errors.DataLoss as error:
                _log.warning("checkpoint damaged", run=run_id, error=str(error))
                continue
            for folder in reversed(versions):
                try:
                    manifest, data = checkpoints.read_manifest(folder)
                except errors.DataLoss as error:
                    _log.warning("checkpoint damaged", run=run_id, error=str(error))
                    continue
                found.append(_info(kind, Checkpoint(manifest, data, {})))
                break
        return found

    def recover(self, run_ids: Iterable[str]) -> None:
        """Remove what writes left that were killed. For runs that nobody is writing now."""
        for run_id in run_ids:
            for kind in _FOLDERS:
                try:
                    _prune(self._kind(run_id, kind))
                except errors.DataLoss as error:
                    _log.warning("not tidied up", run=run_id, error=str(error))

    def delete(self, run_id: str) -> None:
        """Remove everything of the run; nothing happens where there is nothing."""
        folder = self._root / names.check_run_id(run_id)
        if os.path.lexists(folder):
            with durable.writing(folder):
                durable.remove_folder(folder)


def _default(kind: run_pb2.CheckpointKind.ValueType) -> run_pb2.CheckpointKind.ValueType:
    return kind or run_pb2.CHECKPOINT_KIND_BEST


def _versions(parent: Path) -> list[Path]:
    """Every version's folder, oldest first, the unfinished ones included."""
    if not parent.is_dir():
        return []
    found = [path for path in parent.iterdir() if _VERSION.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name))


def _complete(parent: Path) -> list[Path]:
    return [folder for folder in _versions(parent) if checkpoints.is_complete(folder)]


def _prune(parent: Path) -> None:
    """Remove unfinished versions, and all whole ones but the newest two."""
    kept = _complete(parent)[-_KEPT_VERSIONS:]
    for folder in _versions(parent):
        if folder not in kept:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a version: the manifest first, so that no half of it ever counts."""
    if not folder.is_symlink() and checkpoints.is_complete(folder):
        durable.discard(folder / manifests.FILE_NAME)
    durable.discard(folder)


def _info(kind: run_pb2.CheckpointKind.ValueType, checkpoint: Checkpoint) -> run_pb2.CheckpointInfo:
    manifest = checkpoint.manifest
    time = Timestamp()
    time.FromDatetime(manifest.create_time)
    return run_pb2.CheckpointInfo(
        kind=kind,
        placements=manifest.placements,
        evaluation=manifest.evaluation,
        create_time=time,
        size_bytes=checkpoint.size_bytes,
    )


def _none(run_id: str, kind: run_pb2.CheckpointKind.ValueType) -> errors.NotFound:
    return errors.NotFound(
        f"run {run_id} has no {_FOLDERS[kind]} checkpoint; "
        "`best` comes with the first evaluation, `latest` after a while, `final` at the end"
    )
