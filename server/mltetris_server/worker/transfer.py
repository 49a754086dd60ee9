"""Checkpoints on their way between worker and server, in chunks."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import grpc
from mltetris_api.v1.run_pb2 import CheckpointInfo, CheckpointKind, Evaluation, Player
from mltetris_api.worker.v1.worker_pb2 import (
    CheckpointFile,
    CheckpointHeader,
    GetCheckpointRequest,
    PutCheckpointRequest,
)

from mltetris_server.worker.link import Link

_log = logging.getLogger(__name__)

CHUNK_BYTES = 1024 * 1024
"""Bytes of a chunk at most, as the contract has it."""
MOST_BYTES = 2 * 1024**3
"""Bytes of a checkpoint at most: more is a damaged header, not a model."""
CALL_SECONDS = 60.0
"""How long one attempt may take."""
RETRY_SECONDS = 0.2
"""Wait before another attempt."""
MOST_RETRIES = 3
"""Attempts more, while the line to the server holds."""

_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
    }
)
"""Failures that a new attempt may not meet again."""


class TransferError(Exception):
    """The server refused a checkpoint or a dataset, or has none such.

    Args:
        code: the gRPC status code of the answer.
        message: the server's sentence.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it travels."""

    model_json: str
    """What the model is: the `model` part of the manifest, as JSON."""
    files: Mapping[str, bytes]
    """The files' contents by name."""
    placements: int
    """Placements of the run's lineage when it was made."""
    evaluation: Evaluation | None = None
    """The evaluation of its weights, where there is one."""
    sha256: str = ""
    """SHA-256 of its manifest, hex; only of one that came from the server."""


LATEST = CheckpointKind.CHECKPOINT_KIND_LATEST


def header_of(kind: CheckpointKind.ValueType, checkpoint: Checkpoint) -> CheckpointHeader:
    """What goes before the bytes of a checkpoint's files."""
    return CheckpointHeader(
        kind=kind,
        model_json=checkpoint.model_json,
        placements=checkpoint.placements,
        evaluation=checkpoint.evaluation,
        files=[
            CheckpointFile(name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            for name, data in checkpoint.files.items()
        ],
    )


def put_checkpoint(
    link: Link, kind: CheckpointKind.ValueType, checkpoint: Checkpoint
) -> CheckpointInfo:
    """Stores a checkpoint with the server; waits through breaks of the line.

    Raises:
        ServerGone: the server went away for good.
        TransferError: the server does not take it.
    """
    header = header_of(kind, checkpoint)

    def requests() -> Iterator[PutCheckpointRequest]:
        yield PutCheckpointRequest(header=header)
        for data in checkpoint.files.values():
            for start in range(0, len(data), CHUNK_BYTES):
                yield PutCheckpointRequest(chunk=data[start : start + CHUNK_BYTES])

    attempts = Attempts(link)
    while True:
        link.await_attached()
        try:
            response = link.stub.PutCheckpoint(
                requests(), metadata=link.settings.metadata, timeout=CALL_SECONDS
            )
        except grpc.RpcError as error:
            attempts.failed(error)
            continue
        return response.checkpoint


def request_of(player: Player) -> GetCheckpointRequest:
    """What reads a player's model."""
    if player.HasField("slot"):
        return GetCheckpointRequest(slot=player.slot)
    return GetCheckpointRequest(checkpoint=player.checkpoint)


def get_checkpoint(link: Link, request: GetCheckpointRequest) -> Checkpoint:
    """Reads a model from the server; waits through breaks of the line.

    Raises:
        ServerGone: the server went away for good.
        TransferError: the server has no such model, or what came is not what the header says.
    """
    attempts = Attempts(link)
    while True:
        link.await_attached()
        try:
            return _read(link, request)
        except grpc.RpcError as error:
            attempts.failed(error)


def _read(link: Link, request: GetCheckpointRequest) -> Checkpoint:
    header: CheckpointHeader | None = None
    content = bytearray()
    expected = 0
    for response in link.stub.GetCheckpoint(
        request, metadata=link.settings.metadata, timeout=CALL_SECONDS
    ):
        if response.WhichOneof("part") == "header":
            header = response.header
            expected = sum(file.size_bytes for file in header.files)
            if expected > MOST_BYTES:
                raise _damaged(f"it claims to be {expected} bytes long")
        else:
            content += response.chunk
            if len(content) > expected:
                raise _damaged("it is longer than its header says")
    if header is None:
        raise _damaged("it has no header")
    if len(content) != expected:
        raise _damaged(f"{len(content)} bytes came instead of {expected}")
    files: dict[str, bytes] = {}
    start = 0
    for file in header.files:
        data = bytes(content[start : start + file.size_bytes])
        start += file.size_bytes
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise _damaged(f"{file.name} does not have its SHA-256")
        files[file.name] = data
    evaluation = header.evaluation if header.HasField("evaluation") else None
    return Checkpoint(
        header.model_json, files, header.placements, evaluation, header.manifest_sha256
    )


def _damaged(what: str) -> TransferError:
    return TransferError(grpc.StatusCode.DATA_LOSS, f"the checkpoint is damaged: {what}")


class Attempts:
    """Decides whether a failed call is tried again.

    A call that broke with the line is tried on every new line. One that the server
    answers with a passing failure while the line holds (its disk is full, say) is
    tried a few times.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._line = 0
        self._failures = 0

    def failed(self, error: grpc.RpcError) -> None:
        """Waits a moment where another attempt may help; raises TransferError where not."""
        code = error.code()
        # The line is found broken a moment later than the call.
        time.sleep(RETRY_SECONDS)
        if self._link.attachments != self._line or not self._link.attached:
            self._line = self._link.attachments
            self._failures = 0
        self._failures += 1
        if code not in _PASSING or self._failures > MOST_RETRIES:
            raise TransferError(code, error.details() or code.name) from error
        _log.warning("a transfer was cut off, trying again: %s", code.name)
