"""Run by ``test_kill``: kills a writer at every step of a write, and looks at what is left.

``python kill_driver.py SCENARIO FOLDER``. A child process writes something; it is killed with
SIGKILL at its first step on the file system, then another at its second, and so on until one comes
through. After each, the store is opened as after a crash, and what it holds is printed as one line
of JSON: in words, and as a digest of every byte that the store gives out.

A step is whatever changes the disk: making a folder, opening a file to write, half of its bytes
written, every ``fsync`` of a file or of a folder, a rename, a removal. Works by fork; most steps
are Python's audit events, which come before the call. The clock stands still, so that what is
written is the same to the last bit every time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import (
    DatasetStore,
    RunStore,
    SlotStore,
    bundle,
    checkpoints,
    dataset_record,
    durable,
    slot_record,
)
from mltetris_server.storage import slots as slots_module
from mltetris_server.storage import spool as server_spool
from mltetris_server.storage.checkpoints import Checkpoint
from mltetris_server.worker.spool import spool
from mltetris_server.worker.transfer import Checkpoint as Spooled
from support.checkpoints import MODEL, a_checkpoint, model_files
from support.datasets import read_dataset, store_dataset

RUN = "train-abc123"
BEST = run_pb2.CHECKPOINT_KIND_BEST
LATEST = run_pb2.CHECKPOINT_KIND_LATEST
EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
MANY = 3
"""Checkpoints that the scenario of many writes one after the other."""


class StandingClock(datetime):
    """It is always the same moment."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> StandingClock:
        return cls(2030, 1, 1, tzinfo=tz)


def digest_of(checkpoint: Checkpoint) -> str:
    """Of every byte of a checkpoint."""
    whole = hashlib.sha256(checkpoint.manifest_bytes)
    for name, data in sorted(checkpoint.files.items()):
        whole.update(f"{name} {len(data)} ".encode() + data)
    return whole.hexdigest()


@dataclass
class Found:
    """What a store holds after a crash: in words, and the digest of all its bytes."""

    words: Any
    digests: Any


def write_run(folder: Path, placements: int, kind: run_pb2.CheckpointKind.ValueType = BEST) -> None:
    RunStore(folder).write(
        RUN, kind, model=MODEL, files=model_files(placements), placements=placements
    )


def read_run(folder: Path, kind: run_pb2.CheckpointKind.ValueType = BEST) -> Found:
    store = RunStore(folder)
    store.recover([RUN])
    try:
        checkpoint = store.read(RUN, kind)
    except errors.NotFound:
        return Found(None, None)
    return Found(checkpoint.manifest.placements, digest_of(checkpoint))


def write_latest(folder: Path, placements: int) -> None:
    write_run(folder, placements, LATEST)


def write_many_latest(folder: Path, placements: int) -> None:
    store = RunStore(folder)
    for number in range(placements, placements + MANY):
        store.write(RUN, LATEST, model=MODEL, files=model_files(number), placements=number)


def delete_run(folder: Path, placements: int) -> None:
    RunStore(folder).delete(RUN)


def read_latest(folder: Path) -> Found:
    return read_run(folder, LATEST)


def save_slot(folder: Path, placements: int) -> None:
    SlotStore(folder).save("one", a_checkpoint(placements), overwrite=True)


def import_slot(folder: Path, placements: int) -> None:
    SlotStore(folder).from_bundle("one", bundle.pack(a_checkpoint(placements)), overwrite=True)


def copy_slot(folder: Path, placements: int) -> None:
    store = SlotStore(folder)
    store.save("two", store.read("one"), source_slot="one", overwrite=True)


def activate_slot(folder: Path, placements: int) -> None:
    SlotStore(folder).activate("two")


def edit_slot(folder: Path, placements: int) -> None:
    SlotStore(folder).update("one", notes="other notes", tags=["a"])


def rename_slot(folder: Path, placements: int) -> None:
    SlotStore(folder).update("one", new_name=f"renamed-{placements}")


def delete_slot(folder: Path, placements: int) -> None:
    SlotStore(folder).delete("one", force=True)


def read_slots(folder: Path) -> Found:
    store = SlotStore(folder)
    models = {name: store.read(name) for name in store.names()}
    listed = {slot.name: slot for slot in store.list_slots("name")}
    assert sorted(listed) == sorted(models)
    return Found(
        {
            "slots": {name: model.manifest.placements for name, model in models.items()},
            "active": store.active(),
        },
        {
            name: [digest_of(models[name]), listed[name].SerializeToString().hex()]
            for name in sorted(models)
        },
    )


def write_spool(folder: Path, placements: int) -> None:
    model = Spooled(json.dumps(MODEL), model_files(placements), placements)
    assert spool(folder / RUN / server_spool.FOLDER, model)


def read_spool(folder: Path) -> Found:
    """The spooled checkpoint; raises DataLoss for half a one."""
    message = server_spool.read(folder / RUN)
    if message is None:
        return Found(None, None)
    return Found(message.header.placements, hashlib.sha256(message.SerializeToString()).hexdigest())


def take_spooled(folder: Path, placements: int) -> None:
    RunStore(folder).take_spooled(RUN, command="")


def read_taken(folder: Path) -> Found:
    take_spooled(folder, 0)
    assert not (folder / RUN / server_spool.FOLDER).exists()
    return read_latest(folder)


def put_dataset(folder: Path, seed: int) -> None:
    store_dataset(DatasetStore(folder), "games", seed)


