"""What the viewer can ask of a run. `link` carries these out."""

from __future__ import annotations

from dataclasses import dataclass

from mltetris_api.v1 import run_pb2


@dataclass(frozen=True)
class Pause:
    """Hold the run."""

    run: str


@dataclass(frozen=True)
class Resume:
    """Let the run go on."""

    run: str


@dataclass(frozen=True)
class SetSpeed:
    """Set the pace of the watched game.

    Attributes:
        run: the run's id.
        placements_per_second: 0.1..1000.
    """

    run: str
    placements_per_second: float


@dataclass(frozen=True)
class SetMode:
    """Set how the watched game is paced."""

    run: str
    mode: run_pb2.RunMode.ValueType


@dataclass(frozen=True)
class SetView:
    """Set which game of a training is watched."""

    run: str
    view: run_pb2.RunView.ValueType


@dataclass(frozen=True)
class SetTrainingRate:
    """Set how fast a training may learn.

    Attributes:
        run: the run's id.
        placements_per_second: over all its boards; 0: full speed.
    """

    run: str
    placements_per_second: float


Command = Pause | Resume | SetSpeed | SetMode | SetView | SetTrainingRate

#: The paces that slower and faster step through, in placements a second.
PACES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 250.0, 500.0, 1000.0)

#: The limits of a training's speed that are gone round, in placements a second; 0: none.
TRAINING_RATES = (1_000.0, 5_000.0, 20_000.0, 100_000.0, 0.0)


def next_training_rate(current: float) -> float:
    """The next limit of `TRAINING_RATES` above `current`; after full speed (0) the lowest."""
    if current <= 0:
        return TRAINING_RATES[0]
    return next((rate for rate in TRAINING_RATES if rate > current * 1.001), 0.0)


def next_pace(current: float, step: int) -> float:
    """The next pace of `PACES` above (`step` > 0) or below `current`, or the last one there is."""
    # A hair's breadth, so that a pace that went through the wire still equals itself.
    if step > 0:
        return next((pace for pace in PACES if pace > current * 1.001), PACES[-1])
    return next((pace for pace in reversed(PACES) if pace < current * 0.999), PACES[0])
