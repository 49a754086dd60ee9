"""Calls to a server's trainer service, and how they are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from mltetris_api.v1 import run_pb2, trainer_pb2, trainer_pb2_grpc

from support.checkpoints import MODEL
from support.server import ServerProcess

PATIENCE_S = 20.0


@dataclass
class Refusal:
    """How a call was refused: its code, its words and the fields it named."""

    code: grpc.StatusCode
    text: str
    fields: list[str] = field(default_factory=list)


class Client:
    """The trainer service of a server, by method name."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.channel = server.channel()
        self.stub = trainer_pb2_grpc.TrainerServiceStub(self.channel)

    def call(self, method: str, request: Any) -> Any:
        """Answers a call; of a stream of responses, all of them."""
        answer = getattr(self.stub, method)(request, timeout=PATIENCE_S)
        return (
            list(answer)
            if isinstance(answer, grpc.Call) and hasattr(answer, "__next__")
            else answer
        )

    def refusal(self, method: str, request: Any) -> Refusal:
        """How the call is refused."""
        with pytest.raises(grpc.RpcError) as caught:
            self.call(method, request)
        error = caught.value
        refusal = Refusal(error.code(), error.details())  # type: ignore[attr-defined]
        status = rpc_status.from_call(error)
        for detail in status.details if status is not None else ():
            bad = error_details_pb2.BadRequest()
            if detail.Unpack(bad):
                refusal.fields += [violation.field for violation in bad.field_violations]
        return refusal


def import_requests(
    name: str, data: bytes, *, overwrite: bool = False, **changes: Any
) -> Iterator[trainer_pb2.ImportSlotRequest]:
    """What ImportSlot is sent for a bundle."""
    header = {
        "name": name,
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "overwrite": overwrite,
    }
    yield trainer_pb2.ImportSlotRequest(header=trainer_pb2.ImportHeader(**(header | changes)))
    for start in range(0, len(data), 65536):
        yield trainer_pb2.ImportSlotRequest(chunk=data[start : start + 65536])


def simple_model(width: int) -> dict[str, Any]:
    """The model of an agent that sees every column of a board so wide."""
    game = {"width": width, "height": 20, "rule": "gymnasium", "randomizer": "bag7"}
    return {**MODEL, "features": "simple", "game": game}


def training(**fields: Any) -> trainer_pb2.StartRunRequest:
    """A request for a training."""
    return trainer_pb2.StartRunRequest(training=run_pb2.TrainingSpec(**fields))


def demo(**fields: Any) -> trainer_pb2.StartRunRequest:
    """A request for a demo."""
    return trainer_pb2.StartRunRequest(demo=run_pb2.DemoSpec(**fields))
