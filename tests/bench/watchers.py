"""Board watchers in a process of their own, as a classroom would be.

    python -m bench.watchers ADDRESS RUN READING STALLED FPS

READING watchers read at FPS; STALLED ones read one message and then nothing. Prints "watching" once
each has a frame, then waits for its input to end and prints, as JSON, the frames each reader got.
"""

from __future__ import annotations

import json
import sys
import threading

import grpc
import mltetris_client
from mltetris_api.v1 import trainer_pb2, trainer_pb2_grpc
from mltetris_client import MlTetrisError, Trainer


class Reader:
    """One watcher that reads."""

    def __init__(self, trainer: Trainer, run: str, fps: float) -> None:
        self.stream = trainer.stream_board(run, max_fps=fps)
        self.frames = 0
        self.first = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            for _ in self.stream:
                self.frames += 1
                self.first.set()
        except MlTetrisError as error:
            print(f"a watcher ended: {error}", file=sys.stderr)


def stall(address: str, run: str, fps: float) -> grpc.Channel:
    """A plain gRPC watcher, without the SDK's care, that reads one message and then nothing."""
    channel = grpc.insecure_channel(address)
    stub = trainer_pb2_grpc.TrainerServiceStub(channel)
    next(iter(stub.StreamBoard(trainer_pb2.StreamBoardRequest(run=run, max_fps=fps))))
    return channel


def main() -> None:
    address, run, reading, stalled, fps = sys.argv[1:]
    # A channel each, as watchers on machines of their own would have.
    trainers = [mltetris_client.connect(address) for _ in range(int(reading))]
    readers = [Reader(trainer, run, float(fps)) for trainer in trainers]
    stalls = [stall(address, run, float(fps)) for _ in range(int(stalled))]
    for reader in readers:
        reader.first.wait(30)
    print("watching", flush=True)
    sys.stdin.read()
    print(json.dumps([reader.frames for reader in readers]), flush=True)
    for channel in stalls:
        channel.close()
    for reader in readers:
        reader.stream.close()
    for trainer in trainers:
        trainer.close()


if __name__ == "__main__":
    main()
