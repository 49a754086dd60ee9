"""The audit trail: every change is in it, with who made it and how it ended."""

from __future__ import annotations

from pathlib import Path

import mltetris_client
import pytest
from mltetris_api.v1 import system_pb2, trainer_pb2
from mltetris_client import AlreadyExists, InvalidArgument, NotFound
from mltetris_server import errors
from mltetris_server.service.access import OPERATOR
from mltetris_server.service.trail import is_recorded
from mltetris_server.storage.activity import ActivityStore
from mltetris_server.storage.database import open_engine
from support.server import ServerProcess

SERVICE = trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"]


def test_what_is_done_and_what_is_refused_is_written_down(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "data") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        trainer.save_slot("a", slot="bcts")
        trainer.update_slot("a", new_name="b")
        with pytest.raises(AlreadyExists):
            trainer.save_slot("b", slot="bcts")
        with pytest.raises(NotFound):
            trainer.pause_run("train-none")
        with pytest.raises(NotFound):
            trainer.start_training(from_slot="nowhere")
        with pytest.raises(InvalidArgument):
            # Not a request at all: nothing was to be done.
            trainer.start_training(width=3)
        exported = tmp_path / "b.slot.zip"
        trainer.export_slot("b", exported)
        trainer.import_slot(exported, "c")
        trainer.activate_slot("c")
        trainer.delete_slot("b")
        trainer.list_runs()
        trainer.get_slot("c")
        entries = trainer.list_activity()
        told = [(entry.method, entry.slot, entry.run, entry.code) for entry in reversed(entries)]
        assert told == [
            ("SaveSlot", "a", "", 0),
            ("UpdateSlot", "b", "", 0),
            ("SaveSlot", "b", "", 6),
            ("PauseRun", "", "train-none", 5),
            ("StartRun", "", "", 5),
            ("ExportSlot", "b", "", 0),
            ("ImportSlot", "c", "", 0),
            ("ActivateSlot", "c", "", 0),
            ("DeleteSlot", "b", "", 0),
        ]
        assert {entry.peer for entry in entries} == {"127.0.0.1"}
        assert {entry.role for entry in entries} == {OPERATOR}
        assert [entry.number for entry in entries] == list(range(len(entries), 0, -1))
        times = [entry.time.ToNanoseconds() for entry in entries]
        assert times == sorted(times, reverse=True)
        assert entries[0].summary == "deleted slot b"
        assert "nowhere" in entries[4].summary
        assert [entry.method for entry in trainer.list_activity(slot="c")] == [
            "ActivateSlot",
            "ImportSlot",
        ]
        assert [entry.method for entry in trainer.list_activity(run="train-none")] == ["PauseRun"]
        assert trainer.list_activity(limit=2) == entries[:2]
    with server, mltetris_client.connect(server.address) as trainer:
        assert trainer.list_activity() == entries


def test_a_run_is_named_by_the_id_it_got(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "data") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        run = trainer.start_demo(["random"])
        trainer.stop_run(run.id)
        entries = trainer.list_activity(run=run.id)
        assert [entry.summary for entry in entries] == [f"stopped {run.id}", f"started {run.id}"]


@pytest.mark.parametrize("method", SERVICE.methods, ids=lambda method: str(method.name))
def test_every_method_that_changes_something_is_recorded(method) -> None:  # type: ignore[no-untyped-def]
    looks = method.name.startswith(("Get", "List", "Watch", "Stream"))
    assert is_recorded(method) == (not looks)


def test_only_the_newest_entries_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "mltetris.db"
    engine = open_engine(path)
    store = ActivityStore(engine, engine, path, most_kept=10)
    for k in range(35):
        store.add(system_pb2.Activity(method=f"m{k}"))
        assert store.count() <= 20
    entries, _ = store.page(page_size=1000)
    assert [entry.method for entry in entries][:10] == [f"m{k}" for k in range(34, 24, -1)]
    engine.dispose()


def test_pages_follow_each_other_and_a_token_is_of_one_list(tmp_path: Path) -> None:
    path = tmp_path / "mltetris.db"
    engine = open_engine(path)
    store = ActivityStore(engine, engine, path)
    for k in range(7):
        store.add(system_pb2.Activity(method=f"m{k}", run="r" if k % 2 else ""))
    first, token = store.page(page_size=4)
    rest, end = store.page(page_size=4, page_token=token)
    assert [entry.number for entry in first + rest] == [7, 6, 5, 4, 3, 2, 1]
    assert end == ""
    with pytest.raises(errors.InvalidArgument):
        store.page(run="r", page_token=token)
    engine.dispose()
