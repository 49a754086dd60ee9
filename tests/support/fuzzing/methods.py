"""Every method that the public port serves, and calling one with bytes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import grpc
import mltetris_api.v1
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

PATIENCE_S: Final = 60.0
"""After which a call that is to end hangs."""
WATCHED_S: Final = 0.1
"""How long a stream of responses is watched."""
_MOST_RESPONSES: Final = 50


@dataclass(frozen=True)
class Method:
    """A method by its path, and what the contract says of it."""

    path: str
    contract: MethodDescriptor

    def __str__(self) -> str:
        return self.path.rpartition("/")[2] + (
            ".v1" if self.path.startswith("/grpc.refl") and "alpha" not in self.path else ""
        )


@dataclass
class Answer:
    """How a call ended, and what it said on the way."""

    code: grpc.StatusCode
    text: str = ""
    status: status_pb2.Status = field(default_factory=status_pb2.Status)
    responses: list[Message] = field(default_factory=list)

    @property
    def fields(self) -> list[str]:
        """The fields that the error names."""
        named = []
        for detail in self.status.details:
            bad = error_details_pb2.BadRequest()
            if detail.Unpack(bad):
                named += [violation.field for violation in bad.field_violations]
        return named


def public_methods() -> list[Method]:
    """The methods of every service in the contract for clients, and of what gRPC brings."""
    files = [health_pb2, reflection_pb2]
    for module in pkgutil.iter_modules(mltetris_api.v1.__path__, "mltetris_api.v1."):
        if module.name.endswith("_pb2"):
            files.append(importlib.import_module(module.name))
    found = []
    for file in files:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found.append(Method(f"/{service.full_name}/{method.name}", method))
                if "v1alpha" in service.full_name:
                    name = service.full_name.replace("v1alpha", "v1")
                    found.append(Method(f"/{name}/{method.name}", method))
    return sorted(found, key=lambda method: method.path)


def ask(
    channel: grpc.Channel,
    method: Method,
    raws: Sequence[bytes],
    metadata: Sequence[tuple[str, str]] = (),
    *,
    watched_s: float = WATCHED_S,
) -> Answer:
    """Calls `method` with messages that are bytes already.

    A stream of responses is watched for `watched_s` and then cancelled: one that is still open has
    the code CANCELLED.
    """
    contract = method.contract
    kind = GetMessageClass(contract.output_type)
    respond = kind.FromString
    given = iter(raws) if contract.client_streaming else raws[0]
    answer = Answer(grpc.StatusCode.OK)
    try:
        if contract.server_streaming:
            make = channel.stream_stream if contract.client_streaming else channel.unary_stream
            call = make(method.path, None, respond)(given, metadata=metadata, timeout=watched_s)
            for response in _some(call):
                answer.responses.append(response)
            if len(answer.responses) >= _MOST_RESPONSES:
                call.cancel()
                answer.code = grpc.StatusCode.CANCELLED
        else:
            make = channel.stream_unary if contract.client_streaming else channel.unary_unary
            call = make(method.path, None, respond)
            answer.responses.append(call(given, metadata=metadata, timeout=PATIENCE_S))
    except grpc.RpcError as error:
        answer.code, answer.text = error.code(), error.details() or ""
        if contract.server_streaming and answer.code == grpc.StatusCode.DEADLINE_EXCEEDED:
            answer.code = grpc.StatusCode.CANCELLED
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                answer.status.ParseFromString(value)
    return answer


def _some(call: Iterator[Message]) -> Iterator[Message]:
    for number, response in enumerate(call, start=1):
        yield response
        if number == _MOST_RESPONSES:
            return
