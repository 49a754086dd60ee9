"""A client without proto files finds everything out by reflection."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.descriptor_database import DescriptorDatabase
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2 as pb
from support.calls import Client


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_every_service_is_listed_and_described(idle: Client, version: str) -> None:
    method = idle.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=pb.ServerReflectionRequest.SerializeToString,
        response_deserializer=pb.ServerReflectionResponse.FromString,
    )

    def ask(request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        (answer,) = method(iter([request]), timeout=10)
        return answer

    listed = ask(pb.ServerReflectionRequest(list_services=""))
    services = {service.name for service in listed.list_services_response.service}
    assert services == {
        "mltetris.v1.TrainerService",
        "mltetris.v1.PolicyService",
        "mltetris.v1.SystemService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    for service in services:
        answer = ask(pb.ServerReflectionRequest(file_containing_symbol=service))
        database = DescriptorDatabase()
        for raw in answer.file_descriptor_response.file_descriptor_proto:
            database.Add(FileDescriptorProto.FromString(raw))
        assert DescriptorPool(database).FindServiceByName(service).methods


def test_what_is_private_is_not_served_in_public(idle: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        idle.channel.unary_unary("/mltetris.worker.v1.WorkerService/GetCheckpoint")(b"", timeout=5)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
