"""One training, as it is steered, shown, measured, examined and kept between its batches."""

from __future__ import annotations

import time

from mltetris_api.v1.run_pb2 import Episode, Evaluation, MetricPoint, RunReason, RunView
from mltetris_api.worker.v1.worker_pb2 import (
    AttachRequest,
    Episodes,
    Notice,
    Resumption,
    Update,
    Welcome,
)

from mltetris_server.learning.metrics import FinishedEpisode
from mltetris_server.learning.warm_start import WarmStart
from mltetris_server.worker.budget import BudgetMeter
from mltetris_server.worker.clocks import Pace, RateLimit, RunClock
from mltetris_server.worker.examiner import SLICE_SECONDS, Examiner
from mltetris_server.worker.keeping import Keeper
from mltetris_server.worker.learner import Examination, Learner
from mltetris_server.worker.link import Link, ServerGone
from mltetris_server.worker.mailbox import Mailbox
from mltetris_server.worker.metrics import MetricLog, duration, timestamp
from mltetris_server.worker.saving import Saver
from mltetris_server.worker.screen import Screen
from mltetris_server.worker.specs import (
    EVALUATION_LEAST_MAX_LINES,
    EVALUATION_PERIOD,
    TrainingPlan,
    enough_lines,
)
from mltetris_server.worker.steering import Steering
from mltetris_server.worker.transfer import put_checkpoint
from mltetris_server.worker.watching import Watching

LAST_EXAMINATION_SECONDS = 5.0
"""How long an evaluation may take that learning waits for: of what a warm start or the end of a
budget leaves."""
_FIRST_EXAMINATION = 0.25
"""Part of the period after which the first evaluation comes: who stops early has a `best` too."""
ATTENTION_SECONDS = 0.015
"""How long what has no time of its own, an evaluation or a checkpoint, may be put off."""
SMOOTH = 50_000
"""Placements a second below which a limited training goes step by step: it would stutter else."""
_LONGER = 4
"""Times as long as before the games of an evaluation may last when some were cut off."""


