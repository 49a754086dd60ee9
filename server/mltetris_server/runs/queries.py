"""What lists of runs are asked for, from the contract's words to the history's: pure."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_api.v1 import trainer_pb2

from mltetris_server.storage.listing import RunQuery


def run_query(request: trainer_pb2.ListRunsRequest) -> RunQuery:
    """Returns what `request` asks for, its page aside."""
    return RunQuery(
        kinds=list(request.kinds),
        states=list(request.states),
        text=request.text,
        created_from_us=(
            _microseconds(request.created_after) if request.HasField("created_after") else None
        ),
        created_before_us=(
            _microseconds(request.created_before) if request.HasField("created_before") else None
        ),
        algorithms=list(request.algorithms),
        slot=request.slot,
        dataset=request.dataset,
        suite=request.suite,
        order_by=request.order_by,
        ascending=request.ascending,
    )


def _microseconds(time: Timestamp) -> int:
    """The first whole microsecond that is not before `time`."""
    return int(time.seconds) * 1_000_000 - (-int(time.nanos) // 1000)
