"""Run by ``test_kill``: kills a writer at every step of a write, and looks at what is left.

``python kill_driver.py SCENARIO FOLDER``. A child process writes a checkpoint, a slot or events; it
is killed with SIGKILL at its first operation on the file system, then another at its second, and so
on until one comes through. After each, the store is opened as after a crash and what it holds is
printed as one line of JSON. Works by fork and by Python's audit events, which come before every
``open``, ``mkdir``, ``rename``, ``remove`` and ``rmdir``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import RunStore, SlotStore
from support.checkpoints import MODEL, a_checkpoint, model_files

RUN = "train-abc123"
BEST = run_pb2.CHECKPOINT_KIND_BEST
EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


def write_run(folder: Path, placements: int) -> None:
    RunStore(folder).write(
        RUN, BEST, model=MODEL, files=model_files(placements), placements=placements
    )


def read_run(folder: Path) -> Any:
    store = RunStore(folder)
    store.recover([RUN])
    try:
        return store.read(RUN, BEST).manifest.placements
    except errors.NotFound:
        return None


def save_slot(folder: Path, placements: int) -> None:
    SlotStore(folder).save("one", a_checkpoint(placements), overwrite=True)


def rename_slot(folder: Path, placements: int) -> None:
    store = SlotStore(folder)
    store.update("one", new_name=f"renamed-{placements}", notes="n")


def delete_slot(folder: Path, placements: int) -> None:
    SlotStore(folder).delete("one", force=True)


def read_slots(folder: Path) -> Any:
    store = SlotStore(folder)
    found = {name: store.read(name).manifest.placements for name in store.names()}
    assert [slot.name for slot in store.list_slots("name")] == sorted(found)
    return {"slots": found, "active": store.active()}


def nothing(folder: Path) -> None:
    folder.mkdir()


def first_run(folder: Path) -> None:
    write_run(folder, 1)


def two_runs(folder: Path) -> None:
    write_run(folder, 0)
    write_run(folder, 1)


def one_active_slot(folder: Path) -> None:
    save_slot(folder, 1)
    SlotStore(folder).activate("one")


def delete_run(folder: Path, placements: int) -> None:
    RunStore(folder).delete(RUN)


SCENARIOS: dict[
    str, tuple[Callable[[Path], None], Callable[[Path, int], None], Callable[[Path], Any]]
] = {
    "first checkpoint": (nothing, write_run, read_run),
    "next checkpoint": (two_runs, write_run, read_run),
    "delete run": (first_run, delete_run, read_run),
    "first slot": (nothing, save_slot, read_slots),
    "overwrite slot": (one_active_slot, save_slot, read_slots),
    "rename slot": (one_active_slot, rename_slot, read_slots),
    "delete slot": (one_active_slot, delete_slot, read_slots),
}


def kill_at(step: int, folder: Path) -> None:
    """Have this process killed at its ``step``-th change below ``folder``."""
    left = step

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[1], str) and "w" in arguments[1]
        if (event in EVENTS or writes) and str(folder) in str(arguments[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main() -> None:
    prepare, act, look = SCENARIOS[sys.argv[1]]
    root = Path(sys.argv[2])
    step = 0
    while True:
        step += 1
        folder = root / f"step-{step}"
        prepare(folder)
        child = os.fork()
        if child == 0:
            kill_at(step, folder)
            act(folder, 2)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert killed or os.WEXITSTATUS(status) == 0, status
        found = look(folder)
        leftovers = [str(p) for p in folder.rglob("*") if p.name.startswith((".tmp-", ".old-"))]
        # What comes after a crash works like before it.
        if act in (write_run, save_slot):
            act(folder, 3)
            assert "3" in json.dumps(look(folder))
        print(json.dumps({"killed": killed, "found": found, "leftovers": leftovers}), flush=True)
        shutil.rmtree(folder)
        if not killed:
            return


if __name__ == "__main__":
    main()
