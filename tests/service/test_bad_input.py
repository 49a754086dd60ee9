"""Every bad argument is refused with its code, its field and a line that says what to do."""

from __future__ import annotations

import base64
import io
import json
import math
import zipfile
import zlib
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from mltetris_api.v1 import run_pb2, trainer_pb2
from support.calls import Client, demo, import_requests, training
from support.checkpoints import a_checkpoint

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
BAD_NAMES = ["../x", "", "a" * 65, "a\0b", "naïve", "a b", "a/b", ".", "a\n", "ſlot"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (trainer_pb2.StartRunRequest(), "spec"),
        (training(game={"width": 3}), "training.game.width"),
        (training(game={"width": 33}), "training.game.width"),
        (training(game={"height": 0}), "training.game.height"),
        (training(game={"rule": 9}), "training.game.rule"),
        (training(algorithm=7), "training.algorithm"),
        (training(budget={"target_mean_lines": math.nan}), "training.budget.target_mean_lines"),
        (training(budget={"target_mean_lines": math.inf}), "training.budget.target_mean_lines"),
        (training(budget={"target_mean_lines": -1}), "training.budget.target_mean_lines"),
        (training(budget={"max_placements": 10**16}), "training.budget.max_placements"),
        (training(budget={"max_duration": Duration()}), "training.budget.max_duration"),
        (training(td={"gamma": math.nan}), "training.td.gamma"),
        (training(td={"learning_rate": 0}), "training.td.learning_rate"),
        (training(td={"boards": 0}), "training.td.boards"),
        (training(td={"average_decay": 1}), "training.td.average_decay"),
        (training(td={"training_height": 21}), "training.td.training_height"),
        (training(game={"width": 40}), "training.game.width"),
        (training(td={"hidden_units": 100_000}), "training.td.hidden_units"),
        (training(td={"boards": 4096, "rollout_steps": 1024}), "training.td.window"),
        (training(td={"batch_size": 65_536, "hidden_units": 1024}), "training.td.batch_size"),
        (training(dqn={"learning_rate": math.nan}), "training.dqn.learning_rate"),
        (training(dqn={"memory": 1 << 30}), "training.dqn.memory"),
        (training(dqn={"memory": 10}), "training.dqn.memory"),
        (training(ppo={"clip_range": -1}), "training.ppo.clip_range"),
        (training(ppo={"batch_size": 65_536}), "training.ppo.batch_size"),
        (training(ppo={}, features=run_pb2.FEATURE_SET_BOARD), "training.features"),
        (training(cem={"elite": 4000}), "training.cem.elite"),
        (training(algorithm=run_pb2.ALGORITHM_PPO, td={"gamma": 0.9}), "training.td"),
        (training(features=9), "training.features"),
        (training(threads=0), "training.threads"),
        (training(threads=65), "training.threads"),
        (training(slot="good", dqn={"gamma": 0.9}), "training.algorithm"),
        (training(slot="good", td={"hidden_units": 31}), "training.td.hidden_units"),
        (training(slot="good", algorithm=run_pb2.ALGORITHM_CEM), "training.algorithm"),
        (
            training(game={"height": 12}, td={"training_height": 13}),
            "training.td.training_height",
        ),
        (
            training(budget={"target_mean_lines": 500}, evaluation={"max_lines": 400}),
            "training.budget.target_mean_lines",
        ),
        (training(placements_per_second=math.nan), "training.placements_per_second"),
        (training(placements_per_second=0), "training.placements_per_second"),
        (training(mode=9), "training.mode"),
        (training(slot="../x"), "training.slot"),
        (training(checkpoint={"run": "No Such"}), "training.checkpoint.run"),
        (training(slot="good", features=run_pb2.FEATURE_SET_SIMPLE), "training.features"),
        (training(slot="narrow", game={"width": 9}), "training.game.width"),
        (training(slot="good", game={"width": 9}), "training.game.width"),
        (demo(slots=["narrow"], game={"width": 10}), "demo.slots[0]"),
        (demo(slots=["good", "narrow"]), "demo.slots[1]"),
        (demo(slots=["good", "../x"]), "demo.slots[1]"),
        (demo(slots=["good"] * 5), "demo.slots"),
        (demo(games=1_000_001), "demo.games"),
        (trainer_pb2.StartRunRequest(training={}, display_name="x" * 101), "display_name"),
        (trainer_pb2.StartRunRequest(training={}, display_name="a\x1b[2J"), "display_name"),
        (trainer_pb2.StartRunRequest(training={}, request_id="a b"), "request_id"),
        (trainer_pb2.StartRunRequest(training={}, request_id="x" * 65), "request_id"),
    ],
)
def test_a_run_that_cannot_be(
    idle: Client, request_: trainer_pb2.StartRunRequest, field: str
) -> None:
    refusal = idle.refusal("StartRun", request_)
    assert refusal.code == INVALID
    assert field in refusal.fields
    assert field in refusal.text
    assert "\n" not in refusal.text


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_no_slot_may_have(idle: Client, name: str) -> None:
    requests: list[tuple[str, Any]] = [
        ("GetSlot", trainer_pb2.GetSlotRequest(name=name)),
        ("SaveSlot", trainer_pb2.SaveSlotRequest(name=name, slot="good")),
        ("DeleteSlot", trainer_pb2.DeleteSlotRequest(name=name, force=True)),
        ("ActivateSlot", trainer_pb2.ActivateSlotRequest(name=name)),
        ("ExportSlot", trainer_pb2.ExportSlotRequest(name=name)),
        (
            "ImportSlot",
            iter(
                [
                    trainer_pb2.ImportSlotRequest(
                        header={"name": name, "size_bytes": 1, "sha256": "0" * 64}
                    )
                ]
            ),
        ),
    ]
    for method, request in requests:
        refusal = idle.refusal(method, request)
        assert refusal.code == INVALID, method
        assert refusal.fields == [("header.name" if method == "ImportSlot" else "name")], method
    refusal = idle.refusal(
        "UpdateSlot",
        trainer_pb2.UpdateSlotRequest(
            name="good", update={"name": name}, update_mask=FieldMask(paths=["name"])
        ),
    )
    assert (refusal.code, refusal.fields) == (INVALID, ["update.name"])


