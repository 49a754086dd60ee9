"""A program that watches boards with the SDK: `python -m support.board_watcher ADDRESS RUN FPS`.

It looks only when told to, by a line on its input, and then reads until it has a frame younger than
200 ms. For each line it answers with one, JSON: `age_s` of that frame, `stale`: frames it read that
were older, `took_s` and `skipped`.
"""

from __future__ import annotations

import json
import sys
import time

import mltetris_client
from mltetris_api.v1 import board_pb2

FRESH_S = 0.2


def age_s(frame: board_pb2.BoardFrame) -> float:
    """How long ago the board looked like that; both clocks are this machine's."""
    return time.time() - frame.sample_time.ToNanoseconds() / 1e9


def main() -> None:
    address, run, fps = sys.argv[1:]
    with (
        mltetris_client.connect(address) as trainer,
        trainer.stream_board(run, max_fps=float(fps), include_values=True) as boards,
    ):
        for _ in sys.stdin:
            begin, stale, skipped = time.monotonic(), 0, 0
            while True:
                message = boards.wait(30)
                if message is None:
                    raise RuntimeError("no frame in 30 s")
                skipped += message.frames[0].skipped
                age = age_s(message.frames[0])
                if age < FRESH_S:
                    break
                stale += 1
            took = time.monotonic() - begin
            answer = {"age_s": age, "stale": stale, "took_s": took, "skipped": skipped}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