def remove_dataset(folder: Path, seed: int) -> None:
    DatasetStore(folder).delete("games")


def read_datasets(folder: Path) -> Found:
    store = DatasetStore(folder)
    listed = [dataset.name for dataset in store.list_page()[0]]
    assert listed == store.names()
    content = {name: read_dataset(store, name) for name in listed}
    return Found(
        {name: json.loads(files["data/metadata.json"])["seed"] for name, files in content.items()},
        {
            name: hashlib.sha256(
                store.read(name)[1].encode() + b"".join(files.values())
            ).hexdigest()
            for name, files in content.items()
        },
    )


def nothing(folder: Path) -> None:
    folder.mkdir()


def a_run(folder: Path) -> None:
    folder.mkdir()
    (folder / RUN).mkdir()


def first_run(folder: Path) -> None:
    write_run(folder, 1)


def two_runs(folder: Path) -> None:
    write_run(folder, 0)
    write_run(folder, 1)


def one_latest(folder: Path) -> None:
    write_latest(folder, 1)


def one_active_slot(folder: Path) -> None:
    save_slot(folder, 1)
    SlotStore(folder).activate("one")


def two_slots(folder: Path) -> None:
    one_active_slot(folder)
    SlotStore(folder).save("two", a_checkpoint(7))


def one_dataset(folder: Path) -> None:
    put_dataset(folder, 1)


def one_spooled(folder: Path) -> None:
    a_run(folder)
    write_spool(folder, 1)


def a_run_and_its_spool(folder: Path) -> None:
    write_latest(folder, 1)
    write_spool(folder, 2)


SCENARIOS: dict[
    str, tuple[Callable[[Path], None], Callable[[Path, int], None], Callable[[Path], Found]]
] = {
    "first checkpoint": (nothing, write_run, read_run),
    "next checkpoint": (two_runs, write_run, read_run),
    "many checkpoints": (one_latest, write_many_latest, read_latest),
    "delete run": (first_run, delete_run, read_run),
    "first slot": (nothing, save_slot, read_slots),
    "overwrite slot": (one_active_slot, save_slot, read_slots),
    "first import": (nothing, import_slot, read_slots),
    "import over a slot": (one_active_slot, import_slot, read_slots),
    "copy slot": (one_active_slot, copy_slot, read_slots),
    "copy over a slot": (two_slots, copy_slot, read_slots),
    "activate slot": (two_slots, activate_slot, read_slots),
    "edit slot": (one_active_slot, edit_slot, read_slots),
    "rename slot": (one_active_slot, rename_slot, read_slots),
    "delete slot": (one_active_slot, delete_slot, read_slots),
    "first dataset": (nothing, put_dataset, read_datasets),
    "dataset once more": (one_dataset, put_dataset, read_datasets),
    "delete dataset": (one_dataset, remove_dataset, read_datasets),
    "first spool": (a_run, write_spool, read_spool),
    "next spool": (one_spooled, write_spool, read_spool),
    "take spooled": (a_run_and_its_spool, take_spooled, read_taken),
}


class HalfWritten:
    """A file that is told of when half of what is written to it is on the disk."""

    def __init__(self, file: Any, step: Callable[[], None]) -> None:
        self._file = file
        self._step = step

    def write(self, data: bytes) -> int:
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._step()
        self._file.write(data[len(data) // 2 :])
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> HalfWritten:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def kill_at(last: int, folder: Path) -> None:
    """Have this process killed at its ``last``-th step below ``folder``."""
    left = last

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and "w" in arguments[1]
        if (event in EVENTS or writes) and str(folder) in str(arguments[0]):
            step()

    fsync, open_file = os.fsync, Path.open

    def counted_fsync(descriptor: int) -> None:
        step()
        fsync(descriptor)

    def counted_open(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        file = open_file(path, mode, *arguments, **named)
        return HalfWritten(file, step) if "w" in mode and path.is_relative_to(folder) else file

    os.fsync = counted_fsync
    Path.open = counted_open  # type: ignore[method-assign,assignment]
    sys.addaudithook(hook)


def stop_the_clock() -> None:
    """From now on, all that is written is written at the same moment."""
    for module in (checkpoints, slot_record, slots_module, dataset_record):
        module.datetime = StandingClock  # type: ignore[attr-defined]


def main() -> None:
    stop_the_clock()
    prepare, act, look = SCENARIOS[sys.argv[1]]
    root = Path(sys.argv[2])
    prepared = root / "prepared"
    prepare(prepared)
    step = 0
    while True:
        step += 1
        folder = root / f"step-{step}"
        shutil.copytree(prepared, folder)
        child = os.fork()
        if child == 0:
            kill_at(step, folder)
            act(folder, 2)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert killed or os.WEXITSTATUS(status) == 0, status
        found = look(folder)
        leftovers = [
            str(path)
            for path in folder.rglob("*")
            if path.name.startswith((durable.TEMPORARY, ".old-")) and act is not write_spool
        ]
        # What comes after a crash works like before it.
        if act in (write_run, save_slot, import_slot, write_spool, write_latest, put_dataset):
            act(folder, 3)
            assert "3" in json.dumps(look(folder).words)
        print(
            json.dumps(
                {
                    "killed": killed,
                    "found": found.words,
                    "digests": found.digests,
                    "leftovers": leftovers,
                }
            ),
            flush=True,
        )
        shutil.rmtree(folder)
        if not killed:
            return


if __name__ == "__main__":
    main()
