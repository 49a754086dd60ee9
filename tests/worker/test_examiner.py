"""The examiner, by a clock of our own: a third of the time, and never all at once."""

from __future__ import annotations

from mltetris_server.worker.clocks import RunClock
from mltetris_server.worker.examiner import SLICE_SECONDS, Examiner


class World:
    """Time that passes by what is done: placements take time, and so does training."""

    def __init__(self, placements: int, per_second: float) -> None:
        self.now = 0.0
        self.slices: list[float] = []
        self.examined = 0.0
        self.placements = placements
        self.per_second = per_second
        self.clock = RunClock(lambda: self.now)
        self.clock.start()

    def begin(self) -> Exam:
        return Exam(self)


class Exam:
    def __init__(self, world: World) -> None:
        self.world = world
        self.left = world.placements

    def advance(self, max_placements: int) -> bool:
        made = min(self.left, max_placements)
        self.left -= made
        took = made / self.world.per_second
        self.world.now += took
        self.world.slices.append(took)
        self.world.examined += took
        return self.left == 0


def train(world: World, examiner: Examiner[Exam], until: float) -> list[float]:
    """Trains in batches of 15 ms; returns when each examination ended."""
    ended = []
    while world.now < until:
        world.now += 0.015
        if examiner.due:
            examiner.start()
        if examiner.step() is not None:
            ended.append(world.now)
    return ended


def test_examining_takes_at_most_a_third_of_the_time() -> None:
    world = World(placements=500_000, per_second=400_000)
    examiner = Examiner(world.begin, world.clock, period=1.0, first=1.0)
    ended = train(world, examiner, until=120)
    assert len(ended) > 20
    assert 0.25 < world.examined / world.now < 0.34


def test_a_cheap_examination_keeps_its_period() -> None:
    world = World(placements=1_000, per_second=400_000)
    examiner = Examiner(world.begin, world.clock, period=1.0, first=0.0)
    ended = train(world, examiner, until=60)
    assert 58 <= len(ended) <= 61


def test_no_slice_is_much_longer_than_it_should_be() -> None:
    world = World(placements=500_000, per_second=400_000)
    examiner = Examiner(world.begin, world.clock, period=1.0, first=0.0)
    train(world, examiner, until=20)
    assert max(world.slices) < 2 * SLICE_SECONDS
    assert len(world.slices) > 100


def test_slices_adapt_to_a_slow_machine() -> None:
    world = World(placements=5_000, per_second=2_000)
    examiner = Examiner(world.begin, world.clock, period=1.0, first=0.0)
    train(world, examiner, until=60)
    assert max(world.slices[20:]) < 4 * SLICE_SECONDS


def test_a_last_one_goes_on_without_training() -> None:
    world = World(placements=100_000, per_second=400_000)
    examiner = Examiner(world.begin, world.clock, period=1.0, first=0.0)
    examiner.start()
    steps = 1
    while examiner.step(patient=False) is None:
        steps += 1
    assert steps > 10
    assert world.now == world.examined
