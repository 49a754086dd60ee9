"""Slots: saved, changed, and carried away and back as files that are checked."""

from __future__ import annotations

from pathlib import Path

import mltetris_client
import pytest
from mltetris_client import AlreadyExists, DataLoss, InvalidArgument, NotFound, Trainer, WrongState
from support.checkpoints import flip_bit
from support.server import ServerProcess
from support.small import in_state


@pytest.fixture(scope="module")
def saved(shared: ServerProcess) -> str:
    """A slot that is there already."""
    with mltetris_client.connect(shared.address) as trainer:
        run = trainer.start_training()
        in_state(trainer, run.id, "running")
        trainer.stop_run(run.id)
        slot = trainer.save_slot(
            "saved", run=run.id, checkpoint="final", notes="first", tags=["a", "b"]
        )
        assert (slot.name, slot.notes, list(slot.tags)) == ("saved", "first", ["a", "b"])
        assert slot.source_run == run.id
    return "saved"


def test_slots_are_kept_and_changed(trainer: Trainer, saved: str) -> None:
    copy = trainer.save_slot("copy", slot=saved)
    assert copy.source_slot == saved
    with pytest.raises(AlreadyExists):
        trainer.save_slot("copy", slot=saved)
    trainer.save_slot("copy", slot=saved, overwrite=True)
    assert {"copy", "saved"} <= {slot.name for slot in trainer.list_slots()}
    first = trainer.list_slots(order_by="name", limit=2)
    assert [(slot.name, slot.reference) for slot in first] == [("bcts", True), ("copy", False)]
    changed = trainer.update_slot("copy", new_name="moved", notes="", tags=["x"])
    assert (changed.name, changed.notes, list(changed.tags)) == ("moved", "", ["x"])
    assert trainer.update_slot("moved", tags=[]).tags == []
    assert trainer.activate_slot("moved").active
    with pytest.raises(WrongState):
        trainer.delete_slot("moved")
    trainer.delete_slot("moved", force=True)
    with pytest.raises(NotFound):
        trainer.get_slot("moved")
    with pytest.raises(InvalidArgument):
        trainer.update_slot(saved)
    with pytest.raises(InvalidArgument, match="not both"):
        trainer.save_slot("x", run="train-000000", slot=saved)


def test_export_and_import_make_the_same_slot(trainer: Trainer, saved: str, tmp_path: Path) -> None:
    path = trainer.export_slot(saved, tmp_path)
    assert path == tmp_path / "saved.slot.zip"
    assert [file.name for file in tmp_path.iterdir()] == ["saved.slot.zip"]
    with pytest.raises(AlreadyExists, match="exists"):
        trainer.export_slot(saved, path)
    assert trainer.export_slot(saved, path, overwrite=True) == path
    smaller = trainer.export_slot(saved, tmp_path / "small.zip", weights_only=True)
    assert smaller.stat().st_size < path.stat().st_size
    again = trainer.import_slot(path, "imported")
    assert again.placements == trainer.get_slot(saved).placements
    with pytest.raises(AlreadyExists):
        trainer.import_slot(path, "imported")
    trainer.import_slot(path, "imported", overwrite=True)
    renamed = path.rename(tmp_path / "by-its-file.slot.zip")
    assert trainer.import_slot(renamed).name == "by-its-file"


def test_damaged_and_wrong_files_are_refused(trainer: Trainer, saved: str, tmp_path: Path) -> None:
    path = trainer.export_slot(saved, tmp_path / "x.slot.zip")
    size = path.stat().st_size
    flip_bit(path)
    before = {slot.name for slot in trainer.list_slots()}
    with pytest.raises((DataLoss, InvalidArgument)):
        trainer.import_slot(path, "damaged")
    path.write_bytes(path.read_bytes()[: size // 2])
    with pytest.raises((DataLoss, InvalidArgument)):
        trainer.import_slot(path, "damaged")
    (tmp_path / "empty").touch()
    with pytest.raises(InvalidArgument):
        trainer.import_slot(tmp_path / "empty", "damaged")
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(256 * 1024 * 1024 + 1)  # sparse: takes no room
    with pytest.raises(InvalidArgument, match="256 MiB"):
        trainer.import_slot(tmp_path / "huge", "damaged")
    with pytest.raises(FileNotFoundError):
        trainer.import_slot(tmp_path / "nothing", "damaged")
    with pytest.raises(InvalidArgument):
        trainer.import_slot(trainer.export_slot(saved, tmp_path / "ok.zip"), "../damaged")
    assert {slot.name for slot in trainer.list_slots()} == before


def test_a_damaged_slot_is_not_exported(
    trainer: Trainer, shared: ServerProcess, saved: str, tmp_path: Path
) -> None:
    trainer.save_slot("broken", slot=saved)
    flip_bit(shared.data_dir / "slots" / "broken" / "policy.safetensors")
    with pytest.raises(DataLoss, match=r"policy\.safetensors"):
        trainer.export_slot("broken", tmp_path / "broken.zip")
    assert list(tmp_path.iterdir()) == []
    trainer.delete_slot("broken")


def test_an_import_that_breaks_off_leaves_nothing(
    trainer: Trainer, shared: ServerProcess, saved: str, tmp_path: Path
) -> None:
    """The file ends before its length: as if it was changed while it was read."""
    import hashlib
    from collections.abc import Iterator

    from mltetris_api.v1 import trainer_pb2, trainer_pb2_grpc

    data = trainer.export_slot(saved, tmp_path / "x.zip").read_bytes()

    def half() -> Iterator[trainer_pb2.ImportSlotRequest]:
        header = trainer_pb2.ImportHeader(
            name="half", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )
        yield trainer_pb2.ImportSlotRequest(header=header)
        yield trainer_pb2.ImportSlotRequest(chunk=data[: len(data) // 2])
        raise OSError("the disk went away")

    import grpc

    with shared.channel() as channel, pytest.raises(grpc.RpcError):
        trainer_pb2_grpc.TrainerServiceStub(channel).ImportSlot(half(), timeout=10)
    with pytest.raises(NotFound):
        trainer.get_slot("half")
    assert not [path for path in (shared.data_dir / "slots").iterdir() if "half" in path.name]


def test_an_export_that_is_damaged_on_its_way_is_not_written(
    trainer: Trainer, saved: str, tmp_path: Path
) -> None:
    from mltetris_api.v1 import trainer_pb2
    from mltetris_client.transfer import _write_checked

    header = trainer_pb2.ExportHeader(file_name="x", size_bytes=3, sha256="0" * 64)
    for chunks in ([b"abc"], [b"ab"], [b"abcd"]):
        with pytest.raises(DataLoss):
            _write_checked(tmp_path / "x", iter(chunks), header)
    assert list(tmp_path.iterdir()) == []


def test_the_server_cannot_choose_the_folder(tmp_path: Path) -> None:
    from mltetris_api.v1 import trainer_pb2
    from mltetris_client.transfer import _target

    for name in ("../x", "/etc/passwd", "..", "", "a\\b", "C:x", "x\0"):
        header = trainer_pb2.ExportHeader(file_name=name)
        assert _target(tmp_path, header, "slot") == tmp_path / "slot.zip"
