"""A demo: slots playing for an audience, on the same pieces, until told to stop or done.

It loads no torch: playing needs a few thousand numbers and the compiled engine.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from mltetris_api.v1.run_pb2 import DemoSpec, Episode, MetricPoint, RunReason
from mltetris_api.worker.v1.worker_pb2 import (
    AttachRequest,
    Episodes,
    GetCheckpointRequest,
    Welcome,
)

from mltetris_server.learning.player import Player
from mltetris_server.worker.clocks import Pace, RunClock
from mltetris_server.worker.link import Link, ServerGone
from mltetris_server.worker.mailbox import Mailbox
from mltetris_server.worker.metrics import MetricLog
from mltetris_server.worker.race import Race
from mltetris_server.worker.screen import Screen
from mltetris_server.worker.specs import SpecError, demo_game, plan_demo
from mltetris_server.worker.steering import Steering
from mltetris_server.worker.transfer import get_checkpoint

_log = logging.getLogger(__name__)

EPISODES_A_REPORT = 50
"""Games reported at most with one metric point, the newest: a demo at full speed without end
could fill a disk with games of no interest."""

ROUNDS_AT_ONCE = 10
"""Rounds made up for at most, where a pace is faster than the machine wakes up."""


def run_demo(
    link: Link, mailbox: Mailbox, welcome: Welcome, begun: Callable[[], None]
) -> RunReason.ValueType:
    """Runs a demo to its end and returns why it ended.

    Args:
        link: the line to the server.
        mailbox: what the server says.
        welcome: what the server said first.
        begun: called once everything is loaded.

    Raises:
        ServerGone: the server went away for good.
        TransferError: a slot could not be read.
        CheckpointError: a slot is not what it should be.
        SpecError: the slots cannot play this game.
    """
    names = list(welcome.demo.slots)
    if not names:
        raise SpecError("slots: a demo needs at least one")
    models = {}
    for name in dict.fromkeys(names):
        checkpoint = get_checkpoint(link, GetCheckpointRequest(slot=name))
        models[name] = (json.loads(checkpoint.model_json), checkpoint.files)
    spec = plan_demo(welcome.demo, welcome.control, models[names[0]][0]["game"])
    config = demo_game(spec)
    players = []
    for name in names:
        player = Player.from_checkpoint(*models[name])
        if not player.plays(config):
            raise SpecError(
                f"slots: {name!r} was trained for another width than {config.width} columns "
                "and looks at each column, so it cannot play this game"
            )
        players.append((name, player))
    demo = Demo(link, mailbox, welcome, spec, Race(players, config, spec.seed, spec.games))
    # Compiled code is loaded with the first use: better now than in the first game.
    players[0][1].choose(demo.race.seats[0].game)
    begun()
    return demo.run()


class Demo:
    """The loop of a demo: one thread that plays, shows, reports and listens."""

    def __init__(
        self, link: Link, mailbox: Mailbox, welcome: Welcome, spec: DemoSpec, race: Race
    ) -> None:
        self.race = race
        self._link = link
        self._spec = spec
        before = welcome.resumption
        self._clock = RunClock(before=before.elapsed.ToNanoseconds() / 1e9)
        self._steering = Steering(mailbox, link, welcome, self._clock)
        self._metrics = MetricLog(link, self._clock, before.metric_sequence)
        self._screen = Screen(link, self._steering)
        self._pace = Pace()
        self._episodes: list[Episode] = []

    def run(self) -> RunReason.ValueType:
        """Plays until all games are played or the run is stopped.

        Raises:
            ServerGone: the server went away for good.
        """
        steering, screen = self._steering, self._screen
        steering.begin(demo=self._spec)
        self._metrics.begin(0)
        while True:
            steering.check()
            if steering.paused and not steering.ending:
                self._hold()
            if steering.left:
                raise ServerGone("the server is gone")
            if steering.stopping or self.race.over:
                break
            self._play()
            if screen.wants:
                self._show()
            if self._metrics.due:
                self._measure()
            self._rest()
        self._measure()
        if screen.watched:
            self._show()
        stopped = steering.stopping and not self.race.over
        return (
            RunReason.RUN_REASON_STOPPED_BY_CALLER if stopped else RunReason.RUN_REASON_BUDGET_SPENT
        )

    def _play(self) -> None:
        """Makes the rounds that are due."""
        steering = self._steering
        rounds = 1
        if steering.visual:
            rounds = self._pace.beats(steering.placements_per_second, ROUNDS_AT_ONCE)
        for _ in range(rounds):
            self._episodes += self.race.step()
            self._screen.changed()

    def _rest(self) -> None:
        """Waits until something is due or somebody says something."""
        steering = self._steering
        if not steering.visual or self.race.over:
            return
        now = time.monotonic()
        until = min(
            self._pace.due(steering.placements_per_second), now + max(0, self._metrics.remaining)
        )
        frame = self._screen.due
        steering.wait(until if frame is None else min(until, frame))

    def _hold(self) -> None:
        """Stands still until the run goes on or ends; who begins to watch meanwhile, sees."""
        if self._screen.watched:
            self._show()
        while self._steering.paused and not self._steering.ending:
            if self._screen.wants:
                self._show()
            self._steering.wait()

    def _show(self) -> None:
        self._screen.send(self.race.frames(include_values=self._steering.include_values))

    def _measure(self) -> None:
        shown = self.race.seats[0].game
        point = MetricPoint(
            placements=self.race.placements,
            episodes=self.race.finished,
            score=shown.score,
            lines=shown.lines,
            best_lines=self.race.best_lines,
        )
        if self.race.progress is not None:
            point.progress = self.race.progress
        self._metrics.write(point, self._steering.changes)
        if self._episodes:
            episodes = self._episodes if self._spec.games else self._episodes[-EPISODES_A_REPORT:]
            self._link.send(AttachRequest(episodes=Episodes(episodes=episodes)))
            self._episodes = []
