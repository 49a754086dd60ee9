"""Everything dies at once, server and workers: what was acknowledged is there afterwards."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import mltetris_client
import psutil
import pytest
from mltetris_api.v1 import run_pb2, system_pb2
from mltetris_api.v1.run_pb2 import RunReason
from mltetris_client import MlTetrisError, Trainer
from mltetris_server.storage.history import FINAL_STATES, History
from mltetris_server.storage.run_store import RunStore
from support.checkpoints import a_checkpoint
from support.server import ServerProcess
from support.small import PATIENCE_S, eventually, in_state, small_service
from support.watchers import EventWatcher, MetricWatcher

LIVE = frozenset(run_pb2.RunState.values()) - FINAL_STATES - {run_pb2.RUN_STATE_UNSPECIFIED}
MOST_RUNS = 3

MANY = [pytest.mark.slow, pytest.mark.timeout(900)]


class Caller:
    """A client that does one thing after the other, and what it was told had been done."""

    def __init__(self, trainer: Trainer, dice: random.Random, name: str) -> None:
        self._trainer = trainer
        self._dice = dice
        self._name = name
        self._count = 0
        self.runs: dict[str, int] = {}
        """Restarts that each run may have, by its id."""
        self.names: dict[str, str] = {}
        """The display name of each run."""
        self.slots: dict[str, str] = {}
        """The notes of each slot."""
        self.active = ""
        self.begun = 0
        """Runs that were seen to run."""
        self.asked = 0
        """Things that the server said were done."""
        self.gone_slots: set[str] = set()
        self.unsure: set[str] = set()
        """Slots that a call was about which nobody answered."""
        self.unsure_active = False
        self.moving: tuple[str, str] | None = None
        """A slot's old and new name, where nobody answered."""

    def step(self) -> None:
        """Does something; raises MlTetrisError where the server does not answer."""
        self._count += 1
        choices: list[Callable[[], None]] = [self._save, self._rename_run]
        if len(self.slots) > 1:
            choices += [self._move, self._activate, self._note, self._delete]
        if len(self.runs) < MOST_RUNS:
            choices = [self._start]
        self._dice.choice(choices)()
        self.asked += 1

    def await_begun(self) -> None:
        """Waits, on another thread, until there are runs to lose."""
        eventually(lambda: self.begun == MOST_RUNS, "the first runs")

    def _start(self) -> None:
        restarts = self._dice.choice([0, 20])
        run = self._trainer.start_training(restarts=restarts, restart_backoff=0.01)
        self.runs[run.id] = restarts
        # Without one there is nothing to save from.
        eventually(
            lambda: self._trainer.get_run(run.id).state == run_pb2.RUN_STATE_RUNNING, "it to run"
        )
        self.begun += 1

    def _rename_run(self) -> None:
        run, name = self._dice.choice(sorted(self.runs)), f"name {self._name}-{self._count}"
        self.names.pop(run, None)
        self._trainer.update_run(run, display_name=name)
        self.names[run] = name

    def _save(self) -> None:
        live = [r for r in sorted(self.runs) if self._trainer.get_run(r).state in LIVE]
        if not live:
            self._start()
            return
        name, notes = f"slot-{self._name}-{self._count}", f"notes {self._count}"
        self.unsure.add(name)
        self._trainer.save_slot(name, run=self._dice.choice(live), checkpoint="latest", notes=notes)
        self.unsure.discard(name)
        self.slots[name] = notes

    def _move(self) -> None:
        name, new = self._dice.choice(sorted(self.slots)), f"moved-{self._name}-{self._count}"
        self._about(name, new)
        notes = self.slots.pop(name)
        self.moving = name, new
        self._trainer.update_slot(name, new_name=new)
        self.moving = None
        self._sure(name, new)
        self.gone_slots.add(name)
        self.slots[new] = notes
        if self.active == name:
            self.active = new

    def _note(self) -> None:
        name = self._dice.choice(sorted(self.slots))
        self._about(name)
        self.slots.pop(name)
        self._trainer.update_slot(name, notes=f"other {self._count}")
        self._sure(name)
        self.slots[name] = f"other {self._count}"

    def _activate(self) -> None:
        name = self._dice.choice(sorted(self.slots))
        self.unsure_active = True
        self._trainer.activate_slot(name)
        self._sure()
        self.active = name

    def _delete(self) -> None:
        name = self._dice.choice(sorted(set(self.slots) - {self.active}))
        self._about(name)
        self.slots.pop(name)
        self._trainer.delete_slot(name)
        self._sure(name)
        self.gone_slots.add(name)

    def _about(self, *names: str) -> None:
        self.unsure.update(names)
        self.unsure_active = self.unsure_active or self.active in names

    def _sure(self, *names: str) -> None:
        self.unsure.difference_update(names)
        self.unsure_active = False


def power_cut(server: ServerProcess) -> None:
    """Kills the server and all workers at once."""
    workers = server.workers()
    assert server.process is not None
    server.process.kill()
    for worker in workers:
        worker.kill()
    server.kill()
    psutil.wait_procs(workers, timeout=PATIENCE_S)


def activities(trainer: Trainer) -> list[system_pb2.Activity]:
    return trainer.list_activity(limit=None)


