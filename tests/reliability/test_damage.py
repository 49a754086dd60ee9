"""Damaged files: bits that flipped, files cut short, files gone. Said by name, and nothing else is
lost for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import mltetris_client
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mltetris_api.v1 import run_pb2, system_pb2, trainer_pb2
from mltetris_server import errors
from mltetris_server.storage import (
    Checkpoint,
    DataDir,
    History,
    RunStore,
    SlotStore,
    WorkerEvent,
)
from support.checkpoints import MODEL, a_checkpoint, model_files
from support.server import ServerProcess
from support.small_server import small_server

RUN = "train-abc123"
SLOTS = ("one", "two")
KINDS = {
    run_pb2.CHECKPOINT_KIND_BEST: "best",
    run_pb2.CHECKPOINT_KIND_LATEST: "latest",
    run_pb2.CHECKPOINT_KIND_FINAL: "final",
}
WRITTEN = {"best": [1, 2], "latest": [3, 4], "final": [5]}
"""Placements of the versions of each checkpoint, the newest last."""


@dataclass(repr=False)
class Filled:
    """A data directory with two slots, the first of them active, and a run that has ended."""

    root: Path
    slots: dict[str, Checkpoint] = field(default_factory=dict)
    versions: dict[tuple[str, int], Checkpoint] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Filled({self.root})"

    @property
    def files(self) -> list[Path]:
        """Every file of slots and checkpoints, relative to the directory."""
        return sorted(
            path.relative_to(self.root)
            for folder in ("slots", "runs")
            for path in (self.root / folder).rglob("*")
            if path.is_file()
        )


def fill(root: Path) -> Filled:
    filled = Filled(root)
    with DataDir.open(root) as data_dir:
        slots, runs = SlotStore(data_dir.slots), RunStore(data_dir.runs)
        for number, name in enumerate(SLOTS):
            slots.save(name, a_checkpoint(number + 10), notes=name)
            filled.slots[name] = slots.read(name)
        slots.activate("one")
        for kind, word in KINDS.items():
            for placements in WRITTEN[word]:
                files = model_files(placements)
                runs.write(RUN, kind, model=MODEL, files=files, placements=placements)
                filled.versions[word, placements] = runs.read(RUN, kind)
        with History(data_dir.database) as history:
            run = run_pb2.Run(
                id=RUN, kind=run_pb2.RUN_KIND_TRAINING, state=run_pb2.RUN_STATE_STOPPED
            )
            run.checkpoints.extend(runs.info(RUN))
            history.create_run(run)
            points = [run_pb2.MetricPoint(sequence=k, placements=k) for k in range(1, 301)]
            history.append(RUN, [WorkerEvent(1, points)])
    return filled


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    return fill(tmp_path_factory.mktemp("filled") / "data")


def copied(filled: Filled, path: Path) -> Path:
    shutil.copytree(filled.root, path)
    return path


@st.composite
def damages(draw: st.DrawFn) -> tuple[str, float, int]:
    """What is done to a file, where in it (0..1), and which bit."""
    what = draw(st.sampled_from(["flip", "flip", "truncate", "append", "remove", "folder"]))
    return what, draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(0, 7))


def damage(path: Path, what: str, where: float, bit: int) -> None:
    data = bytearray(path.read_bytes())
    place = int(where * len(data))
    if what == "flip":
        data[place] ^= 1 << bit
    elif what == "truncate":
        del data[place:]
    elif what == "append":
        data.append(bit)
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what != "remove":
        path.write_bytes(data)


def check_loss(error: errors.DataLoss, root: Path, name: Path) -> None:
    """It names the file from the data directory on, and no folder above it."""
    folder, digest = name.parent.as_posix(), "manifest.sha256"
    named = [name.as_posix(), f"{folder}/manifest.json"] if name.name == digest else [str(name)]
    if name.name == "manifest.json":
        # A bit of it that says what the files must be: the files are not what it says then.
        named.append(f"{folder}/")
    assert any(each in error.message for each in named), (error.message, name)
    for above in (root, *root.parents[:-1]):
        assert f"{above}" not in error.message


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), harm=damages())
def test_damage_anywhere_is_harmless_or_named_and_all_else_is_there_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    filled: Filled,
    data: st.DataObject,
    harm: tuple[str, float, int],
) -> None:
    name = data.draw(st.sampled_from(filled.files))
    root = copied(filled, tmp_path_factory.mktemp("damaged") / "data")
    damage(root / name, *harm)
    slots, runs = SlotStore(root / "slots"), RunStore(root / "runs")
    runs.recover([RUN])
    refused = set()
    for slot, model in filled.slots.items():
        try:
            assert slots.read(slot) == model
            assert slots.get(slot).notes == slot or name == Path(f"slots/{slot}/slot.json")
        except errors.DataLoss as error:
            assert name.parts[:2] == ("slots", slot)
            check_loss(error, root, name)
            refused.add(slot)
    listed = {slot.name for slot in slots.list_slots()}
    assert listed >= set(SLOTS) - refused
    try:
        assert slots.active() == "one" or name == Path("slots/active.json")
    except errors.DataLoss as error:
        assert name == Path("slots/active.json")
        check_loss(error, root, name)
    for kind, word in KINDS.items():
        newest, *before = reversed(WRITTEN[word])
        hit = name.parts[:3] == ("runs", RUN, word)
        try:
            found = runs.read(RUN, kind)
        except errors.DataLoss as error:
            assert hit
            assert not before, "the one before is there to be read"
            check_loss(error, root, name)
            continue
        except errors.NotFound:
            assert hit
            assert name.name == "manifest.json", "only without it a version counts for nothing"
            assert harm[0] in ("remove", "folder")
            assert not before
            continue
        whole = [filled.versions[word, newest]]
        if hit:
            whole += [filled.versions[word, placements] for placements in before]
        assert found in whole
    # Damaged or not, a slot can be replaced, and the pointer written anew.
    for slot in refused:
        slots.save(slot, a_checkpoint(99), overwrite=True)
        assert slots.get(slot).placements == 99
    if name == Path("slots/active.json") and harm[0] == "folder":
        with pytest.raises(errors.Unavailable, match=r"slots/active\.json: Is a directory"):
            slots.activate("two")
        (root / name).rmdir()
    assert slots.activate("two").active
    assert slots.active() == "two"
    shutil.rmtree(root.parent)


def test_the_one_before_is_read_where_the_newest_is_damaged(filled: Filled, tmp_path: Path) -> None:
    """Not only perhaps: every file of the newest version, every kind of damage."""
    for harm in ("flip", "truncate", "append", "remove", "folder"):
        for name in (path for path in filled.files if path.parts[2:4] == ("best", "000002")):
            root = copied(filled, tmp_path / f"{harm}-{name.name}")
            damage(root / name, harm, 0.5, 4)
            found = RunStore(root / "runs").read(RUN, run_pb2.CHECKPOINT_KIND_BEST)
            harmless = name.name == "manifest.sha256" and harm in ("append", "remove", "truncate")
            assert found.manifest.placements == 1 or harmless


@pytest.fixture
def damaged(filled: Filled, tmp_path: Path) -> Iterator[Path]:
    """A data directory in which much is damaged at once."""
    root = copied(filled, tmp_path / "data")
    for name in (
        "slots/one/policy.safetensors",
        "slots/active.json",
        f"runs/{RUN}/best/000002/policy.safetensors",
        f"runs/{RUN}/final/000001/manifest.json",
    ):
        damage(root / name, "flip", 0.5, 4)
    (root / "reserve").write_bytes(b"x")
    (root / "lock").write_bytes(b"\xff" * 999)
    (root / "owner.json").write_bytes(b"{")
    yield root
    shutil.rmtree(root)


async def test_a_server_on_a_damaged_directory_says_what_is_damaged_and_serves_the_rest(
    damaged: Path,
) -> None:
    async with small_server(damaged) as server:
        trainer = server.trainer

        async def refusal(call: grpc.aio.UnaryUnaryCall) -> str:  # type: ignore[type-arg]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() == grpc.StatusCode.DATA_LOSS
            details = caught.value.details() or ""
            assert str(damaged) not in details
            assert str(damaged.parent) not in details
            return details

        get = trainer_pb2.GetSlotRequest(name="one")
        assert "slots/one/policy.safetensors" in await refusal(trainer.GetSlot(get))
        demo = trainer_pb2.StartRunRequest(demo=run_pb2.DemoSpec())
        assert "slots/active.json" in await refusal(trainer.StartRun(demo))
        save = trainer_pb2.SaveSlotRequest(name="new")
        save.checkpoint.run = RUN
        save.checkpoint.kind = run_pb2.CHECKPOINT_KIND_FINAL
        where = f"runs/{RUN}/final/000001/manifest.json"
        assert where in await refusal(trainer.SaveSlot(save))
        save.checkpoint.kind = run_pb2.CHECKPOINT_KIND_BEST
        assert (await trainer.SaveSlot(save)).slot.placements == 1
        save.checkpoint.kind = run_pb2.CHECKPOINT_KIND_LATEST
        save.overwrite = True
        assert (await trainer.SaveSlot(save)).slot.placements == 4
        slots = (await trainer.ListSlots(trainer_pb2.ListSlotsRequest())).slots
        # Of the first only the size was looked at, which is right.
        assert {"two", "new"} <= {slot.name for slot in slots}
        info = await server.system.GetServerInfo(system_pb2.GetServerInfoRequest())
        assert info.active_slot == ""
        runs = (await trainer.ListRuns(trainer_pb2.ListRunsRequest())).runs
        assert [run.id for run in runs] == [RUN]
        await trainer.ActivateSlot(trainer_pb2.ActivateSlotRequest(name="two"))
        run = await server.running()
        await trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))


def test_a_damaged_history_is_not_touched_and_the_server_says_what_to_do(
    filled: Filled, tmp_path: Path
) -> None:
    root = copied(filled, tmp_path / "data")
    database = root / "mltetris.db"
    whole = database.read_bytes()
    for garbage in (b"no database at all" * 99, whole[: len(whole) // 2], b"\0" * 5000):
        database.write_bytes(garbage)
        slots = {path: path.read_bytes() for path in (root / "slots").rglob("*") if path.is_file()}
        result = subprocess.run(
            [
                *(sys.executable, "-m", "mltetris_server.service"),
                *("--listen", "127.0.0.1:0", "--data-dir", str(root)),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        assert result.returncode == 1
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        said = result.stderr.strip().splitlines()[-1]
        assert f"error: {database} is damaged" in said
        assert "put a backup in its place, or move it away" in said
        assert database.read_bytes() == garbage, "what is left of it was overwritten"
        assert {path: path.read_bytes() for path in slots} == slots
    # What it says helps: either way.
    database.write_bytes(whole)
    with ServerProcess(root) as server, mltetris_client.connect(server.address) as trainer:
        assert len(list(trainer.stream_metrics(RUN))) == 300
    database.unlink()
    for path in root.glob("mltetris.db-*"):
        path.unlink()
    with ServerProcess(root) as server, mltetris_client.connect(server.address) as trainer:
        assert list(trainer.list_runs()) == []
        assert trainer.get_slot("two").notes == "two"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(where=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8), cut=st.booleans())
def test_a_history_with_flipped_bits_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, filled: Filled, where: list[float], cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("history")
    path = folder / "mltetris.db"
    data = bytearray((filled.root / "mltetris.db").read_bytes())
    for each in where:
        data[int(each * len(data))] ^= 1 << (int(each * 1e6) % 8)
    if cut:
        del data[int(where[0] * len(data)) :]
    path.write_bytes(data)
    try:
        with History(path) as history:
            for read in (
                history.unfinished_runs,
                history.list_runs,
                lambda: history.points(RUN, limit=1000),
                lambda: history.state_changes(RUN),
                lambda: history.worker(RUN),
                lambda: history.activity.page(),
            ):
                try:
                    read()
                except (errors.DataLoss, errors.NotFound, errors.Unavailable) as error:
                    assert str(folder) not in error.message
    except (errors.DataLoss, errors.WrongState, errors.Unavailable) as error:
        assert "mltetris.db" in error.message
    shutil.rmtree(folder)
