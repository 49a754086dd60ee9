"""Slots over the wire: saved, listed, changed, sent out and taken in, whole or not at all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from mltetris_api.v1 import run_pb2, slot_pb2, trainer_pb2
from mltetris_server.storage import bundle
from support.calls import Client, import_requests, training
from support.checkpoints import a_checkpoint, flip_bit

GOOD = bundle.pack(a_checkpoint(1000, mean_lines=50))
BETTER = bundle.pack(a_checkpoint(2000, mean_lines=70))
REFERENCES = ("bcts", "dellacherie", "dt10", "random")


def import_slot(
    client: Client, name: str, data: bytes, *, overwrite: bool = False
) -> slot_pb2.Slot:
    slot: slot_pb2.Slot = client.call(
        "ImportSlot", import_requests(name, data, overwrite=overwrite)
    ).slot
    return slot


def export(client: Client, name: str, *, weights_only: bool = False) -> bytes:
    request = trainer_pb2.ExportSlotRequest(name=name, weights_only=weights_only)
    header, *chunks = client.call("ExportSlot", request)
    data = b"".join(part.chunk for part in chunks)
    assert header.header.size_bytes == len(data)
    assert header.header.sha256 == hashlib.sha256(data).hexdigest()
    assert header.header.file_name == f"{name}.slot.zip"
    assert all(0 < len(part.chunk) <= 65536 for part in chunks)
    return data


def slots(client: Client, **fields: object) -> list[slot_pb2.Slot]:
    request = trainer_pb2.ListSlotsRequest(**fields)  # type: ignore[arg-type]
    return list(client.call("ListSlots", request).slots)


def names(client: Client, order_by: str = "") -> list[str]:
    """The slots that were kept; the reference players are there always."""
    return [slot.name for slot in slots(client, order_by=order_by) if not slot.reference]


def slot(client: Client, name: str) -> slot_pb2.Slot:
    found: slot_pb2.Slot = client.call("GetSlot", trainer_pb2.GetSlotRequest(name=name)).slot
    return found


def test_a_slot_comes_back_as_it_went(client: Client) -> None:
    taken_in = import_slot(client, "one", GOOD)
    assert taken_in.evaluation.mean_lines == 50
    assert export(client, "one") == GOOD
    again = import_slot(client, "two", export(client, "one"))
    assert again.sha256 == taken_in.sha256
    small = export(client, "one", weights_only=True)
    assert len(small) < len(GOOD)
    assert not import_slot(client, "three", small).resumable


def test_the_leaderboard(client: Client) -> None:
    import_slot(client, "a-worse", GOOD)
    import_slot(client, "b-better", BETTER)
    assert names(client) == ["b-better", "a-worse"]
    assert names(client, "name") == ["a-worse", "b-better"]
    whole = [slot.name for slot in slots(client)]
    assert {"a-worse", "b-better", *REFERENCES} == set(whole)
    page = client.call("ListSlots", trainer_pb2.ListSlotsRequest(page_size=4))
    assert [s.name for s in page.slots] == whole[:4]
    rest = client.call(
        "ListSlots", trainer_pb2.ListSlotsRequest(page_size=4, page_token=page.next_page_token)
    )
    assert [s.name for s in rest.slots] == whole[4:]
    assert not rest.next_page_token


def test_a_slot_is_copied_changed_activated_and_removed(client: Client) -> None:
    original = import_slot(client, "one", GOOD)
    copy = client.call(
        "SaveSlot",
        trainer_pb2.SaveSlotRequest(name="copy", slot="one", notes="für später", tags=["a", "b"]),
    ).slot
    assert (copy.source_slot, copy.sha256, copy.notes) == ("one", original.sha256, "für später")
    again = trainer_pb2.SaveSlotRequest(name="copy", slot="one")
    assert client.refusal("SaveSlot", again).code == grpc.StatusCode.ALREADY_EXISTS
    again.overwrite = True
    assert client.call("SaveSlot", again).slot.notes == ""
    renamed = client.call(
        "UpdateSlot",
        trainer_pb2.UpdateSlotRequest(
            name="copy",
            update={"name": "other", "notes": "kept out by the mask", "tags": ["x"]},
            update_mask=FieldMask(paths=["name", "tags"]),
        ),
    ).slot
    assert (renamed.name, renamed.notes, list(renamed.tags)) == ("other", "", ["x"])
    assert client.call("ActivateSlot", trainer_pb2.ActivateSlotRequest(name="other")).slot.active
    delete = trainer_pb2.DeleteSlotRequest(name="other")
    refusal = client.refusal("DeleteSlot", delete)
    assert refusal.code == grpc.StatusCode.FAILED_PRECONDITION
    assert "force" in refusal.text
    delete.force = True
    client.call("DeleteSlot", delete)
    assert names(client) == ["one"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda requests: requests[:-1], grpc.StatusCode.INVALID_ARGUMENT),
        (lambda requests: requests[1:], grpc.StatusCode.INVALID_ARGUMENT),
        (lambda requests: [], grpc.StatusCode.INVALID_ARGUMENT),
        (lambda requests: [requests[0], *requests], grpc.StatusCode.INVALID_ARGUMENT),
        (lambda requests: [*requests, requests[-1]], grpc.StatusCode.INVALID_ARGUMENT),
        (
            lambda requests: list(import_requests("new", GOOD, sha256="0" * 64)),
            grpc.StatusCode.DATA_LOSS,
        ),
        (lambda requests: list(import_requests("new", b"no zip")), grpc.StatusCode.DATA_LOSS),
        (
            lambda requests: list(import_requests("new", GOOD[: len(GOOD) // 2])),
            grpc.StatusCode.DATA_LOSS,
        ),
        (lambda requests: list(import_requests("one", GOOD)), grpc.StatusCode.ALREADY_EXISTS),
        (
            lambda requests: list(import_requests("new", GOOD, size_bytes=2**28 + 1)),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ],
)
def test_an_import_that_is_none_leaves_nothing(
    client: Client, change: object, code: grpc.StatusCode
) -> None:
    before = import_slot(client, "one", BETTER)
    requests = change(list(import_requests("new", GOOD)))  # type: ignore[operator]
    assert client.refusal("ImportSlot", iter(requests)).code == code
    assert names(client) == ["one"]
    assert slot(client, "one") == before


def test_an_interrupted_import_leaves_nothing(client: Client) -> None:
    import_slot(client, "one", BETTER)
    halfway, forever = threading.Event(), threading.Event()

    def requests() -> Iterator[trainer_pb2.ImportSlotRequest]:
        yield from list(import_requests("one", GOOD, overwrite=True))[:-1]
        halfway.set()
        forever.wait()

    call = client.stub.ImportSlot.future(requests())
    assert halfway.wait(20)
    call.cancel()
    forever.set()
    assert slot(client, "one").evaluation.mean_lines == 70
    assert names(client) == ["one"]
    assert not list(client.server.data_dir.glob("slots/.*"))


def test_a_damaged_slot_is_refused_and_can_be_removed(client: Client) -> None:
    import_slot(client, "one", GOOD)
    import_slot(client, "two", GOOD)
    flip_bit(client.server.data_dir / "slots" / "one" / "policy.safetensors")
    for method, request in (
        ("GetSlot", trainer_pb2.GetSlotRequest(name="one")),
        ("ExportSlot", trainer_pb2.ExportSlotRequest(name="one")),
        ("ActivateSlot", trainer_pb2.ActivateSlotRequest(name="one")),
        ("SaveSlot", trainer_pb2.SaveSlotRequest(name="new", slot="one")),
        ("StartRun", training(slot="one")),
    ):
        refusal = client.refusal(method, request)
        assert refusal.code == grpc.StatusCode.DATA_LOSS, method
        assert "policy.safetensors" in refusal.text, method
    client.call("DeleteSlot", trainer_pb2.DeleteSlotRequest(name="one"))
    assert names(client) == ["two"]


def test_reference_players_are_slots_that_nobody_made(client: Client) -> None:
    listed = {slot.name: slot for slot in slots(client)}
    assert tuple(sorted(listed)) == REFERENCES
    for name, found in listed.items():
        assert found == slot(client, name)
        assert found.reference and not found.active and not found.resumable
        assert found.algorithm == run_pb2.ALGORITHM_UNSPECIFIED
        assert (found.game.width, found.game.height) == (10, 20)
        assert (found.evaluation.games, found.evaluation.max_lines) == (100, 2500)
        assert found.notes.startswith(f"{name}: ")
    assert listed["dt10"].features == run_pb2.FEATURE_SET_DT
    assert "Gabillon" in listed["dt10"].notes
    assert listed["random"].evaluation.mean_lines < 1
    assert [slot.name for slot in slots(client)][-1] == "random"


def test_a_reference_player_is_copied_exported_and_activated(client: Client) -> None:
    original = slot(client, "bcts")
    copy = client.call("SaveSlot", trainer_pb2.SaveSlotRequest(name="mine", slot="bcts")).slot
    assert (copy.sha256, copy.source_slot, copy.reference) == (original.sha256, "bcts", False)
    taken_in = import_slot(client, "again", export(client, "bcts"))
    assert (taken_in.sha256, taken_in.reference) == (original.sha256, False)
    assert client.call("ActivateSlot", trainer_pb2.ActivateSlotRequest(name="bcts")).slot.active
    client.server.restart()
    assert slot(client, "bcts").active
    for name in ("bcts", "mine"):
        refusal = client.refusal(
            "ExportSlot",
            trainer_pb2.ExportSlotRequest(name=name, format=slot_pb2.SLOT_FORMAT_SB3),
        )
        assert refusal.code == grpc.StatusCode.FAILED_PRECONDITION
        assert name in refusal.text and "cem" in refusal.text


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_takes_a_reference_players_name(client: Client, overwrite: bool) -> None:
    import_slot(client, "mine", GOOD)
    before = slots(client)
    for method, request, code in (
        (
            "SaveSlot",
            trainer_pb2.SaveSlotRequest(name="bcts", slot="mine", overwrite=overwrite),
            grpc.StatusCode.ALREADY_EXISTS,
        ),
        (
            "ImportSlot",
            import_requests("BCTS", GOOD, overwrite=overwrite),
            grpc.StatusCode.ALREADY_EXISTS,
        ),
        (
            "UpdateSlot",
            trainer_pb2.UpdateSlotRequest(
                name="mine", update={"name": "bcts"}, update_mask=FieldMask(paths=["name"])
            ),
            grpc.StatusCode.ALREADY_EXISTS,
        ),
        (
            "UpdateSlot",
            trainer_pb2.UpdateSlotRequest(
                name="bcts", update={"notes": "mine"}, update_mask=FieldMask(paths=["notes"])
            ),
            grpc.StatusCode.FAILED_PRECONDITION,
        ),
        (
            "DeleteSlot",
            trainer_pb2.DeleteSlotRequest(name="bcts", force=overwrite),
            grpc.StatusCode.FAILED_PRECONDITION,
        ),
    ):
        refusal = client.refusal(method, request)
        assert refusal.code == code, method
        assert "bcts is a reference player" in refusal.text, method
        assert "another name" in refusal.text or method == "DeleteSlot", method
    assert slots(client) == before


def test_what_a_training_may_begin_with(client: Client) -> None:
    refusal = client.refusal("StartRun", training(slot="bcts", algorithm=run_pb2.ALGORITHM_TD))
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "slot bcts" in refusal.text and "td" in refusal.text
