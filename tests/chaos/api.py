"""The same calls twice: through the SDK, and through the generated stubs with nothing between."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import grpc
import mltetris_client
from google.protobuf.field_mask_pb2 import FieldMask
from mltetris_api.v1 import run_pb2, slot_pb2, trainer_pb2, trainer_pb2_grpc
from mltetris_client import MlTetrisError
from mltetris_server.storage import bundle
from support.calls import import_requests
from support.server import CHANNEL_OPTIONS

PATIENCE_S = 15.0
UNKNOWN_CODES = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL"})
"""After these the call may have had its effect, or have it yet."""


class Api(Protocol):
    """What a client does."""

    kind: str

    def start(self, request: trainer_pb2.StartRunRequest) -> run_pb2.Run: ...
    def pause(self, run: str) -> run_pb2.Run: ...
    def resume(self, run: str) -> run_pb2.Run: ...
    def stop(self, run: str) -> run_pb2.Run: ...
    def rename(self, run: str, name: str) -> run_pb2.Run: ...
    def speed(self, run: str, rate: float) -> run_pb2.Run: ...
    def get(self, run: str) -> run_pb2.Run: ...
    def delete(self, run: str) -> None: ...
    def save(self, request: trainer_pb2.SaveSlotRequest) -> slot_pb2.Slot: ...
    def update_slot(self, name: str, notes: str, new_name: str | None) -> slot_pb2.Slot: ...
    def delete_slot(self, name: str, force: bool) -> None: ...
    def activate(self, name: str) -> slot_pb2.Slot: ...
    def get_slot(self, name: str) -> slot_pb2.Slot: ...
    def import_slot(self, name: str, data: bytes, overwrite: bool) -> slot_pb2.Slot: ...
    def export_slot(self, name: str) -> str:
        """Returns the model's fingerprint."""
        ...

    def metrics(self, run: str, after: int) -> Any:
        """Batches of points beyond `after`; has `cancel`."""
        ...

    def events(self) -> Any:
        """WatchRunsResponses; has `cancel`."""
        ...

    def boards(self, run: str) -> Any: ...
    def close(self) -> None: ...


class Sdk:
    """Through `mltetris_client`."""

    kind = "sdk"

    def __init__(self, address: str) -> None:
        self.trainer = mltetris_client.connect(address, timeout=PATIENCE_S)
        self.folder = tempfile.TemporaryDirectory()

    def start(self, request: trainer_pb2.StartRunRequest) -> run_pb2.Run:
        policy = request.restart_policy
        spec = request.training if request.HasField("training") else request.demo
        return self.trainer.start_run(
            spec,
            display_name=request.display_name,
            request_id=request.request_id,
            restarts=policy.max_restarts,
            restart_backoff=policy.backoff.ToNanoseconds() / 1e9 if policy.max_restarts else None,
        )

    def pause(self, run: str) -> run_pb2.Run:
        return self.trainer.pause_run(run)

    def resume(self, run: str) -> run_pb2.Run:
        return self.trainer.resume_run(run)

    def stop(self, run: str) -> run_pb2.Run:
        return self.trainer.stop_run(run)

    def rename(self, run: str, name: str) -> run_pb2.Run:
        return self.trainer.update_run(run, display_name=name)

    def speed(self, run: str, rate: float) -> run_pb2.Run:
        return self.trainer.set_speed(run, rate)

    def get(self, run: str) -> run_pb2.Run:
        return self.trainer.get_run(run)

    def delete(self, run: str) -> None:
        self.trainer.delete_run(run)

    def save(self, request: trainer_pb2.SaveSlotRequest) -> slot_pb2.Slot:
        kind = mltetris_client.name_of(run_pb2.CheckpointKind, request.checkpoint.kind) or "best"
        return self.trainer.save_slot(
            request.name,
            run=request.checkpoint.run if request.HasField("checkpoint") else None,
            checkpoint=kind.lower(),  # type: ignore[arg-type]
            slot=request.slot if request.HasField("slot") else None,
            notes=request.notes,
            overwrite=request.overwrite,
        )

    def update_slot(self, name: str, notes: str, new_name: str | None) -> slot_pb2.Slot:
        return self.trainer.update_slot(name, notes=notes, new_name=new_name)

    def delete_slot(self, name: str, force: bool) -> None:
        self.trainer.delete_slot(name, force=force)

    def activate(self, name: str) -> slot_pb2.Slot:
        return self.trainer.activate_slot(name)

    def get_slot(self, name: str) -> slot_pb2.Slot:
        return self.trainer.get_slot(name)

    def import_slot(self, name: str, data: bytes, overwrite: bool) -> slot_pb2.Slot:
        path = Path(self.folder.name) / "import.slot.zip"
        path.write_bytes(data)
        return self.trainer.import_slot(path, name, overwrite=overwrite)

    def export_slot(self, name: str) -> str:
        path = Path(self.folder.name) / "export.slot.zip"
        self.trainer.export_slot(name, path, overwrite=True)
        return bundle.unpack(path.read_bytes()).sha256

    def metrics(self, run: str, after: int) -> Any:
        return self.trainer.stream_metrics(run, after_sequence=after)

    def events(self) -> Any:
        return self.trainer.watch_runs()

    def boards(self, run: str) -> Any:
        return self.trainer.stream_board(run, max_fps=10)

    def close(self) -> None:
        self.trainer.close()
        self.folder.cleanup()


