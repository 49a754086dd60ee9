"""The server as a process: what it says, takes, leaves and costs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mltetris_api.v1 import system_pb2, system_pb2_grpc
from support.server import ServerProcess

SERVE = (sys.executable, "-m", "mltetris_server.service")


def info(server: ServerProcess) -> system_pb2.GetServerInfoResponse:
    with server.channel() as channel:
        return system_pb2_grpc.SystemServiceStub(channel).GetServerInfo(
            system_pb2.GetServerInfoRequest(), timeout=10
        )


def refused(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Starts a server that should not start."""
    return subprocess.run([*SERVE, *arguments], capture_output=True, text=True, timeout=30)


def test_says_who_it_is(server: ServerProcess) -> None:
    answer = info(server)
    assert answer.version
    assert answer.data_dir == str(server.data_dir)
    assert answer.max_runs >= 1
    assert (answer.live_runs, answer.queued_runs, answer.active_slot) == (0, 0, "")
    assert answer.python_version and answer.platform


def test_costs_little_when_idle(server: ServerProcess) -> None:
    info(server)
    assert server.process is not None
    assert psutil.Process(server.process.pid).memory_info().rss < 120e6


def test_needs_none_of_what_workers_need() -> None:
    code = (
        "import json, sys, mltetris_server.service.__main__;"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "numba", "numpy", "gymnasium", "stable_baselines3", "pygame"}
    assert not heavy & set(json.loads(out.stdout))


def test_says_only_one_line_on_standard_output(server: ServerProcess) -> None:
    assert server.process is not None and server.process.stdout is not None
    out = server.process.stdout
    rest: list[str] = []
    reader = threading.Thread(target=lambda: rest.append(out.read()))
    reader.start()
    info(server)
    server.process.terminate()
    reader.join(20)
    assert rest == [""]
    log = [json.loads(line) for line in server.log().splitlines()]
    assert {"ready", "ending", "ended"} <= {line["event"] for line in log}


def test_a_port_that_is_taken(server: ServerProcess, tmp_path: Path) -> None:
    out = refused("--listen", server.address, "--data-dir", str(tmp_path / "other"))
    assert out.returncode == 1
    assert out.stdout == ""
    (line,) = out.stderr.splitlines()
    assert line.startswith("error: ") and server.address in line and "--listen" in line


def test_a_data_directory_in_use(server: ServerProcess) -> None:
    out = refused("--listen", "127.0.0.1:0", "--data-dir", str(server.data_dir))
    assert out.returncode == 1
    (line,) = out.stderr.splitlines()
    assert server.process is not None
    assert line.startswith("error: ") and str(server.process.pid) in line and "--data-dir" in line
    assert info(server).version, "the owner serves on"


def test_a_data_directory_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    out = refused("--listen", "127.0.0.1:0", "--data-dir", str(file))
    assert out.returncode == 1
    (line,) = out.stderr.splitlines()
    assert line.startswith("error: ") and str(file) in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen", "50051"],
        ["--listen", ":70000"],
        ["--listen", "localhost:70000"],
        ["--max-runs", "0"],
        ["--max-runs", "many"],
        ["--grace", "nan"],
        ["--grace", "-1"],
        ["--log-format", "xml"],
        ["--nonsense"],
    ],
)
def test_usage_errors(arguments: list[str]) -> None:
    out = refused(*arguments)
    assert out.returncode == 2
    assert out.stderr.splitlines()[-1].startswith("python -m mltetris_server.service: error: ")


def test_health_turns_before_it_ends(server: ServerProcess) -> None:
    with server.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "mltetris.v1.TrainerService", "mltetris.v1.SystemService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="mltetris.v1.TrainerService"))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert server.process is not None
        server.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError):
            next(watch)
        assert server.process.wait(20) == 0


def test_an_address_of_every_family(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    server = ServerProcess(tmp_path / "data")
    server.address = "[::1]:0"
    try:
        server.start()
        assert info(server).version
    except RuntimeError as error:
        if "cannot listen" in str(error):
            pytest.skip("no IPv6 here")
        raise
    finally:
        server.close()


@pytest.mark.parametrize(
    ("address", "why"),
    [("nosuchhost.invalid:0", "no host"), ("192.0.2.1:50051", "no such address")],
)
def test_an_address_that_is_not_of_this_machine(tmp_path: Path, address: str, why: str) -> None:
    out = refused("--listen", address, "--insecure", "--data-dir", str(tmp_path / "data"))
    assert out.returncode == 1
    (line,) = out.stderr.splitlines()
    assert line.startswith(f"error: cannot listen on {address}: ") and why in line
