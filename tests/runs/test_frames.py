"""Frames are encoded once, and say the same as if they were encoded for each watcher."""

from __future__ import annotations

import pytest
from mltetris_api.v1 import board_pb2, trainer_pb2
from mltetris_server.runs.frames import Snapshot


def frames(count: int, values: int = 0) -> list[board_pb2.BoardFrame]:
    made = []
    for board in range(count):
        frame = board_pb2.BoardFrame(run="demo-abc123", board=board, sequence=7, lines=12)
        frame.cells = bytes(range(200))
        frame.last_placement.column = 3
        frame.values.extend(
            board_pb2.PlacementValue(action=a, value=a / 2, cells=[a]) for a in range(values)
        )
        made.append(frame)
    return made


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("skipped", [0, 1, 127, 128, 300, 2**40])
@pytest.mark.parametrize("include_values", [False, True])
def test_a_response_is_the_message_it_stands_for(
    count: int, skipped: int, include_values: bool
) -> None:
    snapshot = Snapshot(1, frames(count, values=40))
    wanted = trainer_pb2.StreamBoardResponse(
        frames=frames(count, values=40 if include_values else 0)
    )
    for frame in wanted.frames:
        frame.skipped = skipped
    encoded = snapshot.response(include_values=include_values, skipped=skipped)
    assert trainer_pb2.StreamBoardResponse.FromString(encoded) == wanted


def test_a_worker_cannot_say_what_was_skipped() -> None:
    made = frames(1)
    made[0].skipped = 99
    encoded = Snapshot(1, made).response(include_values=False, skipped=0)
    assert trainer_pb2.StreamBoardResponse.FromString(encoded).frames[0].skipped == 0


def test_a_frame_is_encoded_once_for_all_watchers() -> None:
    snapshot = Snapshot(1, frames(1, values=40))
    for include_values in (True, False):
        first = snapshot.response(include_values=include_values, skipped=0)
        # A change of the frame after that shows that it is not encoded again.
        snapshot.frames[0].lines = 9999
        assert snapshot.response(include_values=include_values, skipped=0) == first
