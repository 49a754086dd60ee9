"""A server for one worker: the real wire, and a test in the place of the rest of the server."""

from __future__ import annotations

import hashlib
import queue
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from contextlib import suppress
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration
from mltetris_api.v1.dataset_pb2 import Dataset, DatasetFile
from mltetris_api.v1.run_pb2 import (
    CheckpointInfo,
    CheckpointKind,
    DemoSpec,
    RunControl,
    RunMode,
    RunView,
    TrainingSpec,
)
from mltetris_api.worker.v1.worker_pb2 import (
    Ack,
    AttachRequest,
    AttachResponse,
    CheckpointFile,
    CheckpointHeader,
    GetCheckpointRequest,
    GetCheckpointResponse,
    GetTrajectoriesRequest,
    GetTrajectoriesResponse,
    PutCheckpointRequest,
    PutCheckpointResponse,
    PutDatasetRequest,
    PutDatasetResponse,
    Watch,
    Welcome,
)
from mltetris_api.worker.v1.worker_pb2_grpc import (
    WorkerServiceServicer,
    add_WorkerServiceServicer_to_server,
)

SECRET = "a secret of this test"
RUN = "train-test01"
PATIENCE = 60.0
"""How long a condition may take to come true: far longer than it ever does."""


class StoredCheckpoint:
    """A checkpoint as a worker put it."""

    def __init__(self, header: CheckpointHeader, content: bytes) -> None:
        self.header = header
        self.files: dict[str, bytes] = {}
        start = 0
        for file in header.files:
            data = content[start : start + file.size_bytes]
            start += file.size_bytes
            assert hashlib.sha256(data).hexdigest() == file.sha256
            self.files[file.name] = data
        assert start == len(content)


