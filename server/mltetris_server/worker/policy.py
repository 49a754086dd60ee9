"""The process that suggests placements: `python -m mltetris_server.worker.policy`.

It speaks protos/mltetris/worker/v1/policy.proto over its standard input and output, knows nothing
of slots and disks, and ends when its input does, which is when the server ends, however it ends.
What a library prints goes to standard error.
"""

from __future__ import annotations

import gc
import json
import os
import struct
import sys
import threading
import traceback
from typing import TYPE_CHECKING

from mltetris_api.v1.board_pb2 import Piece
from mltetris_api.v1.policy_pb2 import Position, SuggestPlacementsResponse
from mltetris_api.v1.run_pb2 import Rule
from mltetris_api.worker.v1.policy_pb2 import PolicyCommand, PolicyDone, PolicyEvent

from mltetris_server.worker.__main__ import ONE_THREAD

if TYPE_CHECKING:
    from mltetris_server.worker.policy_advisor import Advisor

LENGTH = struct.Struct("<I")
"""What stands before each message: how many bytes it has."""


class Policies:
    """The models that are kept, and what is to be done with them."""

    def __init__(self) -> None:
        self._advisors: dict[str, Advisor] = {}

    def do(self, command: PolicyCommand) -> PolicyEvent:
        """Does it and says how it went."""
        event = PolicyEvent(number=command.number)
        what = command.WhichOneof("command")
        if what == "suggest":
            question = command.suggest
            advisor = self._advisors.get(question.sha256)
            if advisor is None:
                event.damaged = "it is not kept"
                return event
            suggestions = [advisor.suggest(position) for position in question.positions]
            event.suggestions = SuggestPlacementsResponse(
                suggestions=suggestions
            ).SerializeToString()
            return event
        if what == "load":
            event.damaged = self._load(command)
        else:
            self._advisors.pop(command.forget, None)
        if not event.damaged:
            event.done.CopyFrom(PolicyDone())
        return event

    def _load(self, command: PolicyCommand) -> str:
        """Keeps a model; returns what is wrong with it, or an empty text."""
        from mltetris_server.learning.model import CheckpointError
        from mltetris_server.worker.policy_advisor import Advisor

        model = command.load
        try:
            advisor = Advisor.from_checkpoint(json.loads(model.model_json), dict(model.files))
        except CheckpointError as error:
            return str(error)
        self._advisors[model.sha256] = advisor
        return ""


def warm_up() -> None:
    """Suggests once, so that compiled code is loaded, and where there is none yet, compiled."""
    import numpy as np

    from mltetris_server.game.config import FeatureSet, n_features
    from mltetris_server.learning.kernels import Network
    from mltetris_server.learning.player import Player
    from mltetris_server.worker.policy_advisor import Advisor

    inputs = n_features(FeatureSet.BCTS, 10)
    network = Network(
        np.zeros((0, inputs), np.float32),
        np.zeros(0, np.float32),
        np.zeros(inputs, np.float32),
        np.zeros(1, np.float32),
    )
    advisor = Advisor(Player(network, FeatureSet.BCTS, fatal_value=-1.0))
    for rule in (Rule.RULE_GYMNASIUM, Rule.RULE_PUBLISHED):
        advisor.suggest(Position(piece=Piece.PIECE_I, rule=rule))


class Line:
    """What comes from the descriptor `source` is done, and said so to `sink`.

    A thread reads, so that the end of the input is the end of the process also while code is being
    compiled; it does what it reads itself, for handing it on would take longer.
    """

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._policies: Policies | None = None
        self._early: list[bytes] = []
        self._turn = threading.Lock()

    def serve(self) -> None:
        """Never returns; the process ends with its input."""
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        warm_up()
        # What has been loaded stays: to look through it for garbage again and again would hold up
        # answers for tens of milliseconds.
        gc.collect()
        gc.freeze()
        with self._turn:
            self._say(PolicyEvent(done=PolicyDone()))
            self._policies = Policies()
            for data in self._early:
                self._say(self._policies.do(PolicyCommand.FromString(data)))
            self._early.clear()
        reader.join()

    def _read(self) -> None:
        try:
            with os.fdopen(self._source, "rb") as stream:
                while len(length := stream.read(LENGTH.size)) == LENGTH.size:
                    self._take(stream.read(LENGTH.unpack(length)[0]))
            code = 0
        except Exception:  # noqa: BLE001 - a fault of ours ends the process, not only its thread
            traceback.print_exc()
            code = 1
        # Nobody is left to hear anything.
        os._exit(code)

    def _take(self, data: bytes) -> None:
        with self._turn:
            if self._policies is None:
                self._early.append(data)
            else:
                self._say(self._policies.do(PolicyCommand.FromString(data)))

    def _say(self, event: PolicyEvent) -> None:
        data = event.SerializeToString()
        _write(self._sink, LENGTH.pack(len(data)) + data)


def _write(sink: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(sink, view) :]
    except BrokenPipeError:
        os._exit(0)


def main() -> int:
    """Runs the process; never returns."""
    # Before anything loads numpy, which reads them once.
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(0, os.O_BINARY)
        msvcrt.setmode(1, os.O_BINARY)
    source, sink = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    Line(source, sink).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
