"""A stranger with `buf curl` and no proto file: reflection is all they need."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.server import ServerProcess

BUF = Path(sys.executable).parent / "buf"
TRAINER = "mltetris.v1.TrainerService"
SYSTEM = "mltetris.v1.SystemService"


class BufCurl:
    """`buf curl` against one server, from a folder without any proto file."""

    def __init__(self, address: str, folder: Path) -> None:
        self._base = f"http://{address}"
        self._folder = folder

    def _command(self, *arguments: str) -> list[str]:
        return [str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self._command(*arguments)
        return subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, check=False
        )

    def list_services(self) -> list[str]:
        result = self.run("--list-services", self._base)
        assert result.returncode == 0, result.stderr
        return result.stdout.split()

    def call(self, method: str, /, **request: Any) -> dict[str, Any]:
        """Calls a unary `Service/Method`."""
        result = self.run("-d", json.dumps(request), f"{self._base}/{method}")
        assert result.returncode == 0, result.stderr
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    def error(self, method: str, /, **request: Any) -> dict[str, Any]:
        """The error of a call that must fail."""
        result = self.run("-d", json.dumps(request), f"{self._base}/{method}")
        assert result.returncode != 0, result.stdout
        error: dict[str, Any] = json.loads(result.stderr)
        return error

    def stream(self, method: str, /, **request: Any) -> Iterator[dict[str, Any]]:
        """The messages of a server-stream; the call ends when the generator is closed."""
        process = subprocess.Popen(
            self._command("-d", json.dumps(request), f"{self._base}/{method}"),
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stderr is not None
        decoder, text = json.JSONDecoder(), ""
        try:
            for line in process.stdout:
                text += line
                try:
                    message, end = decoder.raw_decode(text.lstrip())
                except json.JSONDecodeError:
                    continue
                text = text.lstrip()[end:]
                yield message
            assert process.wait(30) == 0, process.stderr.read()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()


@pytest.fixture
def curl(server: ServerProcess, tmp_path: Path) -> BufCurl:
    return BufCurl(server.address, tmp_path)


def test_reflection_lists_the_services(curl: BufCurl) -> None:
    assert {TRAINER, SYSTEM, "grpc.health.v1.Health"} <= set(curl.list_services())
    assert curl.call("grpc.health.v1.Health/Check")["status"] == "SERVING"
    assert curl.call(f"{SYSTEM}/GetServerInfo")["version"]


def test_a_training_from_start_to_export(curl: BufCurl) -> None:
    run = curl.call(f"{TRAINER}/StartRun", training={"seed": "7"}, requestId="curl-1")["run"]
    again = curl.call(f"{TRAINER}/StartRun", training={"seed": "7"}, requestId="curl-1")["run"]
    assert again["id"] == run["id"]
    assert run["kind"] == "RUN_KIND_TRAINING"

    points: list[dict[str, Any]] = []
    for message in curl.stream(f"{TRAINER}/StreamMetrics", run=run["id"]):
        points += message.get("points", [])
        if any(int(point.get("placements", 0)) > 0 for point in points) and len(points) >= 3:
            break
    assert [int(point["sequence"]) for point in points] == list(range(1, len(points) + 1))

    frames = []
    for message in curl.stream(f"{TRAINER}/StreamBoard", run=run["id"], maxFps=30):
        frames += message["frames"]
        if len(frames) == 3:
            break
    for frame in frames:
        assert len(base64.b64decode(frame["cells"])) == frame["width"] * frame["height"] == 200
        assert frame["active"]["piece"].startswith("PIECE_")

    paused = curl.call(f"{TRAINER}/PauseRun", run=run["id"])["run"]
    assert paused["state"] == "RUN_STATE_PAUSED"
    held = curl.call(f"{TRAINER}/GetRun", run=run["id"])["run"]
    assert held["state"] == "RUN_STATE_PAUSED"
    resumed = curl.call(f"{TRAINER}/ResumeRun", run=run["id"])["run"]
    assert resumed["state"] == "RUN_STATE_RUNNING"
    faster = curl.call(f"{TRAINER}/SetSpeed", run=run["id"], placementsPerSecond=40)["run"]
    assert faster["control"]["placementsPerSecond"] == 40

    checkpoint = {"run": run["id"], "kind": "CHECKPOINT_KIND_LATEST"}
    slot = curl.call(f"{TRAINER}/SaveSlot", name="curl", checkpoint=checkpoint)["slot"]
    assert slot["sourceRun"] == run["id"]

    header: dict[str, Any] = {}
    data = b""
    for message in curl.stream(f"{TRAINER}/ExportSlot", name="curl"):
        header = message.get("header", header)
        data += base64.b64decode(message.get("chunk", ""))
    assert len(data) == int(header["sizeBytes"])
    assert hashlib.sha256(data).hexdigest() == header["sha256"]
    assert "manifest.json" in zipfile.ZipFile(io.BytesIO(data)).namelist()

    stopped = curl.call(f"{TRAINER}/StopRun", run=run["id"])["run"]
    assert stopped["state"] == "RUN_STATE_STOPPED"


def test_errors_name_the_field(curl: BufCurl) -> None:
    budget = {"targetMeanLines": "NaN"}
    error = curl.error(f"{TRAINER}/StartRun", training={"budget": budget})
    assert error["code"] == "invalid_argument"
    assert "training.budget.target_mean_lines" in json.dumps(error)
    assert curl.error(f"{TRAINER}/GetRun", run="train-nobody")["code"] == "not_found"
    error = curl.error(f"{TRAINER}/StartRun", benchmark={})
    assert "benchmark.players" in json.dumps(error)
