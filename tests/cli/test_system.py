"""`mltetris system`: once and again, for people and for scripts."""

from __future__ import annotations

import io
import json
import signal

from mltetris_api.v1.system_pb2 import GpuMetrics, ProcessMetrics, SystemMetrics
from mltetris_cli.system_view import view
from rich.console import Console
from support.cli import Cli


def test_it_shows_the_machine_and_the_processes(cli: Cli) -> None:
    out = cli.good("system").out
    for word in ("core 0", "memory", "disk", "PROCESS", "server"):
        assert word in out
    said = cli.good("system", "-o", "json").json
    assert said["cpu_percent"] and said["memory_total_bytes"] > said["memory_used_bytes"] > 0
    assert said["processes"][0]["role"] == "server"
    # Nothing is made up where the machine does not tell.
    assert said["cpu_temperature_celsius"] is None or said["cpu_temperature_celsius"] > 0


def test_it_follows_as_json_lines_until_interrupted(cli: Cli) -> None:
    with cli.started("system", "--follow", "--period", "0.2", "-o", "json") as process:
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130)
    times = [line["time"] for line in lines]
    assert times == sorted(set(times))
    assert "Traceback" not in (process.stderr.read() if not process.stderr.closed else "")


def test_a_period_out_of_range_is_a_usage_error(cli: Cli) -> None:
    for period in ("0", "0.01", "4000", "often"):
        assert cli.inside("system", "--follow", "--period", period).code == 2


def test_what_a_gpu_does_not_tell_is_left_out() -> None:
    metrics = SystemMetrics(
        cpu_percent=[12.0],
        cpu_temperature_celsius=55,
        memory_total_bytes=8 << 30,
        memory_used_bytes=2 << 30,
        disk_total_bytes=100 << 30,
        disk_free_bytes=40 << 30,
        gpus=[
            GpuMetrics(
                name="NVIDIA H200",
                utilization_percent=37,
                memory_used_bytes=5 << 30,
                memory_total_bytes=141 << 30,
                temperature_celsius=41,
            ),
            GpuMetrics(name="Old One"),
        ],
        processes=[ProcessMetrics(role="worker", run="train-abc123", pid=7, cpu_percent=99.6)],
    )
    out = io.StringIO()
    Console(width=120, file=out).print(view(metrics))
    text = out.getvalue()
    assert "NVIDIA H200  37 %  5.4 GB of 151 GB  41 °C" in text
    assert [line.split() for line in text.splitlines() if "Old" in line] == [["gpu", "Old", "One"]]
    assert "12 %  55 °C" in text
    assert "train-abc123" in text and "100 %" in text
    assert "load" not in text
