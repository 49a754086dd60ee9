"""The end: everything comes to rest, and the server and its disk are asked what there is."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mltetris_api.v1 import run_pb2
from mltetris_client import MlTetrisError
from mltetris_server.errors import DomainError
from mltetris_server.storage import History, checkpoints

from chaos.api import Sdk, batches
from chaos.killer import Killer, processes, runs_worked_on
from chaos.laws import FINAL
from chaos.records import Final, FinalRun
from chaos.world import World, checksum, value_of

PATIENCE_S = 90.0
_COMPLAINTS = ("Traceback", "Fatal Python error")


@dataclass
class _Asked:
    """What the server said there is, as `Final` has it."""

    time: float
    runs: dict[str, FinalRun] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)
    shas: dict[str, str] = field(default_factory=dict)
    active: str | None = None


def end(killer: Killer, world: World, sockets: Path) -> Final:
    """Brings everything to rest, restarts the server once in order, ends it, and looks."""
    damaged: list[str] = []
    idle: list[str] = []
    leftovers: list[str] = []
    asked = _Asked(time.monotonic())
    api = Sdk(killer.server.address)
    try:
        api.trainer.wait_ready()
        idle = _idle(api, killer)
        _stop_everything(api, world)
        # What it leaves it has cleaned up after: a start in order, and an end in order.
        killer.end()
        killer.start()
        leftovers = _leftovers(killer.server.data_dir)
        asked = _ask(api, world)
    except MlTetrisError as error:
        damaged.append(f"the server could not be asked at the end: {error}")
    api.close()
    killer.end()
    orphans = [f"{p.pid}: {' '.join(p.cmdline())}" for p in processes(killer.mark)]
    orphans += [f"socket left: {path.name}" for path in sockets.rglob("*") if not path.is_dir()]
    on_disk, changes = _on_disk(killer.server.data_dir, list(asked.runs))
    runs = {run: replace(last, changes=changes.get(run, ())) for run, last in asked.runs.items()}
    return Final(
        *(asked.time, runs, asked.slots, asked.shas, asked.active),
        idle=tuple(idle),
        damaged=(*damaged, *on_disk),
        leftovers=tuple(leftovers),
        orphans=tuple(orphans),
        faults=(*killer.surprises, *_faults(killer.server.log())),
    )


def _idle(api: Sdk, killer: Killer) -> list[str]:
    """Waits for rest; returns live runs without a worker, and workers without a live run."""
    wrong: list[str] = []

    def at_rest() -> bool:
        runs = {run.id: _state(run) for run in api.trainer.list_runs()}
        worked_on = runs_worked_on(killer.mark)
        live = sorted(r for r, state in runs.items() if state in ("RUNNING", "PAUSED"))
        moving = [r for r, state in runs.items() if state in ("STARTING", "STOPPING")]
        wrong[:] = [f"run {r} is {runs[r]} and does not get on" for r in moving]
        wrong.extend(f"run {r} is {runs[r]} without a worker" for r in live if r not in worked_on)
        wrong.extend(f"a worker of {r} is left" for r in worked_on if r not in live)
        if len(worked_on) != len(set(worked_on)):
            wrong.append(f"more than one worker for a run: {worked_on}")
        return not wrong

    _until(at_rest)
    if wrong:
        return wrong
    going = {
        r.id: r.metrics.sequence
        for r in api.trainer.list_runs(states=["running"])
        if r.HasField("training")
    }

    def getting_on() -> bool:
        for run in list(going):
            now_ = api.trainer.get_run(run)
            if _state(now_) != "RUNNING" or now_.metrics.sequence > going[run]:
                del going[run]
        return not going

    _until(getting_on)
    return [f"run {run} is RUNNING and learns nothing" for run in going]


def _stop_everything(api: Sdk, world: World) -> None:
    for run in api.trainer.list_runs():
        if _state(run) not in FINAL:
            world.call("end", "stop_run", run.id, lambda run=run: api.stop(run.id))
    _until(lambda: all(_state(run) in FINAL for run in api.trainer.list_runs()))
    for run in api.trainer.list_runs():
        world.call("end", "get_run", run.id, lambda run=run: api.get(run.id))


def _ask(api: Sdk, world: World) -> _Asked:
    """What the server says there is."""
    asked = _Asked(time.monotonic())
    for run in api.trainer.list_runs():
        world.saw(run, "end", since=asked.time)
        points = [p for batch in batches(api.metrics(run.id, 0)) for p in batch]
        asked.runs[run.id] = FinalRun(
            run.revision,
            _state(run),
            run_pb2.RunReason.Name(run.reason).removeprefix("RUN_REASON_"),
            run.display_name,
            tuple((point.sequence, checksum(point)) for point in points),
        )
    for slot in api.trainer.list_slots():
        if not slot.reference:
            asked.slots[slot.name] = value_of(slot)
            asked.shas[value_of(slot)] = slot.sha256
            asked.active = slot.name if slot.active else asked.active
    return asked


def _on_disk(
    data_dir: Path, runs: list[str]
) -> tuple[list[str], dict[str, tuple[tuple[str, str], ...]]]:
    """Reads every byte there is; returns what is damaged, and the stored states of runs."""
    damaged = []
    with sqlite3.connect(data_dir / "mltetris.db") as connection:
        for pragma in ("integrity_check", "foreign_key_check"):
            answer = connection.execute(f"PRAGMA {pragma}").fetchall()
            if answer not in ([("ok",)], []):
                damaged.append(f"mltetris.db: {pragma}: {answer[:3]}")
    connection.close()
    manifests = sorted(data_dir.glob("slots/*/manifest.json"))
    manifests += sorted(data_dir.glob("runs/*/*/*/manifest.json"))
    for manifest in manifests:
        try:
            checkpoints.read(manifest.parent)
        except DomainError as error:
            damaged.append(str(error))
    changes = {}
    with History(data_dir / "mltetris.db") as history:
        for run in runs:
            changes[run] = tuple(
                (
                    run_pb2.RunState.Name(change.state).removeprefix("RUN_STATE_"),
                    run_pb2.RunReason.Name(change.reason).removeprefix("RUN_REASON_"),
                )
                for change in history.state_changes(run)
            )
    return damaged, changes


def _leftovers(data_dir: Path) -> list[str]:
    """What no write that came to its end, and no recovery, leaves."""
    found = [path for path in data_dir.rglob("*") if path.name.startswith((".tmp-", ".old-"))]
    found += [path for path in data_dir.glob("slots/*") if path.is_dir() and not _whole(path)]
    found += [path for path in data_dir.glob("runs/*/*/*") if path.is_dir() and not _whole(path)]
    found += data_dir.glob("runs/*/spool")
    return [str(path.relative_to(data_dir)) for path in sorted(found)]


def _whole(folder: Path) -> bool:
    return (folder / "manifest.json").is_file()


def _faults(log: str) -> list[str]:
    """Unexpected errors that the server has logged."""
    found = []
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            if line.startswith(_COMPLAINTS) or "exception was never retrieved" in line:
                found.append(line)
            continue
        if entry.get("level") in ("error", "critical") and _is_fault(entry):
            found.append(line[:600])
    return found


def _is_fault(entry: dict[str, object]) -> bool:
    return "exception" in entry or "unexpected" in str(entry.get("event"))


def _state(run: run_pb2.Run) -> str:
    return run_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
