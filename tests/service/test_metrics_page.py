"""The page for Prometheus, read as Prometheus reads it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import mltetris_client
import pytest
from mltetris_api.v1.system_pb2 import GpuMetrics, SystemMetrics
from mltetris_server.service.measuring.figures import of_machine
from prometheus_client.parser import text_string_to_metric_families
from support.server import ServerProcess
from support.small import eventually, in_state, small_service

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(url: str) -> Figures:
    with urllib.request.urlopen(url, timeout=30) as response:
        text = response.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def figure(figures: Figures, name: str, **labels: str) -> float:
    return figures[name, frozenset(labels.items())]


def metrics_url(server: ServerProcess) -> str:
    """Where the page is, once the log says so: it is read by a thread of its own."""

    def said() -> str:
        # What comes after the last end of a line is half a line.
        for line in server.log().split("\n")[:-1]:
            event = json.loads(line)
            if event["event"] == "metrics":
                return str(event["url"])
        return ""

    return eventually(said, "the page's address")


def test_the_page_has_the_services_figures(tmp_path: Path) -> None:
    with (
        small_service(tmp_path / "data", "--metrics-listen", "127.0.0.1:0") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        url = metrics_url(server)
        before = scrape(url)
        assert figure(before, "mltetris_server_info", version="0.1.0") == 1
        run = trainer.start_training(seed=1)
        in_state(trainer, run.id, "running")
        with pytest.raises(mltetris_client.NotFound):
            trainer.get_run("train-nobody")
        with trainer.stream_metrics(run.id) as points:
            reading = iter(points)
            next(reading)
            during = scrape(url)
            assert figure(during, "mltetris_open_streams") == 1
        names = {"service": "mltetris.v1.TrainerService", "method": "StartRun"}
        assert figure(during, "mltetris_rpc_calls_total", **names, code="OK") == 1
        assert figure(during, "mltetris_rpc_duration_seconds_count", **names) == 1
        assert 0 < figure(during, "mltetris_rpc_duration_seconds_sum", **names) < 60
        names["method"] = "GetRun"
        assert figure(during, "mltetris_rpc_calls_total", **names, code="NOT_FOUND") == 1
        assert figure(during, "mltetris_process_memory_bytes", role="server", run="") > 1e6
        assert figure(during, "mltetris_process_memory_bytes", role="worker", run=run.id) > 1e6
        assert figure(during, "mltetris_process_cpu_ratio", role="server", run="") >= 0
        assert 0 <= figure(during, "mltetris_machine_cpu_ratio", core="0") <= 1
        assert figure(during, "mltetris_machine_memory_bytes") > 1e8
        assert figure(during, "mltetris_runs", kind="training", state="running") == 1
        placements = figure(during, "mltetris_placements_total")
        assert placements >= 0 and figure(during, "mltetris_games_total") >= 0
        assert figure(during, "mltetris_slots") == 0
        assert figure(during, "mltetris_datasets") == 0
        assert figure(during, "mltetris_data_bytes", part="history") > 0
        assert figure(during, "mltetris_scrape_failures") == 0
        assert figure(during, "mltetris_start_time_seconds") > 1.7e9
        trainer.stop_run(run.id)
        after = scrape(url)
        assert figure(after, "mltetris_runs", kind="training", state="stopped") == 1
        assert figure(after, "mltetris_placements_total") >= max(1, placements)
        names["method"] = "StreamMetrics"
        assert (
            sum(
                value
                for (name, labels), value in after.items()
                if name == "mltetris_rpc_calls_total" and ("method", "StreamMetrics") in labels
            )
            == 1
        )
        assert ("mltetris_rpc_duration_seconds_count", frozenset(names.items())) not in after
    with pytest.raises(OSError):
        scrape(url)


def test_figures_that_the_machine_does_not_tell_are_not_there() -> None:
    metrics = SystemMetrics(cpu_percent=[50.0], gpus=[GpuMetrics(name="a", memory_used_bytes=0)])
    found = {family.name: family for family in of_machine(metrics)}
    assert "mltetris_machine_cpu_temperature_celsius" not in found
    assert "mltetris_gpu_temperature_celsius" not in found
    assert [sample.value for sample in found["mltetris_gpu_memory_used_bytes"].samples] == [0]
    assert found["mltetris_machine_cpu_ratio"].samples[0].value == 0.5


def refusal(data_dir: Path, listen: str) -> tuple[int, str]:
    result = subprocess.run(
        [
            *(sys.executable, "-m", "mltetris_server.service", "--listen", "127.0.0.1:0"),
            *("--data-dir", str(data_dir), "--metrics-listen", listen),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.returncode, result.stderr.strip().splitlines()[-1]


def test_an_address_that_is_taken_or_none_is_said_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, text = refusal(tmp_path, address)
        assert code == 1
        assert text.startswith(f"error: cannot listen on {address}: the port is taken")
        assert "--metrics-listen" in text
    code, text = refusal(tmp_path, "unix:/tmp/nothing")
    assert code == 2 and "not HOST:PORT" in text


def test_without_the_flag_there_is_no_page(tmp_path: Path) -> None:
    with small_service(tmp_path / "data") as server:
        assert '"metrics"' not in server.log()
