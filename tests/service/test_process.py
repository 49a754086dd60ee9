"""The server as a process: what it says, takes and leaves."""

from __future__ import annotations

from mltetris_api.v1 import system_pb2, system_pb2_grpc
from support.server import ServerProcess


def test_says_who_it_is(server: ServerProcess) -> None:
    with server.channel() as channel:
        info = system_pb2_grpc.SystemServiceStub(channel).GetServerInfo(
            system_pb2.GetServerInfoRequest(), timeout=10
        )
    assert info.version
    assert info.data_dir == str(server.data_dir)
    assert info.max_runs >= 1
    assert (info.live_runs, info.queued_runs, info.active_slot) == (0, 0, "")
