"""What the fuzzers are made of: that they do make everything up, and see what they look for."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, Phase, find, given, settings
from mltetris_api.v1 import run_pb2, system_pb2, trainer_pb2
from support.fuzzing import values
from support.fuzzing.fields import has_field
from support.fuzzing.leaks import leaks, places
from support.fuzzing.messages import DEEPEST, Words, encoded, messages
from support.fuzzing.methods import public_methods
from support.fuzzing.values import RANGES

MAKING = settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@cache
def everything() -> Descriptor:
    """A message with a field of every kind, single and repeated, a map, a oneof, and itself."""
    file = descriptor_pb2.FileDescriptorProto(
        name="fuzzing/everything.proto", package="fuzzing", syntax="proto3"
    )
    file.dependency.append("google/protobuf/timestamp.proto")
    message = file.message_type.add(name="Everything")
    kinds = {
        name.removeprefix("TYPE_").lower(): value
        for name, value in vars(FieldDescriptor).items()
        if name.startswith("TYPE_") and name not in ("TYPE_GROUP", "TYPE_MESSAGE")
    }
    number = 0
    for label, prefix in ((1, "one"), (3, "many")):
        for name, kind in kinds.items():
            number += 1
            field = message.field.add(
                name=f"{prefix}_{name}", number=number, type=kind, label=label
            )
            if name == "enum":
                field.type_name = ".fuzzing.Colour"
    for name, target in (("inner", ".fuzzing.Everything"), ("at", ".google.protobuf.Timestamp")):
        number += 1
        message.field.add(name=name, number=number, type=11, label=1, type_name=target)
    entry = message.nested_type.add(name="NamesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=3, label=1)
    number += 1
    message.field.add(
        name="names", number=number, type=11, label=3, type_name=".fuzzing.Everything.NamesEntry"
    )
    message.oneof_decl.add(name="choice")
    for name in ("this", "that"):
        number += 1
        message.field.add(name=name, number=number, type=5, label=1, oneof_index=0)
    colour = file.enum_type.add(name="Colour")
    colour.value.add(name="NONE", number=0)
    colour.value.add(name="RED", number=1)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindMessageTypeByName("fuzzing.Everything")


def depth(message: Message) -> int:
    inner = getattr(message, "inner", None)
    return 1 + depth(inner) if inner is not None and message.HasField("inner") else 1


def test_every_kind_of_field_is_set() -> None:
    kind = everything()
    seen: Counter[str] = Counter()

    @MAKING
    @given(messages(kind, Words(), wildness=60))
    def make(message: Message) -> None:
        assert depth(message) <= DEEPEST + 1
        for field, _ in message.ListFields():
            seen[field.name] += 1

    make()
    assert {field.name for field in kind.fields if not seen[field.name]} == set()


def test_enums_and_times_are_wrong_too() -> None:
    wild = messages(everything(), Words(), wildness=100)
    trying = settings(MAKING, max_examples=5000, phases=(Phase.generate,))
    find(wild, lambda message: message.one_enum not in (0, 1), settings=trying)
    find(wild, lambda message: not 0 <= message.at.nanos < 10**9, settings=trying)
    find(wild, lambda message: abs(message.at.seconds) > 10**12, settings=trying)


def test_values_are_the_worst_there_are() -> None:
    for kind, ends in RANGES.items():
        for end in ends:
            assert find(values.wild_numbers(kind), lambda value, end=end: value == end) == end
    for is_odd in (
        math.isnan,
        math.isinf,
        lambda value: value == 0 and math.copysign(1, value) < 0,
    ):
        find(values.wild_floats(), is_odd)
    for part in ("\0", "..", "C:\\", "a" * 4000):
        find(values.wild_texts(), lambda text, part=part: part in text)


def test_what_is_made_for_a_method_is_often_let_in() -> None:
    kind = trainer_pb2.UpdateRunRequest.DESCRIPTOR
    counts: Counter[str] = Counter()

    @MAKING
    @given(encoded(kind, Words({"run": ["train-abc123"]})))
    def make(raw: bytes) -> None:
        try:
            request = GetMessageClass(kind).FromString(raw)
        except DecodeError:
            counts["no message"] += 1
            return
        counts["known run"] += request.run == "train-abc123"
        counts["a path that is one"] += "display_name" in request.update_mask.paths
        counts["unknown fields"] += len(raw) > len(request.SerializeToString())

    make()
    assert counts["known run"] > 100
    assert counts["a path that is one"] > 20
    assert counts["no message"] > 3


def test_methods_are_found_without_being_named() -> None:
    names = {str(method) for method in public_methods()}
    assert {"StartRun", "ListActivity", "Check", "ServerReflectionInfo"} <= names


def test_fields_that_are_there_and_that_are_not() -> None:
    start, update = trainer_pb2.StartRunRequest, trainer_pb2.UpdateRunRequest
    for kind, path in (
        (start, "training.budget.target_mean_lines"),
        (start, "demo.slots[2]"),
        (start, "spec"),
        (update, "update_mask.paths[0]"),
    ):
        assert has_field(kind.DESCRIPTOR, path), path
    for kind, path in (
        (start, ""),
        (start, "train"),
        (start, "training.budget.nothing"),
        (start, "training[0]"),
        (start, "display_name.x"),
        (update, "update_mask.paths[0].x"),
    ):
        assert not has_field(kind.DESCRIPTOR, path), path


def test_leaks_are_seen_and_what_is_meant_is_none(tmp_path: Path) -> None:
    needles = places(tmp_path)
    run = run_pb2.Run(id="a", log_tail=str(tmp_path))
    assert not leaks(run, needles)
    run.error.message = f"{tmp_path}/x is gone"
    assert len(leaks(run, needles)) == 1
    assert leaks(trainer_pb2.GetRunResponse(run=run), needles)
    assert not leaks(system_pb2.GetServerInfoResponse(data_dir=str(tmp_path)), needles)


def test_the_fast_tests_are_the_same_everywhere() -> None:
    assert twenty() == twenty()


def twenty() -> list[bytes]:
    made = []

    @settings(MAKING, max_examples=20)
    @given(encoded(trainer_pb2.StartRunRequest.DESCRIPTOR, Words()))
    def make(raw: bytes) -> None:
        made.append(raw)

    make()
    return made