class Raw:
    """Through the stubs."""

    kind = "raw"

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.stub = trainer_pb2_grpc.TrainerServiceStub(self.channel)

    def start(self, request: trainer_pb2.StartRunRequest) -> run_pb2.Run:
        return self.stub.StartRun(request, timeout=PATIENCE_S).run

    def pause(self, run: str) -> run_pb2.Run:
        return self.stub.PauseRun(trainer_pb2.PauseRunRequest(run=run), timeout=PATIENCE_S).run

    def resume(self, run: str) -> run_pb2.Run:
        return self.stub.ResumeRun(trainer_pb2.ResumeRunRequest(run=run), timeout=PATIENCE_S).run

    def stop(self, run: str) -> run_pb2.Run:
        return self.stub.StopRun(trainer_pb2.StopRunRequest(run=run), timeout=PATIENCE_S).run

    def rename(self, run: str, name: str) -> run_pb2.Run:
        request = trainer_pb2.UpdateRunRequest(
            run=run,
            update=trainer_pb2.RunUpdate(display_name=name),
            update_mask=FieldMask(paths=["display_name"]),
        )
        return self.stub.UpdateRun(request, timeout=PATIENCE_S).run

    def speed(self, run: str, rate: float) -> run_pb2.Run:
        request = trainer_pb2.SetSpeedRequest(run=run, placements_per_second=rate)
        return self.stub.SetSpeed(request, timeout=PATIENCE_S).run

    def get(self, run: str) -> run_pb2.Run:
        return self.stub.GetRun(trainer_pb2.GetRunRequest(run=run), timeout=PATIENCE_S).run

    def delete(self, run: str) -> None:
        self.stub.DeleteRun(trainer_pb2.DeleteRunRequest(run=run), timeout=PATIENCE_S)

    def save(self, request: trainer_pb2.SaveSlotRequest) -> slot_pb2.Slot:
        return self.stub.SaveSlot(request, timeout=PATIENCE_S).slot

    def update_slot(self, name: str, notes: str, new_name: str | None) -> slot_pb2.Slot:
        request = trainer_pb2.UpdateSlotRequest(
            name=name,
            update=trainer_pb2.SlotUpdate(notes=notes, name=new_name),
            update_mask=FieldMask(paths=["notes", *(["name"] if new_name else [])]),
        )
        return self.stub.UpdateSlot(request, timeout=PATIENCE_S).slot

    def delete_slot(self, name: str, force: bool) -> None:
        request = trainer_pb2.DeleteSlotRequest(name=name, force=force)
        self.stub.DeleteSlot(request, timeout=PATIENCE_S)

    def activate(self, name: str) -> slot_pb2.Slot:
        request = trainer_pb2.ActivateSlotRequest(name=name)
        return self.stub.ActivateSlot(request, timeout=PATIENCE_S).slot

    def get_slot(self, name: str) -> slot_pb2.Slot:
        return self.stub.GetSlot(trainer_pb2.GetSlotRequest(name=name), timeout=PATIENCE_S).slot

    def import_slot(self, name: str, data: bytes, overwrite: bool) -> slot_pb2.Slot:
        requests = import_requests(name, data, overwrite=overwrite)
        return self.stub.ImportSlot(requests, timeout=PATIENCE_S).slot

    def export_slot(self, name: str) -> str:
        call = self.stub.ExportSlot(trainer_pb2.ExportSlotRequest(name=name), timeout=PATIENCE_S)
        header = next(call).header
        content = b"".join(response.chunk for response in call)
        assert hashlib.sha256(content).hexdigest() == header.sha256
        return bundle.unpack(content).sha256

    def metrics(self, run: str, after: int) -> Any:
        request = trainer_pb2.StreamMetricsRequest(run=run, after_sequence=after)
        return self.stub.StreamMetrics(request)

    def events(self) -> Any:
        return self.stub.WatchRuns(trainer_pb2.WatchRunsRequest())

    def boards(self, run: str) -> Any:
        return self.stub.StreamBoard(trainer_pb2.StreamBoardRequest(run=run, max_fps=10))

    def close(self) -> None:
        self.channel.close()


def failure(error: Exception) -> tuple[str, str]:
    """The code and the words of a failed call.

    Raises the error where it is none of a call.
    """
    if isinstance(error, MlTetrisError) and error.code is not None:
        return error.code.name, str(error)
    if isinstance(error, grpc.RpcError):
        return error.code().name, error.details() or ""  # type: ignore[attr-defined]
    raise error


def batches(stream: Any) -> Iterator[list[run_pb2.MetricPoint]]:
    """The points of a stream of metrics of either kind, as they come."""
    for item in stream:
        yield [item] if isinstance(item, run_pb2.MetricPoint) else list(item.points)