@pytest.mark.parametrize("run", ["", "../x", "Train-abc", "a" * 65, "a\0b", "é"])
def test_names_that_no_run_has(idle: Client, run: str) -> None:
    methods = {
        "PauseRun": trainer_pb2.PauseRunRequest(run=run),
        "ResumeRun": trainer_pb2.ResumeRunRequest(run=run),
        "StopRun": trainer_pb2.StopRunRequest(run=run),
        "GetRun": trainer_pb2.GetRunRequest(run=run),
        "DeleteRun": trainer_pb2.DeleteRunRequest(run=run),
        "StreamMetrics": trainer_pb2.StreamMetricsRequest(run=run),
        "StreamBoard": trainer_pb2.StreamBoardRequest(run=run),
    }
    for method, request in methods.items():
        refusal = idle.refusal(method, request)
        assert (refusal.code, refusal.fields) == (INVALID, ["run"]), method


def test_what_is_not_there(idle: Client) -> None:
    run, slot = "train-nosuch", "nosuch"
    latest = run_pb2.RunCheckpoint(run=run)
    requests: dict[str, list[Any]] = {
        "PauseRun": [trainer_pb2.PauseRunRequest(run=run)],
        "ResumeRun": [trainer_pb2.ResumeRunRequest(run=run)],
        "StopRun": [trainer_pb2.StopRunRequest(run=run)],
        "SetSpeed": [trainer_pb2.SetSpeedRequest(run=run, placements_per_second=1)],
        "SetMode": [trainer_pb2.SetModeRequest(run=run)],
        "UpdateRun": [
            trainer_pb2.UpdateRunRequest(
                run=run, update={}, update_mask=FieldMask(paths=["display_name"])
            )
        ],
        "GetRun": [trainer_pb2.GetRunRequest(run=run)],
        "DeleteRun": [trainer_pb2.DeleteRunRequest(run=run)],
        "WatchRuns": [trainer_pb2.WatchRunsRequest(run=run)],
        "StreamMetrics": [trainer_pb2.StreamMetricsRequest(run=run)],
        "StreamBoard": [trainer_pb2.StreamBoardRequest(run=run)],
        "GetSlot": [trainer_pb2.GetSlotRequest(name=slot)],
        "SaveSlot": [
            trainer_pb2.SaveSlotRequest(name="new", slot=slot),
            trainer_pb2.SaveSlotRequest(name="new", checkpoint=latest),
        ],
        "DeleteSlot": [trainer_pb2.DeleteSlotRequest(name=slot)],
        "ActivateSlot": [trainer_pb2.ActivateSlotRequest(name=slot)],
        "ExportSlot": [trainer_pb2.ExportSlotRequest(name=slot)],
        "UpdateSlot": [
            trainer_pb2.UpdateSlotRequest(
                name=slot, update={}, update_mask=FieldMask(paths=["notes"])
            )
        ],
        "StartRun": [training(slot=slot), training(checkpoint=latest), demo(slots=["good", slot])],
    }
    for method, bad in requests.items():
        for request in bad:
            refusal = idle.refusal(method, request)
            assert refusal.code == NOT_FOUND, method
            assert slot in refusal.text or run in refusal.text, method


