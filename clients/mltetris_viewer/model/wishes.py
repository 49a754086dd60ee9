"""Commands on their way: what the run will be like when they have been carried out."""

from __future__ import annotations

from typing import TypeVar

from mltetris_api.v1 import run_pb2

from mltetris_viewer.model import commands

_Command = TypeVar("_Command", bound=commands.Command)


class Wishes:
    """Commands that have been sent and not been answered, in the order in which they are done.

    What a key does depends on what was asked for last and not on how far the answers are:
    pressing twice is pausing and going on, however fast.
    """

    def __init__(self) -> None:
        self._serial = 0
        self._open: dict[int, commands.Command] = {}

    def sent(self, command: commands.Command) -> int:
        """Notes a command; returns its number."""
        self._serial += 1
        self._open[self._serial] = command
        return self._serial

    def answered(self, serial: int) -> None:
        """Forgets a command, carried out or refused."""
        self._open.pop(serial, None)

    def last(self, run: str | None, kind: type[_Command]) -> _Command | None:
        """The newest unanswered command of a kind for a run."""
        found = None
        for command in self._open.values():
            if isinstance(command, kind) and command.run == run:
                found = command
        return found

    def paused(self, run: run_pb2.Run) -> bool:
        """Whether the run is to be held."""
        wanted = run.state == run_pb2.RUN_STATE_PAUSED
        for command in self._open.values():
            if isinstance(command, commands.Pause | commands.Resume) and command.run == run.id:
                wanted = isinstance(command, commands.Pause)
        return wanted

    def pace(self, run: run_pb2.Run) -> float:
        """The pace that the watched game is to have, placements a second."""
        asked = self.last(run.id, commands.SetSpeed)
        return asked.placements_per_second if asked else run.control.placements_per_second

    def training_rate(self, run: run_pb2.Run) -> float:
        """How fast a training is to learn at most, placements a second; 0: full speed."""
        asked = self.last(run.id, commands.SetTrainingRate)
        return asked.placements_per_second if asked else run.control.max_training_rate

    def mode(self, run: run_pb2.Run) -> run_pb2.RunMode.ValueType:
        """How the watched game is to be paced."""
        asked = self.last(run.id, commands.SetMode)
        return asked.mode if asked else run.control.mode

    def view(self, run: run_pb2.Run) -> run_pb2.RunView.ValueType:
        """Which game is to be watched."""
        asked = self.last(run.id, commands.SetView)
        return asked.view if asked else run.control.view
