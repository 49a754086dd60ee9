"""Which checkpoints a training keeps, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mltetris_api.v1.run_pb2 import CheckpointKind, Evaluation

from mltetris_server.worker.clocks import RunClock
from mltetris_server.worker.learner import Learner
from mltetris_server.worker.saving import Saver
from mltetris_server.worker.transfer import Checkpoint

BEST = CheckpointKind.CHECKPOINT_KIND_BEST
LATEST = CheckpointKind.CHECKPOINT_KIND_LATEST
FINAL = CheckpointKind.CHECKPOINT_KIND_FINAL


class Keeper:
    """Keeps `best` at every new best, `latest` on a period and on request, `final` at the end.

    Args:
        learner: what is kept.
        saver: how it gets to the server.
        clock: the run's time.
        period: seconds between two `latest`.
        best: mean lines of the `best` that is stored already, if any.
    """

    def __init__(
        self,
        learner: Learner,
        saver: Saver,
        clock: RunClock,
        period: float,
        best: float | None = None,
    ) -> None:
        self._learner = learner
        self._saver = saver
        self._clock = clock
        self._period = period
        self._due = clock.elapsed + period
        self._requests: list[Callable[[], None]] = []
        self._candidate: Checkpoint | None = None
        self._best_mean = best

    def request_latest(self, done: Callable[[], None]) -> None:
        """Asks for a `latest` as soon as may be; `done` is called once it is stored."""
        self._requests.append(done)

    def keep_due(self, *, unasked: bool = True) -> None:
        """Stores `latest` where its time has come or somebody asked for it.

        Args:
            unasked: whether its time counts at all.
        """
        if self._requests or (unasked and self._clock.elapsed >= self._due):
            self._keep_latest()

    def examination_begins(self) -> None:
        """Takes down what is going to be examined: should it be a new best, it is this."""
        self._candidate = self._learner.checkpoint()

    def examination_ended(self, evaluation: Evaluation) -> None:
        """Stores what was examined as `best` where it is."""
        candidate, self._candidate = self._candidate, None
        if candidate is None:
            return
        if self._best_mean is None or evaluation.mean_lines > self._best_mean:
            self._best_mean = evaluation.mean_lines
            self._saver.save(BEST, replace(candidate, evaluation=evaluation))

    def finish(self, evaluation: Evaluation | None) -> None:
        """Stores `final` and waits until everything is stored.

        Args:
            evaluation: that of the learner as it is now, if there is one.

        Raises:
            TransferError: the server did not take `final`.
        """
        self._saver.save(FINAL, replace(self._learner.checkpoint(), evaluation=evaluation))
        self._saver.finish()
        refusal = self._saver.refusals.get(FINAL)
        if refusal is not None:
            raise refusal

    def _keep_latest(self) -> None:
        requests, self._requests = self._requests, []
        self._due = self._clock.elapsed + self._period

        def stored() -> None:
            for done in requests:
                done()

        self._saver.save(LATEST, self._learner.checkpoint(), stored)