class FakeServer(WorkerServiceServicer):
    """Records everything a worker says, in order, and says what the test tells it to.

    It can be stopped and started again on the same address, keeping its
    memory, like a server that was restarted.
    """

    def __init__(
        self,
        address: str,
        *,
        training: TrainingSpec | None = None,
        demo: DemoSpec | None = None,
        grace: float = 30.0,
    ) -> None:
        self.welcome = Welcome(
            training=training,
            demo=demo,
            control=RunControl(
                mode=RunMode.RUN_MODE_VISUAL,
                view=RunView.RUN_VIEW_SHOWCASE,
                placements_per_second=8,
            ),
            watch=Watch(),
            grace=Duration(nanos=int(grace % 1 * 1e9), seconds=int(grace)),
        )
        self.acknowledging = True
        self.refusal: grpc.StatusCode | None = None
        self.refused = 0
        self.slots: dict[str, StoredCheckpoint] = {}
        self.changed = threading.Condition()
        self.received: list[AttachRequest] = []
        self.checkpoints: list[StoredCheckpoint] = []
        self.trajectories = b""
        self.trajectory_faults: list[str] = []
        self.trajectory_calls = 0
        self.datasets: list[tuple[Dataset, bytes]] = []
        self.puts = 0
        self.put_refusal: grpc.StatusCode | None = None
        self.conversations = 0
        self._stored = 0
        self._commands = 0
        self._outgoing: queue.Queue[AttachResponse | None] = queue.Queue()
        self._server: grpc.Server | None = None
        self.address = address

    def start(self) -> FakeServer:
        """Serves; a port 0 becomes a free port once and stays it."""
        server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=8),
            options=(("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 1)),
        )
        add_WorkerServiceServicer_to_server(self, server)
        port = server.add_insecure_port(self.address)
        if self.address.endswith(":0"):
            self.address = f"127.0.0.1:{port}"
        server.start()
        self._server = server
        return self

    def stop(self) -> None:
        """Is gone, at once."""
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._server = None
        self._outgoing.put(None)

    def break_line(self) -> None:
        """Ends the conversation; the server stays."""
        self._outgoing.put(None)

    # What the test says.

    def say(self, response: AttachResponse) -> int:
        """Sends something; a command gets the next number, which is returned."""
        if response.WhichOneof("message") not in ("watch", "ack"):
            self._commands += 1
            response.command = self._commands
        self._outgoing.put(response)
        return response.command

    # What the worker says.

    def wait_for(self, condition: Callable[[], bool], what: str = "") -> None:
        """Waits until a condition over what was received holds."""
        with self.changed:
            # After its last word a worker says nothing that could still make it true.
            self.changed.wait_for(lambda: condition() or bool(self.events("finished")), PATIENCE)
            met = condition()
        assert met, f"never came: {what or condition}; received {self.kinds()}"

    def events(self, kind: str) -> list[AttachRequest]:
        """Everything of one kind, in order of arrival."""
        return [event for event in list(self.received) if event.WhichOneof("event") == kind]

    def kinds(self) -> list[str]:
        """What came, in short."""
        return [str(event.WhichOneof("event")) for event in list(self.received)][-40:]

    def await_events(self, kind: str, count: int = 1) -> list[AttachRequest]:
        """Waits until this many of one kind have come."""
        self.wait_for(lambda: len(self.events(kind)) >= count, f"{count} x {kind}")
        return self.events(kind)

    def await_answer(self, command: int) -> AttachRequest:
        """Waits for the StateReport that answers a command."""

        def answers() -> list[AttachRequest]:
            return [e for e in self.events("state") if e.state.command == command]

        self.wait_for(lambda: bool(answers()), f"the answer to command {command}")
        return answers()[0]

    # The service.

    def Attach(
        self, request_iterator: Iterator[AttachRequest], context: grpc.ServicerContext
    ) -> Iterator[AttachResponse]:
        metadata = dict(context.invocation_metadata())
        assert metadata["mltetris-run"] == RUN
        assert metadata["mltetris-secret"] == SECRET
        if self.refusal is not None:
            self.refused += 1
            context.abort(self.refusal, "not you")
        hello = next(request_iterator)
        assert hello.WhichOneof("event") == "hello"
        outgoing: queue.Queue[AttachResponse | None] = queue.Queue()
        with self.changed:
            self._outgoing = outgoing
            self.conversations += 1
            self.received.append(hello)
            self.welcome.acknowledged = self._stored if self.acknowledging else 0
            self.changed.notify_all()
        yield AttachResponse(welcome=self.welcome)
        reader = threading.Thread(target=self._read, args=(request_iterator, outgoing), daemon=True)
        reader.start()
        context.add_callback(lambda: outgoing.put(None))
        while (response := outgoing.get()) is not None:
            yield response

    def _read(
        self,
        requests: Iterator[AttachRequest],
        outgoing: queue.Queue[AttachResponse | None],
    ) -> None:
        with suppress(grpc.RpcError, Exception):
            for event in requests:
                with self.changed:
                    self.received.append(event)
                    if event.sequence and self.acknowledging:
                        self._stored = max(self._stored, event.sequence)
                        outgoing.put(AttachResponse(ack=Ack(sequence=self._stored)))
                    self.changed.notify_all()
        outgoing.put(None)

    def PutCheckpoint(
        self, request_iterator: Iterator[PutCheckpointRequest], context: grpc.ServicerContext
    ) -> PutCheckpointResponse:
        header = next(request_iterator).header
        content = b"".join(part.chunk for part in request_iterator)
        self.puts += 1
        if self.put_refusal is not None:
            context.abort(self.put_refusal, "the disk is full")
        stored = StoredCheckpoint(header, content)
        with self.changed:
            self.checkpoints.append(stored)
            self.changed.notify_all()
        return PutCheckpointResponse(
            checkpoint=CheckpointInfo(
                kind=header.kind, placements=header.placements, size_bytes=len(content)
            )
        )

    def PutDataset(
        self, request_iterator: Iterator[PutDatasetRequest], context: grpc.ServicerContext
    ) -> PutDatasetResponse:
        header = next(request_iterator).header
        content = b"".join(part.chunk for part in request_iterator)
        self.puts += 1
        if self.put_refusal is not None:
            context.abort(self.put_refusal, "the disk is full")
        with self.changed:
            self.datasets.append((header, content))
            self.changed.notify_all()
        return PutDatasetResponse(dataset=header)

    def GetTrajectories(
        self, request: GetTrajectoriesRequest, context: grpc.ServicerContext
    ) -> Iterator[GetTrajectoriesResponse]:
        """The trajectories; `trajectory_faults` tell how the first calls go wrong."""
        self.trajectory_calls += 1
        fault = self.trajectory_faults.pop(0) if self.trajectory_faults else ""
        content = self.trajectories
        if not content:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such dataset")
        file = DatasetFile(
            name="trajectories.safetensors",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        if fault != "no header":
            yield GetTrajectoriesResponse(header=Dataset(name="games", files=[file]))
        if fault == "flipped":
            content = content[:-1] + bytes([content[-1] ^ 1])
        elif fault == "longer":
            content += b"0"
        elif fault == "shorter":
            content = content[:-1]
        for start in range(0, len(content), 1000):
            yield GetTrajectoriesResponse(chunk=content[start : start + 1000])
            if fault == "broken" and start:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    def GetCheckpoint(
        self, request: GetCheckpointRequest, context: grpc.ServicerContext
    ) -> Iterator[GetCheckpointResponse]:
        stored = self.slots.get(request.slot)
        if stored is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no slot {request.slot!r}")
        yield GetCheckpointResponse(header=stored.header)
        for data in stored.files.values():
            for start in range(0, len(data), 1024 * 1024):
                yield GetCheckpointResponse(chunk=data[start : start + 1024 * 1024])

    def of_kind(self, kind: CheckpointKind.ValueType) -> list[StoredCheckpoint]:
        """The checkpoints of one kind, in order of arrival."""
        return [stored for stored in list(self.checkpoints) if stored.header.kind == kind]

    def keep_slot(self, name: str, model_json: str, files: Mapping[str, bytes]) -> None:
        """Puts a slot there for the worker to read."""
        header = CheckpointHeader(
            kind=CheckpointKind.CHECKPOINT_KIND_BEST,
            model_json=model_json,
            files=[
                CheckpointFile(name=n, size_bytes=len(d), sha256=hashlib.sha256(d).hexdigest())
                for n, d in files.items()
            ],
        )
        self.slots[name] = StoredCheckpoint(header, b"".join(files.values()))


def address(folder: Path) -> str:
    """An address to serve at: a Unix socket where there are any and the path is short enough."""
    path = folder / "s"
    if hasattr(socket, "AF_UNIX") and len(str(path)) <= 100:
        return f"unix:{path}"
    return "127.0.0.1:0"


def sequences(events: Iterable[AttachRequest]) -> list[int]:
    """The numbers of the numbered ones."""
    return [event.sequence for event in events if event.sequence]