def test_a_demo_without_slots_needs_an_active_one(idle: Client) -> None:
    refusal = idle.refusal("StartRun", demo())
    assert refusal.code == grpc.StatusCode.FAILED_PRECONDITION
    assert "active" in refusal.text


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("SetSpeed", trainer_pb2.SetSpeedRequest(run="a"), "placements_per_second"),
        (
            "SetSpeed",
            trainer_pb2.SetSpeedRequest(run="a", placements_per_second=math.nan),
            "placements_per_second",
        ),
        (
            "SetSpeed",
            trainer_pb2.SetSpeedRequest(run="a", placements_per_second=1001),
            "placements_per_second",
        ),
        ("SetMode", trainer_pb2.SetModeRequest(run="a", mode=9), "mode"),
        ("UpdateRun", trainer_pb2.UpdateRunRequest(run="a"), "update"),
        (
            "UpdateRun",
            trainer_pb2.UpdateRunRequest(
                run="a", update={"exploration": math.nan}, update_mask={"paths": ["exploration"]}
            ),
            "update.exploration",
        ),
        ("ListRuns", trainer_pb2.ListRunsRequest(page_size=1001), "page_size"),
        ("ListRuns", trainer_pb2.ListRunsRequest(page_token="nonsense"), "page_token"),
        ("ListRuns", trainer_pb2.ListRunsRequest(states=[99]), "states[0]"),
        ("ListSlots", trainer_pb2.ListSlotsRequest(order_by="luck"), "order_by"),
        ("ListSlots", trainer_pb2.ListSlotsRequest(page_token="nonsense"), "page_token"),
        ("StreamBoard", trainer_pb2.StreamBoardRequest(run="a", max_fps=121), "max_fps"),
        ("StreamBoard", trainer_pb2.StreamBoardRequest(run="a", max_fps=math.nan), "max_fps"),
        ("SaveSlot", trainer_pb2.SaveSlotRequest(name="new"), "source"),
        ("SaveSlot", trainer_pb2.SaveSlotRequest(name="new", slot="good", tags=[""]), "tags[0]"),
        (
            "SaveSlot",
            trainer_pb2.SaveSlotRequest(name="new", slot="good", notes="x" * 4001),
            "notes",
        ),
        ("SaveSlot", trainer_pb2.SaveSlotRequest(name="nul", slot="good"), "name"),
        (
            "UpdateSlot",
            trainer_pb2.UpdateSlotRequest(name="good", update={}, update_mask={"paths": ["x"]}),
            "update_mask.paths[0]",
        ),
        (
            "UpdateSlot",
            trainer_pb2.UpdateSlotRequest(name="good", update={}, update_mask={}),
            "update_mask",
        ),
        (
            "UpdateSlot",
            trainer_pb2.UpdateSlotRequest(name="good", update={}, update_mask={"paths": ["name"]}),
            "update.name",
        ),
        (
            "ExportSlot",
            trainer_pb2.ExportSlotRequest(name="good", format=2, weights_only=True),
            "weights_only",
        ),
        ("ExportSlot", trainer_pb2.ExportSlotRequest(name="good", format=9), "format"),
    ],
)
def test_other_bad_arguments(idle: Client, method: str, request_: Any, field: str) -> None:
    refusal = idle.refusal(method, request_)
    assert refusal.code == INVALID
    assert field in refusal.fields
    assert field in refusal.text


