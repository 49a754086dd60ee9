"""Graphics processors, as NVIDIA's management library (NVML) tells of them.

https://docs.nvidia.com/deploy/nvml-api/ by way of the package nvidia-ml-py (`pynvml`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from mltetris_api.v1.system_pb2 import GpuMetrics

_log = structlog.get_logger(__name__)
_Figure = TypeVar("_Figure")


class Gpus:
    """Measures all there are. For one thread.

    Args:
        nvml: the module `pynvml`, or one with its functions; None: that module.
    """

    def __init__(self, nvml: Any = None) -> None:
        self._nvml = nvml
        self._there: bool | None = None
        """Whether the library answers; None: it was not asked yet."""

    def measure(self) -> list[GpuMetrics]:
        """How they are; none where there is none, or nobody who tells.

        A figure that a processor does not tell is unset.
        """
        if self._there is None:
            self._there = self._begin()
        if not self._there:
            return []
        count = self._told(self._nvml.nvmlDeviceGetCount) or 0
        return [gpu for number in range(count) if (gpu := self._one(number)) is not None]

    def _begin(self) -> bool:
        if self._nvml is None:
            # It takes its time, and nobody may ever ask.
            import pynvml

            self._nvml = pynvml
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            _log.info("no NVIDIA GPUs are measured", why=str(error))
            return False
        return True

    def _one(self, number: int) -> GpuMetrics | None:
        nvml = self._nvml
        handle = self._told(nvml.nvmlDeviceGetHandleByIndex, number)
        if handle is None:
            return None
        name = self._told(nvml.nvmlDeviceGetName, handle) or ""
        use = self._told(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._told(nvml.nvmlDeviceGetMemoryInfo, handle)
        return GpuMetrics(
            # Bytes before nvidia-ml-py 11.5.
            name=name.decode("utf-8", "replace") if isinstance(name, bytes) else name,
            utilization_percent=use.gpu if use is not None else None,
            memory_used_bytes=memory.used if memory is not None else None,
            memory_total_bytes=memory.total if memory is not None else None,
            temperature_celsius=self._told(
                nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU
            ),
        )

    def _told(self, function: Callable[..., _Figure], *arguments: Any) -> _Figure | None:
        """What the library says, or None where it does not say it of this processor."""
        try:
            return function(*arguments)
        except self._nvml.NVMLError:
            return None
