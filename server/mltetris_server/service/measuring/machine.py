"""One measurement of the machine and of the server's processes, by psutil."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from mltetris_api.v1.system_pb2 import ProcessMetrics, SystemMetrics

from mltetris_server.service.measuring.gpus import Gpus

_STALE_S: Final = 10.0
"""After so long without a measurement, what happened since says nothing about now."""
_LOOK_S: Final = 0.1
"""How long is looked then, at least."""

_PROCESSOR: Final = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal")
"""The drivers whose sensors are the processor's: Intel's, AMD's, and those of ARM boards."""


@dataclass(frozen=True, slots=True)
class Known:
    """A process of the server's."""

    role: str
    """`server`, `worker` or `policy`."""
    pid: int
    run: str = ""


class Machine:
    """Measures. For one thread: what happened since is counted for each thread apart.

    Args:
        data_dir: whose disk is meant.
        gpus: measures the graphics processors.
    """

    def __init__(self, data_dir: Path, gpus: Gpus | None = None) -> None:
        self._data_dir = data_dir
        self._gpus = gpus or Gpus()
        self._processes: dict[int, psutil.Process] = {}
        self._measured = -_STALE_S

    def measure(self, known: Sequence[Known]) -> SystemMetrics:
        """How everything is now; shares of time are those since the last measurement.

        Where that is long ago, or was never, it looks for a tenth of a second first.

        Args:
            known: the processes there are; those that have ended meanwhile are left out.
        """
        if time.monotonic() - self._measured >= _STALE_S:
            psutil.cpu_percent(percpu=True)
            self._processes.clear()
            for process in known:
                self._of(process)
            time.sleep(_LOOK_S)
        memory = psutil.virtual_memory()
        metrics = SystemMetrics(
            cpu_percent=[_share(percent) for percent in psutil.cpu_percent(percpu=True)],
            cpu_temperature_celsius=cpu_temperature(),
            memory_total_bytes=memory.total,
            memory_used_bytes=memory.total - memory.available,
            gpus=self._gpus.measure(),
            processes=[found for process in known if (found := self._of(process)) is not None],
            load=_load(),
        )
        disk = psutil.disk_usage(str(self._data_dir))
        metrics.disk_total_bytes, metrics.disk_free_bytes = disk.total, disk.free
        self._measured = time.monotonic()
        metrics.time.GetCurrentTime()
        pids = {process.pid for process in known}
        self._processes = {pid: seen for pid, seen in self._processes.items() if pid in pids}
        return metrics

    def _of(self, known: Known) -> ProcessMetrics | None:
        try:
            process = self._processes.get(known.pid)
            new = process is None or not process.is_running()
            if process is None or new:
                process = self._processes[known.pid] = psutil.Process(known.pid)
            with process.oneshot():
                percent = process.cpu_percent()
                if new:
                    # There is no "since the last time" yet: its whole life, then.
                    times = process.cpu_times()
                    age = max(_LOOK_S, time.time() - process.create_time())
                    percent = 100 * (times.user + times.system) / age
                return ProcessMetrics(
                    role=known.role,
                    run=known.run,
                    pid=known.pid,
                    cpu_percent=percent,
                    memory_bytes=process.memory_info().rss,
                    threads=process.num_threads(),
                )
        except psutil.Error:
            # It has just ended, or it is not ours to look at.
            return None


def cpu_temperature(
    sensors: Callable[[], dict[str, list[psutil._ntuples.shwtemp]]] | None = None,
) -> float | None:
    """Degrees Celsius of the processor's hottest sensor; None where the machine does not tell.

    Args:
        sensors: as `psutil.sensors_temperatures`, which not every system has.
    """
    sensors = sensors or getattr(psutil, "sensors_temperatures", None)
    if sensors is None:
        return None
    try:
        told = sensors()
    except OSError:
        return None
    degrees = [
        sensor.current
        for name, found in told.items()
        if name in _PROCESSOR
        for sensor in found
        # A sensor that is there and does not work says 0 or less.
        if sensor.current is not None and sensor.current > 0
    ]
    return max(degrees, default=None)


def _load() -> float | None:
    try:
        return psutil.getloadavg()[0]
    except OSError:
        return None


def _share(percent: float) -> float:
    return min(100.0, max(0.0, percent))
