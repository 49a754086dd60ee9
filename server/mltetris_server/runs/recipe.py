"""The command that asks for a training again: what a slot says of its making."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from mltetris_api.v1 import run_pb2


def command_of(spec: run_pb2.TrainingSpec) -> str:
    """Returns the `mltetris train` that asks for what `spec` asks for.

    What is only for watching (mode, view, paces) is left out: it makes no difference to what is
    learnt. So is everything that `spec` leaves to its default.
    """
    return shlex.join(["mltetris", "train", *_flags(spec)])


def with_seed(command: str, seed: int) -> str:
    """Returns the command with the seed that was drawn, where it does not name one."""
    return command if " --seed " in f"{command} " else f"{command} --seed {seed}"


def _flags(spec: run_pb2.TrainingSpec) -> Iterator[str]:
    if spec.HasField("seed"):
        yield from ("--seed", str(spec.seed))
    if spec.HasField("slot"):
        yield from ("--from-slot", spec.slot)
    if spec.HasField("checkpoint"):
        kind = spec.checkpoint.kind or run_pb2.CHECKPOINT_KIND_BEST
        name = run_pb2.CheckpointKind.Name(kind).removeprefix("CHECKPOINT_KIND_").lower()
        yield from ("--from-run", f"{spec.checkpoint.run}:{name}")
    yield from _fields(spec.warm_start, only=("dataset",))
    yield from _fields(
        spec.warm_start,
        only=("method", "epochs", "max_placements", "learning_rate"),
        prefix="dataset-",
        names={"max_placements": "placements"},
    )
    given = spec.WhichOneof("hyperparameters")
    if given and not spec.algorithm:
        yield from ("--algorithm", given)
    yield from _fields(spec, only=("algorithm", "features", "threads"))
    yield from _fields(spec.game)
    yield from _fields(spec.budget, names={"target_mean_lines": "target-lines"})
    yield from _fields(spec.evaluation, prefix="evaluation-")
    if given:
        yield from _fields(getattr(spec, given))
    yield from _fields(spec, only=("checkpoint_period",))


def _fields(
    message: Message,
    *,
    only: tuple[str, ...] = (),
    prefix: str = "",
    names: dict[str, str] | None = None,
) -> Iterator[str]:
    """The flags of the fields that are set, named as the fields are."""
    for field, value in message.ListFields():
        if only and field.name not in only:
            continue
        flag = (names or {}).get(field.name, field.name.replace("_", "-"))
        if field.enum_type is not None:
            # RULE_PUBLISHED of the enum Rule: published.
            name = field.enum_type.values_by_number[value].name
            common = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
            text = name.removeprefix(common).lower()
        elif isinstance(value, Duration):
            flag = flag.replace("max-duration", "max-seconds")
            text = f"{value.ToNanoseconds() / 1e9:g}"
        elif isinstance(value, str):
            text = value
        elif isinstance(value, float) and value.is_integer():
            text = f"{value:.0f}"
        else:
            text = repr(value)
        yield from (f"--{prefix}{flag}", text)
