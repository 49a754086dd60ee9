"""A benchmark: players compared on the same pieces. It loads no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mltetris_api.v1.benchmark_pb2 import BenchmarkResult
from mltetris_api.v1.run_pb2 import BenchmarkSpec, Episode, MetricPoint, RunReason, RunView
from mltetris_api.worker.v1.worker_pb2 import (
    AttachRequest,
    Episodes,
    Notice,
    Welcome,
)

from mltetris_server.learning.benchmark.figures import Tally
from mltetris_server.learning.benchmark.game import FinishedGame
from mltetris_server.learning.benchmark.match import Match
from mltetris_server.suites import SUITES
from mltetris_server.worker.benchmark_plan import plan_benchmark
from mltetris_server.worker.benchmark_result import result_message
from mltetris_server.worker.clocks import RunClock
from mltetris_server.worker.contestants import (
    Contestant,
    check_width,
    latest_frames,
    read_contestants,
)
from mltetris_server.worker.link import Link, ServerGone
from mltetris_server.worker.mailbox import Mailbox
from mltetris_server.worker.metrics import MetricLog, duration, timestamp
from mltetris_server.worker.screen import Screen
from mltetris_server.worker.specs import plan_game
from mltetris_server.worker.steering import Steering

EPISODES_A_REPORT = 1000
"""Games in one report at most, so that it stays far below gRPC's 4 MiB."""
_LOOK_SECONDS = 0.02
"""How often it is looked whether the last game has ended."""


def run_benchmark(
    link: Link, mailbox: Mailbox, welcome: Welcome, begun: Callable[[], None]
) -> RunReason.ValueType:
    """Runs a benchmark to its end and returns why it ended.

    Args:
        link: the line to the server.
        mailbox: what the server says.
        welcome: what the server said first.
        begun: called once everything is loaded.

    Raises:
        ServerGone: the server went away for good.
        TransferError: a model could not be read.
        CheckpointError: a model is not what it should be.
        SpecError: a player cannot play this game.
    """
    contestants, first_game = read_contestants(link, welcome.benchmark.players)
    spec = plan_benchmark(welcome.benchmark, first_game)
    benchmark = Benchmark(link, mailbox, welcome, spec, contestants)
    benchmark.match.load()
    begun()
    return benchmark.run()


