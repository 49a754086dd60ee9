"""Server reflection, so that `buf curl` and `grpcurl` need no proto files.

grpcio-reflection serves `grpc.reflection.v1alpha`; newer tools ask for `v1` first. Both have the
same messages on the wire, so one servicer answers both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import _async as reflection
from grpc_reflection.v1alpha import reflection_pb2

from mltetris_server.service.handlers import Binder

V1ALPHA: Final = "grpc.reflection.v1alpha.ServerReflection"
V1: Final = "grpc.reflection.v1.ServerReflection"


def add_reflection(server: grpc.aio.Server, binder: Binder, services: Sequence[str]) -> None:
    """Lets `server` describe `services` (full names) and reflection itself, in both versions."""
    _describe_v1()
    servicer = reflection.ReflectionServicer([*services, V1ALPHA, V1])
    service = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
    for name in (V1ALPHA, V1):
        binder.register(server, service, servicer, name=name)


def _describe_v1() -> None:
    """Adds v1's descriptors to the pool: v1alpha's under their final name."""
    pool = descriptor_pool.Default()
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    text = text_format.MessageToString(file).replace("v1alpha", "v1")
    # Adding the same file again is allowed.
    pool.AddSerializedFile(
        text_format.Parse(text, descriptor_pb2.FileDescriptorProto()).SerializeToString()
    )
