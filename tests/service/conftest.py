"""Fixtures for the services: a server with a few slots, and a client that says what went wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mltetris_api.v1 import trainer_pb2
from mltetris_server.storage import bundle
from support.calls import Client, import_requests, simple_model
from support.checkpoints import a_checkpoint
from support.server import ServerProcess


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that has the slots `good` and `narrow` (8 wide, simple features) and no runs."""
    with ServerProcess(tmp_path_factory.mktemp("idle") / "data") as server:
        client = Client(server)
        good = bundle.pack(a_checkpoint(1000))
        narrow = bundle.pack(a_checkpoint(2000, model=simple_model(8), mean_lines=None))
        client.stub.ImportSlot(import_requests("good", good))
        client.stub.ImportSlot(import_requests("narrow", narrow))
        yield client
        assert not client.stub.ListRuns(trainer_pb2.ListRunsRequest()).runs
        slots = client.stub.ListSlots(trainer_pb2.ListSlotsRequest()).slots
        assert {slot.name for slot in slots if not slot.reference} == {"good", "narrow"}
        client.channel.close()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    """A client of a server of its own."""
    made = Client(server)
    yield made
    made.channel.close()