class Session:
    """Everything of a training but the learning itself.

    The learner's thread calls `tick` between any two batches, every few milliseconds;
    it says whether to go on.

    Args:
        link: the line to the server.
        mailbox: what the server says.
        welcome: what the server said first.
        plan: the training, with everything decided.
        learner: who learns.
    """

    def __init__(
        self, link: Link, mailbox: Mailbox, welcome: Welcome, plan: TrainingPlan, learner: Learner
    ) -> None:
        self._link = link
        self._plan = plan
        self._learner = learner
        # Set where this worker takes the place of one that was lost.
        before = welcome.resumption if welcome.HasField("resumption") else None
        elapsed = before.elapsed.ToNanoseconds() / 1e9 if before is not None else 0.0
        self._clock = clock = RunClock(before=elapsed)
        saver = Saver(lambda kind, checkpoint: put_checkpoint(link, kind, checkpoint), self._tell)
        keep_period = plan.spec.checkpoint_period.ToNanoseconds() / 1e9
        stored_best = before is not None and before.HasField("best")
        best = before.best.mean_lines if before is not None and stored_best else None
        self._keeper = Keeper(learner, saver, clock, keep_period, best)
        self._steering = steering = Steering(
            mailbox,
            link,
            welcome,
            clock,
            update=self._update,
            save=self._keeper.request_latest,
        )
        self._screen = Screen(link, steering)
        self._watching = Watching(
            steering,
            self._screen,
            learner,
            plan.game,
            plan.training_game,
            plan.showcase_seed,
            self._report_showcase,
        )
        self._metrics = MetricLog(link, clock, before.metric_sequence if before is not None else 0)
        self._first_placements = (
            before.first_placements if before is not None else learner.placements
        )
        self._budget = BudgetMeter(plan.spec.budget, clock, self._first_placements)
        self._max_lines = plan.spec.evaluation.max_lines
        self._cut_off = EVALUATION_LEAST_MAX_LINES
        period = plan.spec.evaluation.period.ToNanoseconds() / 1e9
        self._examiner: Examiner[Examination] = Examiner(
            self._begin_examination, clock, period, first=elapsed + _FIRST_EXAMINATION * period
        )
        self._training_pace = Pace()
        self._limit = RateLimit()
        self._paced_at = learner.placements
        self._attend_at = 0.0
        self._measured = -1
        self._most_lines = 0
        self._verdict: RunReason.ValueType | None = None
        self._warming: WarmStart | None = None
        self._accuracy: float | None = None
        if before is not None:
            self._take_up(before)

    def begin(self) -> None:
        """Reports the run as begun; its time counts from here."""
        self._metrics.begin(self._learner.placements)
        self._steering.begin(training=self._plan.spec, first_placements=self._first_placements)

    def tick(self) -> bool:
        """Does what is due between two batches; False: the training is to end."""
        if self._quiet:
            return True
        self._attend()
        self._learner.step_by_step(self._paced or 0 < self._steering.max_training_rate < SMOOTH)
        # Only placements are paced: between two of them the learner has other things to do too.
        made, self._paced_at = self._learner.placements != self._paced_at, self._learner.placements
        while made and not self._ended and not self._may_go_on():
            # A training at a pace people can follow: what else there is to do is done meanwhile.
            self._rest()
            self._attend()
        self._attend_at = self._next_attention()
        return not self._ended

    def warms_up(self, warm_start: WarmStart) -> None:
        """From now on the learner learns from a dataset: nothing is examined, and nothing kept
        unless somebody asks: a worker that took over would not begin with it once more."""
        self._warming = warm_start

    def warmed_up(self, dataset: str) -> bool:
        """The learner has learnt from the dataset so long as it could, and is examined first of
        all; False: the training is to end."""
        warm_start = self._warming
        assert warm_start is not None
        self._measure()
        self._warming = None
        if not warm_start.done:
            return not self._ended
        told = f"warm start: {warm_start.epochs} epochs over {warm_start.placements:,} placements"
        told += f" of {dataset}"
        if self._accuracy is not None:
            told += f": accuracy {self._accuracy:.2f}"
        self._steering.changes.append(told)
        self._tell(told)
        self._examine_alone()
        return self.tick()

    def finish(self) -> RunReason.ValueType:
        """Stores what the training leaves and returns why it ended.

        Raises:
            ServerGone: the server went away for good; nothing more is stored.
            TransferError: the server did not take the last checkpoint.
        """
        evaluation = None
        if self._verdict == RunReason.RUN_REASON_BUDGET_SPENT:
            evaluation = self._examine_alone()
        if self._steering.left:
            raise ServerGone("the server is gone")
        if self._learner.placements != self._measured or self._steering.changes:
            self._measure()
        if self._screen.watched:
            self._watching.show()
        self._keeper.finish(evaluation)
        return self._verdict or RunReason.RUN_REASON_STOPPED_BY_CALLER

    @property
    def _quiet(self) -> bool:
        """Whether nothing is due yet: between most batches a look at the clock is all it takes."""
        return (
            time.monotonic() < self._attend_at
            and not self._steering.pending
            and self._budget.verdict(self._learner.placements) is None
        )

    def _next_attention(self) -> float:
        """Before when, on the monotonic clock, nothing is due unless somebody says something."""
        if self._examiner.busy or self._paced or self._steering.max_training_rate > 0:
            return 0.0
        now = time.monotonic()
        return min(now + ATTENTION_SECONDS, now + self._metrics.remaining, self._watching.due)

    @property
    def _ended(self) -> bool:
        return self._steering.ending or self._verdict is not None

    @property
    def _paced(self) -> bool:
        """Whether the training itself is to go at the watched pace."""
        return self._steering.visual and self._steering.shows_training

    def _may_go_on(self) -> bool:
        """Whether neither pace holds the training back; if so, it counts as going on."""
        if self._limit_due > time.monotonic():
            return False
        if not self._paced:
            return True
        return bool(self._training_pace.beats(self._steering.placements_per_second))

    @property
    def _limit_due(self) -> float:
        return self._limit.due(self._learner.placements, self._steering.max_training_rate)

    def _attend(self) -> None:
        """Listens, shows, examines, keeps and measures, as far as each is due."""
        self._steering.check()
        if self._steering.paused:
            self._hold()
        if self._ended:
            return
        self._watching.step()
        if self._examiner.due and self._warming is None:
            self._examiner.start()
        self._examine(patient=True)
        self._keeper.keep_due(unasked=self._warming is None)
        if self._metrics.due:
            self._measure()
        self._verdict = self._budget.verdict(self._learner.placements)

    def _hold(self) -> None:
        """Stands still until the run goes on or ends; who begins to watch meanwhile, sees."""
        if self._screen.watched:
            self._watching.show()
        while self._steering.paused and not self._steering.ending:
            self._keeper.keep_due()
            if self._screen.wants:
                self._watching.show()
            self._steering.wait()

    def _rest(self) -> None:
        """Waits until something is due or somebody says something."""
        now = time.monotonic()
        until = self._limit_due
        if self._paced:
            until = max(until, self._training_pace.due(self._steering.placements_per_second))
        until = min(until, now + max(0.0, self._metrics.remaining))
        if self._examiner.busy:
            until = min(until, now + SLICE_SECONDS)
        self._steering.wait(min(until, self._watching.due))

    # Examining.

    def _begin_examination(self) -> Examination:
        self._keeper.examination_begins()
        return self._learner.examine(min(self._max_lines, self._cut_off))

    def _examine(self, *, patient: bool) -> Evaluation | None:
        """Plays a slice of the evaluation that is going on; returns it when that was the last."""
        done = self._examiner.step(patient=patient)
        if done is None:
            return None
        evaluation = done.result()
        self._take_limit(evaluation)
        self._budget.examined(evaluation)
        self._most_lines = max(self._most_lines, evaluation.best_lines)
        self._keeper.examination_ended(evaluation)
        self._measure(evaluation)
        return evaluation

    def _take_limit(self, evaluation: Evaluation) -> None:
        """Lets the games of the next evaluation last long enough, by what the last one showed."""
        longer = _LONGER if evaluation.cut_off_games else 1
        self._cut_off = max(self._cut_off, longer * evaluation.max_lines)

    def _examine_alone(self) -> Evaluation | None:
        """Evaluates the learner as it is while it waits; None where that takes too long."""
        self._examiner.start()
        end = time.monotonic() + LAST_EXAMINATION_SECONDS
        while time.monotonic() < end:
            self._steering.check()
            if self._steering.paused:
                self._hold()
            if self._steering.ending:
                break
            self._watching.step()
            evaluation = self._examine(patient=False)
            if evaluation is not None:
                return evaluation
        return None

    # Reporting.

    def _measure(self, evaluation: Evaluation | None = None) -> None:
        learner, metrics = self._learner, self._learner.metrics
        placements = learner.placements
        best_lines = max(self._most_lines, metrics.best_lines, self._watching.best_lines)
        eta = self._budget.eta(placements)
        point = MetricPoint(
            placements=placements,
            episodes=metrics.episodes,
            score=self._watching.score,
            lines=self._watching.lines,
            mean_reward=metrics.mean_reward,
            mean_lines=metrics.mean_lines,
            best_lines=best_lines,
            evaluation=evaluation,
            loss=metrics.take_loss(),
            exploration=learner.exploration,
            learning_rate=learner.learning_rate,
            progress=self._budget.progress(placements),
            eta=None if eta is None else duration(eta),
        )
        if self._warming is not None:
            self._add_warm_start(point, self._warming)
        self._metrics.write(point, self._steering.changes)
        self._measured = placements
        self._budget.measured(point.placements_per_second)
        sample = metrics.take_episodes()
        if sample:
            # One of thousands a second: the newest.
            self._send_episodes([_training_episode(sample[-1])])

    def _add_warm_start(self, point: MetricPoint, warm_start: WarmStart) -> None:
        loss, accuracy = warm_start.take_figures()
        point.warm_start_epoch = min(warm_start.epoch, warm_start.epochs)
        if loss is not None:
            point.warm_start_loss = loss
        if accuracy is not None:
            point.warm_start_accuracy = self._accuracy = accuracy

    def _report_showcase(self, episodes: list[Episode]) -> None:
        self._send_episodes(episodes)

    def _send_episodes(self, episodes: list[Episode]) -> None:
        self._link.send(AttachRequest(episodes=Episodes(episodes=episodes)))

    def _tell(self, text: str) -> None:
        self._link.send(AttachRequest(notice=Notice(text=text)))

    # Steering.

    def _take_up(self, before: Resumption) -> None:
        """Goes on as the worker before was steered, and with what it had found out."""
        learner, steering = self._learner, self._steering
        self._most_lines = before.best_lines
        if before.HasField("last"):
            # Only for that: a goal is reached by a model that is there to be kept.
            self._take_limit(before.last)
        if steering.learning_rate is not None:
            learner.set_learning_rate(steering.learning_rate)
        if steering.exploration is not None:
            learner.set_exploration(steering.exploration)
        steering.changes.append(f"restarted from {learner.placements:,} placements")

    def _update(self, update: Update) -> list[str]:
        """Does an Update; returns what changed, for people."""
        learner, changes = self._learner, []
        if update.HasField("learning_rate"):
            before = learner.learning_rate
            rate = update.learning_rate if update.learning_rate > 0 else None
            learner.set_learning_rate(rate)
            changes.append(_steered("learning_rate", before, rate))
        if update.HasField("exploration"):
            before, exploration = learner.exploration, update.exploration
            learner.set_exploration(exploration if exploration >= 0 else None)
            changes.append(
                _steered("exploration", before, exploration if exploration >= 0 else None)
            )
        if update.HasField("evaluation_period"):
            before = self._examiner.period
            after = update.evaluation_period.ToNanoseconds() / 1e9 or EVALUATION_PERIOD
            self._examiner.set_period(after)
            changes.append(f"evaluation_period {before:g} s -> {after:g} s")
        if update.HasField("budget"):
            changes += self._budget.change(update.budget)
            # A new target may be out of reach of games that are cut off for the old one.
            if self._budget.target is not None:
                self._max_lines = max(self._max_lines, enough_lines(update.budget))
        return changes


def _steered(name: str, before: float | None, after: float | None) -> str:
    """A change, for people; None: the schedule's value."""
    if after is None:
        return f"{name} back to its schedule"
    return f"{name} {before:.4g} -> {after:.4g}" if before is not None else f"{name} {after:.4g}"


def _training_episode(episode: FinishedEpisode) -> Episode:
    return Episode(
        number=episode.number,
        board=episode.board,
        lines=episode.lines,
        placements=episode.placements,
        score=episode.score,
        run_placements=episode.run_placements,
        end_time=timestamp(),
        view=RunView.RUN_VIEW_TRAINING,
    )