@pytest.mark.parametrize(
    "cuts", [pytest.param(3, id="few"), pytest.param(20, id="many", marks=MANY)]
)
def test_nothing_acknowledged_is_missing(tmp_path: Path, cuts: int) -> None:
    dice = random.Random(cuts)
    asked = checked = 0
    with small_service(tmp_path / "data", "--max-runs", str(2 * MOST_RUNS * (cuts + 1))) as server:
        for cut in range(cuts):
            with mltetris_client.connect(server.address) as trainer:
                begun = len(activities(trainer))
                caller = Caller(trainer, dice, f"{cut}")
                with EventWatcher(trainer) as events:
                    done = threading.Thread(target=work, args=(caller,))
                    done.start()
                    caller.await_begun()
                    watchers = {run: MetricWatcher(trainer, run) for run in sorted(caller.runs)}
                    time.sleep(dice.uniform(0.2, 1.2))
                    power_cut(server)
                    done.join(PATIENCE_S)
                    assert not done.is_alive()
                seen = {run: watcher.cancel() for run, watcher in watchers.items()}
            server.start()
            with mltetris_client.connect(server.address) as trainer:
                check(trainer, caller, seen)
                assert len(activities(trainer)) - begun >= caller.asked
                # The next round needs places and disk.
                for run in caller.runs:
                    trainer.stop_run(run)
            asked += caller.asked
            checked += sum(len(points) for points in seen.values())
            last = events, caller, seen
    check_history(tmp_path / "data", *last)
    print(f"{cuts} cuts, {asked} things done, {checked} points seen: none missing")


def work(caller: Caller) -> None:
    """Goes on until there is nobody to answer."""
    try:
        while True:
            caller.step()
    except (MlTetrisError, AssertionError):
        return


def check(trainer: Trainer, caller: Caller, seen: dict[str, list[run_pb2.MetricPoint]]) -> None:
    """Whether everything is as `caller` was told, and as the watchers saw it."""
    slots = {slot.name: slot for slot in trainer.list_slots()}
    for name, notes in caller.slots.items():
        assert slots[name].notes == notes
        assert trainer.get_slot(name).placements > 0
    assert not caller.gone_slots & set(slots) - caller.unsure
    if caller.moving is not None:
        assert len(set(caller.moving) & set(slots)) == 1, "by the one name or by the other"
    if not caller.unsure_active and caller.active:
        assert [name for name, slot in slots.items() if slot.active] == [caller.active]
    for run, restarts in caller.runs.items():
        now = trainer.get_run(run)
        if run in caller.names:
            assert now.display_name == caller.names[run]
        if restarts:
            eventually(
                lambda run=run: (  # type: ignore[misc]
                    trainer.get_run(run).restarts == 1
                    and trainer.get_run(run).state == run_pb2.RUN_STATE_RUNNING
                ),
                "it to run again",
            )
        else:
            assert now.state == run_pb2.RUN_STATE_FAILED
            assert now.reason == RunReason.RUN_REASON_SERVER_RESTARTED
        stored = list(trainer.stream_metrics(run).history())
        assert [p.sequence for p in stored] == list(range(1, len(stored) + 1))
        if run in seen:
            assert stored[: len(seen[run])] == seen[run]


def check_history(
    data_dir: Path,
    events: EventWatcher,
    caller: Caller,
    seen: dict[str, list[run_pb2.MetricPoint]],
) -> None:
    """Whether every state that anybody saw is in the history, and every episode."""
    states: dict[str, list[int]] = defaultdict(list)
    for run in events.runs:
        if not states[run.id] or states[run.id][-1] != run.state:
            states[run.id].append(run.state)
    with History(data_dir / "mltetris.db") as history:
        for run in caller.runs:
            changes = [change.state for change in history.state_changes(run)]
            told = states[run]
            assert changes[: len(told)] == told
            numbers = {episode.number for episode in history.episodes(run, 10**6)}
            assert {e.number for e in events.episodes if e.run == run} <= numbers


def test_a_checkpoint_that_was_stored_and_not_noted_is_noted(tmp_path: Path) -> None:
    with (
        small_service(tmp_path / "data") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        run = trainer.start_training().id
        in_state(trainer, run, "running")
        trainer.save_slot("mine", run=run, checkpoint="latest")
        power_cut(server)
        made = a_checkpoint(10**9)
        stored = RunStore(tmp_path / "data" / "runs").write(
            run,
            run_pb2.CHECKPOINT_KIND_LATEST,
            model=made.manifest.model_json,
            files=made.files,
            placements=10**9,
        )
        server.start()
        assert list(in_state(trainer, run, "failed").checkpoints) == [stored]


def test_what_is_stored_survives_a_power_cut_as_far_as_sqlite_can_see_to_it(tmp_path: Path) -> None:
    """A test cannot cut the power: what decides is when SQLite waits for the device."""
    with (
        History(tmp_path / "mltetris.db") as history,
        history._engine.begin() as connection,
    ):
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "fullfsync", "checkpoint_fullfsync")
        }
    # 2: FULL, each transaction waits until its part of the log is on the device.
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "fullfsync": 1,
        "checkpoint_fullfsync": 1,
    }
