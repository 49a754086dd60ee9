"""How the machine is, for people."""

from __future__ import annotations

from mltetris_api.v1.system_pb2 import GpuMetrics
from mltetris_client import SystemMetrics
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mltetris_cli.live import figures
from mltetris_cli.runs_view import printable

_BAR = 24
"""Characters of a bar."""


def view(metrics: SystemMetrics) -> RenderableType:
    """Bars of what is used, and a table of the processes."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    for number, percent in enumerate(metrics.cpu_percent):
        words = f"{percent:.0f} %"
        if number == 0 and metrics.HasField("cpu_temperature_celsius"):
            words += f"  {metrics.cpu_temperature_celsius:.0f} °C"
        grid.add_row(f"core {number}", _bar(percent / 100), words)
    memory, disk = metrics.memory_total_bytes, metrics.disk_total_bytes
    _add_use(grid, "memory", metrics.memory_used_bytes, memory)
    _add_use(grid, "disk", disk - metrics.disk_free_bytes, disk)
    for gpu in metrics.gpus:
        _add_gpu(grid, gpu)
    if metrics.HasField("load"):
        grid.add_row("load", f"{metrics.load:.2f}", "")
    return Group(grid, Text(), _processes(metrics))


def _add_use(grid: Table, name: str, used: int, total: int) -> None:
    words = f"{figures.size(used)} of {figures.size(total)}"
    grid.add_row(name, _bar(used / total if total else 0), words)


def _add_gpu(grid: Table, gpu: GpuMetrics) -> None:
    words = [printable(gpu.name)]
    if gpu.HasField("utilization_percent"):
        words.append(f"{gpu.utilization_percent:.0f} %")
    if gpu.HasField("memory_used_bytes") and gpu.HasField("memory_total_bytes"):
        used, total = gpu.memory_used_bytes, gpu.memory_total_bytes
        words.append(f"{figures.size(used)} of {figures.size(total)}")
    if gpu.HasField("temperature_celsius"):
        words.append(f"{gpu.temperature_celsius:.0f} °C")
    share = gpu.utilization_percent / 100 if gpu.HasField("utilization_percent") else None
    grid.add_row("gpu", _bar(share) if share is not None else "", Text("  ".join(words)))


def _bar(share: float) -> Text:
    full = round(_BAR * min(1.0, max(0.0, share)))
    style = "red" if share > 0.9 else "yellow" if share > 0.7 else "green"
    return Text.assemble(("█" * full, style), ("░" * (_BAR - full), "bright_black"))


def _processes(metrics: SystemMetrics) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bright_black", show_edge=False)
    table.add_column("PROCESS", no_wrap=True)
    table.add_column("RUN", no_wrap=True)
    for name in ("PID", "CPU", "MEMORY", "THREADS"):
        table.add_column(name, justify="right", no_wrap=True)
    for process in metrics.processes:
        table.add_row(
            process.role,
            process.run or "-",
            str(process.pid),
            f"{process.cpu_percent:.0f} %",
            figures.size(process.memory_bytes),
            str(process.threads),
        )
    return table