def test_a_bundle_that_is_refused_names_what_it_came_in(idle: Client) -> None:
    good = a_checkpoint(1)
    manifest = json.loads(good.manifest_bytes) | {"version": 99}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, content in good.files.items():
            archive.writestr(name, content)
    refusal = idle.refusal("ImportSlot", import_requests("new", packed.getvalue()))
    assert (refusal.code, refusal.fields) == (INVALID, ["chunk"])


def test_formats_that_are_only_declared(idle: Client) -> None:
    refusal = idle.refusal("ExportSlot", trainer_pb2.ExportSlotRequest(name="good", format=3))
    assert refusal.code == grpc.StatusCode.UNIMPLEMENTED


def test_oversized_messages(idle: Client) -> None:
    huge = trainer_pb2.StartRunRequest(training={}, display_name="x" * (5 * 1024 * 1024))
    assert idle.refusal("StartRun", huge).code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_bytes_that_are_no_message(idle: Client) -> None:
    call = idle.channel.unary_unary("/mltetris.v1.TrainerService/GetRun")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff", timeout=10)
    assert caught.value.code() == INVALID  # type: ignore[attr-defined]
    assert "GetRunRequest" in caught.value.details()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_bytes_that_are_no_message_for_what_grpc_brings(idle: Client, path: str) -> None:
    call = idle.channel.stream_stream(path)
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter([b"\xff\xff\xff"]), timeout=10))
    assert caught.value.code() == INVALID  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", [2**63, -(2**70), 2**64])
def test_page_tokens_of_numbers_that_no_list_has(idle: Client, place: int) -> None:
    query = f"runs:{zlib.crc32(repr(([], [])).encode()):x}"
    text = json.dumps([query, [place]]).encode()
    token = base64.urlsafe_b64encode(text).decode().rstrip("=")
    refusal = idle.refusal("ListRuns", trainer_pb2.ListRunsRequest(page_token=token))
    assert (refusal.code, refusal.fields) == (INVALID, ["page_token"])


def test_metrics_after_the_greatest_number(client: Client) -> None:
    run = client.call("StartRun", training()).run.id
    client.call("StopRun", trainer_pb2.StopRunRequest(run=run))
    request = trainer_pb2.StreamMetricsRequest(run=run, after_sequence=2**64 - 1)
    (answer,) = client.call("StreamMetrics", request)
    assert answer.caught_up
    assert not answer.points


def test_methods_that_do_not_exist(idle: Client) -> None:
    for path in ("/mltetris.v1.TrainerService/NoSuch", "/mltetris.worker.v1.WorkerService/Attach"):
        with pytest.raises(grpc.RpcError) as caught:
            idle.channel.unary_unary(path)(b"", timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_what_is_wrong_is_said_all_at_once(idle: Client) -> None:
    refusal = idle.refusal(
        "StartRun", training(game={"width": 99}, td={"gamma": 2}, placements_per_second=0)
    )
    assert set(refusal.fields) == {
        "training.game.width",
        "training.td.gamma",
        "training.placements_per_second",
    }
