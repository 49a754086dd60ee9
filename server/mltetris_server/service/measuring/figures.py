"""What the service and its machine are, as metrics of Prometheus.

Their names keep to https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from mltetris_api.v1 import run_pb2, system_pb2
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_OF_A_GPU: Final[
    tuple[
        tuple[
            str,
            str,
            Literal[
                "utilization_percent",
                "memory_used_bytes",
                "memory_total_bytes",
                "temperature_celsius",
            ],
            int,
        ],
        ...,
    ]
] = (
    ("utilization_ratio", "Share of the time it was busy.", "utilization_percent", 100),
    ("memory_used_bytes", "Its memory in use.", "memory_used_bytes", 1),
    ("memory_bytes", "Its memory.", "memory_total_bytes", 1),
    ("temperature_celsius", "Its temperature.", "temperature_celsius", 1),
)
"""Name, meaning, field, and how many of the field's units are one of the metric's."""


def gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    """A figure that goes up and down."""
    return GaugeMetricFamily(name, what, value=value)


def counter(name: str, what: str, value: float) -> CounterMetricFamily:
    """A figure that only grows; its name gets `_total`."""
    return CounterMetricFamily(name, what, value=value)


def of_stats(stats: system_pb2.GetStatsResponse) -> Iterator[Metric]:
    """What was done on the server, and what it keeps."""
    runs = GaugeMetricFamily("mltetris_runs", "Runs there are.", labels=("kind", "state"))
    for count in stats.runs:
        kind = run_pb2.RunKind.Name(count.kind).removeprefix("RUN_KIND_").lower()
        state = run_pb2.RunState.Name(count.state).removeprefix("RUN_STATE_").lower()
        runs.add_metric((kind, state), count.count)
    yield runs
    yield counter("mltetris_placements", "Placements made by all runs.", stats.placements)
    yield counter("mltetris_games", "Games finished by all runs.", stats.games)
    yield gauge("mltetris_metric_points", "Metric points kept.", stats.metric_points)
    yield gauge("mltetris_slots", "Slots kept.", stats.slots)
    yield gauge("mltetris_datasets", "Datasets kept.", stats.datasets)
    disk = GaugeMetricFamily(
        "mltetris_data_bytes", "What the data directory takes on disk.", labels=("part",)
    )
    for part in ("history", "runs", "slots", "datasets"):
        disk.add_metric((part,), getattr(stats.disk, f"{part}_bytes"))
    yield disk
    yield gauge(
        "mltetris_start_time_seconds",
        "When the server started, in seconds since 1970.",
        stats.start_time.ToNanoseconds() / 1e9,
    )


def of_machine(metrics: system_pb2.SystemMetrics) -> Iterator[Metric]:
    """How the machine and the server's processes are."""
    cores = GaugeMetricFamily(
        "mltetris_machine_cpu_ratio",
        "Use of each core since it was last looked at.",
        labels=("core",),
    )
    for number, percent in enumerate(metrics.cpu_percent):
        cores.add_metric((str(number),), percent / 100)
    yield cores
    for name, what, field in (
        ("memory_bytes", "Memory of the machine.", "memory_total_bytes"),
        ("memory_used_bytes", "Memory that cannot be had.", "memory_used_bytes"),
        ("disk_bytes", "The data directory's disk.", "disk_total_bytes"),
        ("disk_free_bytes", "Room on the data directory's disk.", "disk_free_bytes"),
    ):
        yield gauge(f"mltetris_machine_{name}", what, getattr(metrics, field))
    if metrics.HasField("load"):
        yield gauge("mltetris_machine_load1", "Processes ready to run, of a minute.", metrics.load)
    if metrics.HasField("cpu_temperature_celsius"):
        yield gauge(
            "mltetris_machine_cpu_temperature_celsius",
            "The processor's hottest sensor.",
            metrics.cpu_temperature_celsius,
        )
    yield from _of_gpus(metrics)
    yield from _of_processes(metrics)


def _of_gpus(metrics: system_pb2.SystemMetrics) -> Iterator[Metric]:
    for name, what, field, unit in _OF_A_GPU:
        family = GaugeMetricFamily(f"mltetris_gpu_{name}", what, labels=("gpu", "name"))
        for number, gpu in enumerate(metrics.gpus):
            if gpu.HasField(field):
                family.add_metric((str(number), gpu.name), getattr(gpu, field) / unit)
        if family.samples:
            yield family


def _of_processes(metrics: system_pb2.SystemMetrics) -> Iterator[Metric]:
    labels = ("role", "run")
    cpu = GaugeMetricFamily(
        "mltetris_process_cpu_ratio", "Cores it used since it was last looked at.", labels=labels
    )
    memory = GaugeMetricFamily(
        "mltetris_process_memory_bytes", "Memory it holds (resident).", labels=labels
    )
    for process in metrics.processes:
        cpu.add_metric((process.role, process.run), process.cpu_percent / 100)
        memory.add_metric((process.role, process.run), process.memory_bytes)
    yield cpu
    yield memory
