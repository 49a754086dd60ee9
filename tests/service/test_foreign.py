"""ImportSlot of stable-baselines3 .zip files: ours become slots, all others are refused."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import torch as th
from learning.helpers import small_td
from mltetris_api.v1 import slot_pb2, trainer_pb2
from mltetris_server import errors
from mltetris_server.learning.checkpoint import dump
from mltetris_server.runs import sb3
from mltetris_server.service import slots as service_slots
from mltetris_server.storage import SlotStore
from mltetris_server.storage.bundle import pack
from mltetris_server.storage.checkpoints import Checkpoint
from support.calls import Client, import_requests
from support.checkpoints import a_checkpoint
from support.small_server import small_server


@pytest.fixture(scope="module")
def td() -> Any:
    agent = small_td()
    agent.learn(640)
    return agent


@pytest.fixture(scope="module")
def td_zip(td: Any) -> bytes:
    target = io.BytesIO()
    td.save(target)
    return target.getvalue()


def with_member(content: bytes, name: str, data: bytes) -> bytes:
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as before,
        zipfile.ZipFile(target, "w") as archive,
    ):
        for member in before.namelist():
            archive.writestr(member, data if member == name else before.read(member))
    return target.getvalue()


def test_an_export_for_sb3_comes_back_as_a_slot_that_plays_the_same(
    client: Client, td: Any
) -> None:
    model, files = dump(td)
    checkpoint = Checkpoint.create(model=model, files=files, placements=td.num_timesteps)
    first = client.call("ImportSlot", import_requests("first", pack(checkpoint))).slot
    request = trainer_pb2.ExportSlotRequest(name="first", format=slot_pb2.SLOT_FORMAT_SB3)
    header, *chunks = client.call("ExportSlot", request)
    content = b"".join(part.chunk for part in chunks)
    assert hashlib.sha256(content).hexdigest() == header.header.sha256
    back = client.call("ImportSlot", import_requests("back", content)).slot
    assert (back.algorithm, back.features, back.game) == (
        first.algorithm,
        first.features,
        first.game,
    )
    assert back.placements == first.placements == 640
    assert not back.resumable
    store = client.server.data_dir / "slots"
    weights = [(store / name / "policy.safetensors").read_bytes() for name in ("first", "back")]
    assert weights[0] == weights[1] == files["policy.safetensors"]
    again = client.refusal("ImportSlot", import_requests("back", content))
    assert again.code == grpc.StatusCode.ALREADY_EXISTS


class Bomb:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._path),)


def test_what_is_not_ours_is_refused_and_nothing_of_it_runs(
    client: Client, td_zip: bytes, tmp_path: Path
) -> None:
    hit = tmp_path / "hit"
    target = io.BytesIO()
    th.save(Bomb(hit), target)
    before = sorted((client.server.data_dir / "slots").iterdir())
    for content, complaint in (
        (with_member(td_zip, "policy.pth", target.getvalue()), "policy.pth: is damaged, or holds"),
        (with_member(td_zip, "policy.pth", b"PK"), "policy.pth"),
        (with_member(td_zip, "data", b'{"num_timesteps": 1}'), "not saved by an algorithm"),
    ):
        refusal = client.refusal("ImportSlot", import_requests("bad", content))
        assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
        assert complaint in refusal.text
        assert refusal.fields == ["chunk"]
    assert not hit.exists()
    assert sorted((client.server.data_dir / "slots").iterdir()) == before


async def test_reading_is_ended_when_it_takes_too_long(
    td_zip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sb3, "_TIMEOUT_S", 0.5)
    sleeps = (sys.executable, "-c", "import time; time.sleep(60)  # reading")
    with pytest.raises(errors.InvalidArgument, match="too much time"):
        await sb3.import_sb3(td_zip, sleeps)
    for child in psutil.Process().children():
        assert child.status() == psutil.STATUS_ZOMBIE or "# reading" not in child.cmdline()[-1]


async def test_reading_is_ended_when_it_takes_too_much_memory_and_writes_no_file(
    tmp_path: Path,
) -> None:
    start = "from mltetris_server.worker.foreign import _limit; _limit(); "
    eats = "x = [bytearray(1 << 28) for _ in range(40)]"
    with pytest.raises(errors.DomainError):
        await sb3.import_sb3(b"", (sys.executable, "-c", start + eats))
    kills = "import os; os.kill(os.getpid(), 9)"
    with pytest.raises(errors.InvalidArgument, match="too much time or memory"):
        await sb3.import_sb3(b"", (sys.executable, "-c", kills))
    path = tmp_path / "written"
    writes = f"f = open({str(path)!r}, 'wb'); f.write(b'x' * 99); f.flush()"
    with pytest.raises(errors.Unavailable):
        await sb3.import_sb3(b"", (sys.executable, "-c", start + writes))
    assert not path.exists() or path.read_bytes() == b""


async def test_tokens_do_not_reach_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLTETRIS_OPERATOR_TOKEN", "x" * 20)
    show = "import os; print(sorted(n for n in os.environ if 'TOKEN' in n), end='')"
    assert await sb3.import_sb3(b"", (sys.executable, "-c", show)) == b"[]"


def test_an_import_that_is_broken_off_leaves_nothing(client: Client) -> None:
    data = pack(a_checkpoint(3))
    sent, go = threading.Event(), threading.Event()

    def half() -> Iterator[trainer_pb2.ImportSlotRequest]:
        header, *chunks = import_requests("half", data, size_bytes=len(data))
        yield header
        yield trainer_pb2.ImportSlotRequest(chunk=chunks[0].chunk[:100])
        sent.set()
        go.wait(20)

    call = client.stub.ImportSlot.future(half())
    assert sent.wait(20)
    call.cancel()
    go.set()
    assert not (client.server.data_dir / "slots" / "half").exists()
    assert not list((client.server.data_dir / "slots").glob(".tmp-*"))
    assert client.call("ImportSlot", import_requests("half", data)).slot.name == "half"


async def test_imports_at_the_same_time_take_only_so_much_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pack(a_checkpoint(3))
    monkeypatch.setattr(service_slots, "_MOST_RECEIVING", 2 * len(data))
    async with small_server(tmp_path / "data") as server:
        # Two that have said how much will come, and send nothing.
        held = []
        for name in ("a", "b"):
            call = server.trainer.ImportSlot()
            await call.write(next(import_requests(name, data)))
            held.append(call)

        async def refused() -> bool:
            try:
                await server.trainer.ImportSlot(import_requests("c", data))
            except grpc.aio.AioRpcError as error:
                assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                assert "try again" in (error.details() or "")
                return True
            await server.trainer.DeleteSlot(trainer_pb2.DeleteSlotRequest(name="c"))
            return False

        while not await refused():
            pass  # the two have not arrived yet
        for call in held:
            call.cancel()
        while await refused():
            pass  # nor have their ends
        assert SlotStore(tmp_path / "data" / "slots").names() == []
