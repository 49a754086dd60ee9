"""How the machine and the server's processes are: sane at once, shared, absent where unknown."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import mltetris_client
import psutil
import pytest
from mltetris_api.v1.system_pb2 import SystemMetrics
from mltetris_client import Trainer
from mltetris_server.service.measuring import machine as measuring
from mltetris_server.service.measuring.gpus import Gpus
from mltetris_server.service.measuring.machine import Known, Machine, cpu_temperature
from mltetris_server.service.measuring.sampler import Sampler
from support.server import ServerProcess
from support.small import eventually, small_service


class NVMLError(Exception):
    """The library's."""


class FakeNvml:
    """pynvml with two processors, of which the second tells little and the third is lost."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *, there: bool = True) -> None:
        self.there = there
        self.begun = 0

    def nvmlInit(self) -> None:
        self.begun += 1
        if not self.there:
            raise NVMLError("NVML Shared Library Not Found")

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        if number == 2:
            raise NVMLError("GPU is lost")
        return number

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return ("NVIDIA H200", b"Old One")[handle]

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        if handle == 1:
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=37, memory=12)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(used=(5 << 30, 0)[handle], total=(141 << 30, 1 << 30)[handle])

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        if handle == 1:
            raise NVMLError("Not Supported")
        return 41


def test_gpus_tell_what_they_tell_and_nothing_else() -> None:
    gpus = Gpus(FakeNvml())
    for _ in range(2):
        first, second = gpus.measure()
        assert first.name == "NVIDIA H200"
        assert first.utilization_percent == 37
        assert first.memory_used_bytes == 5 << 30
        assert first.memory_total_bytes == 141 << 30
        assert first.temperature_celsius == 41
        assert second.name == "Old One"
        assert not second.HasField("utilization_percent")
        assert not second.HasField("temperature_celsius")
        # Zero is a figure, too.
        assert second.HasField("memory_used_bytes") and second.memory_used_bytes == 0


def test_without_the_library_there_are_no_gpus_and_it_is_asked_once() -> None:
    nvml = FakeNvml(there=False)
    gpus = Gpus(nvml)
    assert gpus.measure() == gpus.measure() == []
    assert nvml.begun == 1


def test_the_real_library_is_asked_where_there_is_one() -> None:
    for gpu in Gpus().measure():
        assert gpu.name
        assert not gpu.HasField("memory_total_bytes") or gpu.memory_total_bytes > 0


def test_the_processors_hottest_sensor_is_its_temperature() -> None:
    def sensor(current: float | None) -> SimpleNamespace:
        return SimpleNamespace(current=current)

    def told() -> dict[str, list[SimpleNamespace]]:
        return {"coretemp": [sensor(50.0), sensor(61.5), sensor(None)], "nvme": [sensor(80.0)]}

    assert cpu_temperature(told) == 61.5
    assert cpu_temperature(lambda: {"nvme": [sensor(80.0)]}) is None
    assert cpu_temperature(lambda: {"coretemp": [sensor(0.0)]}) is None

    def refused() -> dict[str, list[SimpleNamespace]]:
        raise OSError("no such file")

    assert cpu_temperature(refused) is None


def check(metrics: SystemMetrics) -> None:
    assert len(metrics.cpu_percent) == psutil.cpu_count()
    assert all(0 <= percent <= 100 for percent in metrics.cpu_percent)
    assert 0 < metrics.memory_used_bytes < metrics.memory_total_bytes
    assert 0 < metrics.disk_free_bytes <= metrics.disk_total_bytes
    assert not metrics.HasField("cpu_temperature_celsius") or metrics.cpu_temperature_celsius > 0
    for process in metrics.processes:
        assert process.pid > 0 and process.threads > 0 and process.memory_bytes > 1 << 20
        assert 0 <= process.cpu_percent <= 110 * process.threads


def test_the_first_measurement_is_of_now_and_not_nothing(tmp_path: Path) -> None:
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            sum(range(1000))

    busy = threading.Thread(target=work)
    busy.start()
    try:
        machine = Machine(tmp_path, Gpus(FakeNvml()))
        mine = Known("server", psutil.Process().pid)
        gone = Known("worker", 2**22 + 1, "train-abc123")
        metrics = machine.measure([mine, gone])
    finally:
        over.set()
        busy.join()
    check(metrics)
    # This process did nothing but work for the whole of it, as far as it was let.
    assert sum(metrics.cpu_percent) > 0
    (process,) = metrics.processes
    assert process.cpu_percent > 0
    assert [gpu.name for gpu in metrics.gpus] == ["NVIDIA H200", "Old One"]


async def test_one_measurement_is_for_all_who_ask(tmp_path: Path) -> None:
    class Counting(Machine):
        count = 0

        def measure(self, known: object) -> SystemMetrics:
            self.count += 1
            time.sleep(0.01)
            return SystemMetrics(load=self.count)

    machine = Counting(tmp_path)
    sampler = Sampler(machine, lambda: [])
    together = await asyncio.gather(*(sampler.now() for _ in range(50)))
    assert machine.count == 1 and {metrics.load for metrics in together} == {1.0}

    async def watch() -> list[float]:
        seen = []
        async for metrics in sampler.follow(0.5):
            seen.append(metrics.load)
            if len(seen) == 4:
                return seen
        raise AssertionError("it ended")

    watched = await asyncio.gather(*(watch() for _ in range(20)))
    # 20 watchers with 4 measurements each.
    assert machine.count < 20
    assert all(seen == sorted(seen) for seen in watched)
    count = machine.count
    await asyncio.sleep(0.7)
    assert machine.count == count, "measured while nobody watched"
    sampler.close()


async def test_a_measurement_that_fails_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = Sampler(Machine(tmp_path, Gpus(FakeNvml())), lambda: [])

    def refuse(path: str) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(measuring.psutil, "disk_usage", refuse)
        with pytest.raises(OSError, match="gone"):
            await sampler.now()
    check(await sampler.now())
    sampler.close()


# -- On a server ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with small_service(tmp_path_factory.mktemp("machine") / "data") as running:
        yield running


@pytest.fixture
def trainer(server: ServerProcess) -> Iterator[Trainer]:
    with mltetris_client.connect(server.address) as connection:
        yield connection


def roles(metrics: SystemMetrics) -> list[tuple[str, str]]:
    return [(process.role, process.run) for process in metrics.processes]


def test_a_server_tells_of_itself_its_workers_and_the_process_that_suggests(
    server: ServerProcess, trainer: Trainer
) -> None:
    first = trainer.get_system_metrics()
    check(first)
    assert roles(first) == [("server", "")]
    assert first.processes[0].pid == server.process.pid
    assert sum(first.cpu_percent) >= 0
    run = trainer.start_training(seed=1)

    def with_worker() -> SystemMetrics | None:
        metrics = trainer.get_system_metrics()
        return metrics if ("worker", run.id) in roles(metrics) else None

    check(eventually(with_worker, "a worker"))
    trainer.activate_slot("bcts")
    trainer.reload_policy()
    metrics = trainer.get_system_metrics()
    check(metrics)
    assert roles(metrics) == [("server", ""), ("worker", run.id), ("policy", "")]
    trainer.stop_run(run.id)
    eventually(
        lambda: roles(trainer.get_system_metrics()) == [("server", ""), ("policy", "")],
        "the worker to be gone",
    )


def test_a_stream_goes_on_and_keeps_its_period(trainer: Trainer) -> None:
    times = []
    with trainer.stream_system_metrics(0.2) as stream:
        for metrics in stream:
            check(metrics)
            times.append(metrics.time.ToNanoseconds())
            if len(times) == 5:
                break
    assert times == sorted(set(times))
    for period in (0.05, 4000.0, -1.0):
        with pytest.raises(mltetris_client.InvalidArgument) as caught:
            next(iter(trainer.stream_system_metrics(period)))
        assert [violation.field for violation in caught.value.fields] == ["period"]