class Benchmark:
    """Listens, shows and reports on the run's thread, while others play.

    Args:
        spec: with every default filled in.
    """

    def __init__(
        self,
        link: Link,
        mailbox: Mailbox,
        welcome: Welcome,
        spec: BenchmarkSpec,
        contestants: Sequence[Contestant],
    ) -> None:
        config = plan_game(spec.game, {})
        max_lines = spec.max_lines if spec.HasField("max_lines") else None
        suite = SUITES.get(spec.suite)
        self._score = suite.score if suite is not None else "mean_lines"
        check_width(contestants, config)
        self.match = Match(
            [contestant.player for contestant in contestants],
            config,
            spec.games,
            spec.seed,
            max_lines=max_lines,
            threads=spec.threads,
        )
        self._tally = Tally(
            len(contestants),
            spec.games,
            score=self._score,
            max_lines=max_lines,
            width=config.width,
        )
        self._link = link
        self._mailbox = mailbox
        self._spec = spec
        self._contestants = contestants
        before = welcome.resumption
        self._clock = RunClock(before=before.elapsed.ToNanoseconds() / 1e9)
        self._spent_before = self._clock.elapsed
        self._steering = Steering(mailbox, link, welcome, self._clock)
        self._metrics = MetricLog(link, self._clock, before.metric_sequence)
        self._screen = Screen(link, self._steering)
        self._shown_at = 0

    def run(self) -> RunReason.ValueType:
        """Plays until all games are played or the run is stopped.

        Raises:
            ServerGone: the server went away for good.
        """
        steering, match = self._steering, self.match
        steering.begin(benchmark=self._spec)
        self._metrics.begin(0)
        try:
            if steering.paused:
                self._stand_still()
            match.go_on()
            while not (steering.ending or match.over):
                self._listen()
                self._look()
                if self._metrics.due:
                    self._measure()
                self._wait()
        finally:
            match.close()
        if steering.left:
            raise ServerGone("the server is gone")
        return self._finish()

    def _finish(self) -> RunReason.ValueType:
        """Reports what came of it, and returns why it ended."""
        match = self.match
        complete = match.over
        self._measure(complete=complete, last=True)
        if self._screen.watched:
            self._show()
        if complete:
            return RunReason.RUN_REASON_BUDGET_SPENT
        text = f"Stopped after {match.finished:,} of {match.total:,} games; their result is kept."
        self._link.send(AttachRequest(notice=Notice(text=text)))
        return RunReason.RUN_REASON_STOPPED_BY_CALLER

    # Listening.

    def _listen(self) -> None:
        """Does what the server says, while nobody plays: what is answered, holds."""
        if not self._steering.pending:
            return
        self.match.hold()
        self._steering.check()
        self._stand_still()
        if not self._steering.ending:
            self.match.go_on()

    def _stand_still(self) -> None:
        """Waits while the run is held; who begins to watch meanwhile, sees."""
        while self._steering.paused and not self._steering.ending:
            if self._screen.wants:
                self._show()
            self._steering.wait()

    def _wait(self) -> None:
        """Waits until something is due or somebody says something."""
        until = time.monotonic() + min(_LOOK_SECONDS, max(0.0, self._metrics.remaining))
        due = self._screen.due
        self._mailbox.wait(until if due is None else min(until, due))

    # Showing.

    def _look(self) -> None:
        placements = self.match.placements
        if placements != self._shown_at:
            self._shown_at = placements
            self._screen.changed()
        if self._screen.wants:
            self._show()

    def _show(self) -> None:
        values = self._steering.include_values
        frames = latest_frames(self.match, self._contestants, include_values=values)
        if frames:
            self._screen.send(frames)

    # Reporting.

    def _measure(self, *, complete: bool = False, last: bool = False) -> None:
        match = self.match
        news = match.take()
        self._tally.add(news)
        for start in range(0, len(news), EPISODES_A_REPORT):
            some = [self._episode(game) for game in news[start : start + EPISODES_A_REPORT]]
            self._link.send(AttachRequest(episodes=Episodes(episodes=some)))
        if news or last:
            result = self._result(complete=complete, last=last)
            self._link.send(AttachRequest(benchmark_result=result))
        progress = match.finished / match.total
        point = MetricPoint(
            placements=match.placements,
            episodes=match.finished,
            best_lines=self._tally.best_lines,
            progress=progress,
        )
        if 0 < progress < 1:
            spent = self._clock.elapsed - self._spent_before
            point.eta.CopyFrom(duration(spent * (1 - progress) / progress))
        self._metrics.write(point, self._steering.changes)

    def _result(self, *, complete: bool, last: bool) -> BenchmarkResult:
        return result_message(
            self._spec.suite,
            self._score,
            [(contestant.name, contestant.sha256) for contestant in self._contestants],
            [self._tally.player(player) for player in range(len(self._contestants))],
            # They take a while, and say little before the end.
            self._tally.differences(self._keep_alive) if last else [],
            complete=complete,
        )

    def _keep_alive(self) -> None:
        """While the differences are calculated: answers whoever asks for something."""
        if self._steering.pending:
            self._steering.check()
            self._stand_still()

    def _episode(self, game: FinishedGame) -> Episode:
        return Episode(
            number=game.number,
            board=game.player,
            lines=game.lines,
            placements=game.placements,
            score=game.score,
            run_placements=game.all_placements,
            end_time=timestamp(),
            view=RunView.RUN_VIEW_SHOWCASE,
            player=self._contestants[game.player].name,
            cut_off=game.cut_off,
        )
