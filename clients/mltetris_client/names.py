"""Short names of the contract's enums: ``running`` for RUN_STATE_RUNNING.

``name_of`` and ``value_of`` work on every enum of the contract; the literals below are the names
that methods of the SDK take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

from mltetris_api.v1 import run_pb2

from mltetris_client.errors import InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

ModeName = Literal["headless", "visual"]
ViewName = Literal["showcase", "training"]
RuleName = Literal["gymnasium", "published"]
RandomizerName = Literal["bag7", "uniform"]
FeatureSetName = Literal["simple", "bcts", "dt", "board"]
AlgorithmName = Literal["td", "dqn", "ppo", "cem"]
ObservationName = Literal["board", "bcts", "simple"]
WarmStartMethodName = Literal["cloning", "replay"]
CheckpointName = Literal["best", "latest", "final"]
KindName = Literal["training", "demo", "benchmark", "simulation"]
StateName = Literal[
    "queued", "starting", "running", "paused", "stopping", "succeeded", "stopped", "failed"
]
FormatName = Literal["slot", "sb3", "onnx"]
OrderName = Literal["score", "name", "create_time"]

_Value = TypeVar("_Value", bound=int)

FINAL_STATES = frozenset(
    {run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_STOPPED, run_pb2.RUN_STATE_FAILED}
)
LIVE_STATES = frozenset(
    {
        run_pb2.RUN_STATE_STARTING,
        run_pb2.RUN_STATE_RUNNING,
        run_pb2.RUN_STATE_PAUSED,
        run_pb2.RUN_STATE_STOPPING,
    }
)


def is_final(run: run_pb2.Run) -> bool:
    """Whether the run has ended, for good."""
    return run.state in FINAL_STATES


def is_live(run: run_pb2.Run) -> bool:
    """Whether the run has a worker: STARTING, RUNNING, PAUSED or STOPPING."""
    return run.state in LIVE_STATES


def short_names(descriptor: EnumDescriptor) -> dict[int, str]:
    """Number to short name, for every value of an enum; UNSPECIFIED (0) is ``""``."""
    prefix = descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {
        value.number: "" if value.number == 0 else value.name.removeprefix(prefix).lower()
        for value in descriptor.values
    }


def name_of(enum: _EnumTypeWrapper[_Value], value: int) -> str:
    """The short name of an enum's value; a number this client does not know is its digits."""
    return short_names(enum.DESCRIPTOR).get(value, str(value))


def value_of(enum: _EnumTypeWrapper[_Value], name: str | int | None, *, field: str) -> _Value:
    """The value for a short name, a full name or a number; ``None`` is UNSPECIFIED.

    Raises:
        InvalidArgument: the enum has no such value; the message lists those it has.
    """
    descriptor: EnumDescriptor = enum.DESCRIPTOR
    if name is None:
        return enum.Value(descriptor.values_by_number[0].name)
    if isinstance(name, int):
        known = descriptor.values_by_number.get(name)
        if known is not None:
            return enum.Value(known.name)
    else:
        for number, short in short_names(descriptor).items():
            full = descriptor.values_by_number[number].name
            if (short and short == name.lower()) or full == name:
                return enum.Value(full)
    choices = ", ".join(short for short in short_names(descriptor).values() if short)
    raise InvalidArgument.field(field, f"{name!r} is not one of {choices}")
