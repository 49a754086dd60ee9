"""A power cut while something is written: it is there whole, or what was there before is.

Other than a kill, a power cut loses what the system had not yet given to the device. Every step of
every write is tried against a disk that forgets as much as it may.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from mltetris_server.storage import (
    DataDir,
    SlotStore,
    checkpoints,
    dataset_record,
    slot_record,
    slots,
)
from storage.kill_driver import (
    SCENARIOS,
    Found,
    StandingClock,
    nothing,
    read_slots,
    save_slot,
    take_spooled,
)
from support.power import Disk, build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def new_data_dir(folder: Path, placements: int) -> None:
    """A server that is started for the first time, and a first slot."""
    with DataDir.open(folder / "new" / "data") as data_dir:
        save_slot(data_dir.slots, placements)


def read_data_dir(folder: Path) -> Found:
    path = folder / "new" / "data" / "slots"
    return read_slots(path) if path.exists() else Found({"slots": {}, "active": None}, {})


CASES = SCENARIOS | {"new data directory": (nothing, new_data_dir, read_data_dir)}


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (checkpoints, slot_record, slots, dataset_record):
        monkeypatch.setattr(module, "datetime", StandingClock)


@pytest.mark.parametrize("scenario", CASES)
def test_a_power_cut_at_any_step_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str
) -> None:
    prepare, act, look = CASES[scenario]
    folder = tmp_path / "disk"
    prepare(folder)
    build(Disk(folder).least, tmp_path / "before")
    before = look(tmp_path / "before")
    disk = Disk(folder)
    with disk.watched(monkeypatch):
        act(folder, 2)
    assert disk.broken == []
    acknowledged = disk.least
    # What was acknowledged is there after the worst cut; a spool is removed when it is taken in.
    build(acknowledged, tmp_path / "least")
    after = look(tmp_path / "least")
    assert after == look(folder)
    assert (after == before) is (act is take_spooled)
    assert len(disk.cuts) >= 4, "too few steps for the test to say anything"
    whole: list[Any] = [before, after]
    seen = []
    for number, cut in enumerate(disk.cuts):
        left = tmp_path / f"cut-{number}"
        build(cut, left)
        seen.append(look(left))
    if scenario == "many checkpoints":
        whole = [found for k, found in enumerate(seen) if found not in seen[:k]]
        assert [found.words for found in whole] == [1, 2, 3, 4]
    assert all(found in whole for found in seen), [found.words for found in seen]


def test_every_name_that_was_made_is_on_the_device_when_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path)
    with disk.watched(monkeypatch):
        with DataDir.open(tmp_path / "data") as data_dir:
            store = SlotStore(data_dir.slots)
            save_slot(data_dir.slots, 1)
            store.activate("one")
            store.update("one", notes="n")
        # The lock is no data: whoever opens the directory makes it again.
        assert [name for name in disk.unsynced if name != "data/lock"] == []
