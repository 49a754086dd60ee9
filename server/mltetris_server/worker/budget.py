"""When a training ends by itself, how far it is, and how long it will still take."""

from __future__ import annotations

from mltetris_api.v1.run_pb2 import Budget, Evaluation, RunReason

from mltetris_server.worker.clocks import RunClock

_NEWEST = 0.3
"""Weight of the newest speed in the average that the estimate goes by."""


class BudgetMeter:
    """Compares a training with its budget.

    Args:
        budget: the limits; what is unset or 0 is no limit.
        clock: the run's time.
        placements: the lineage's placements at the run's start, which do not count.
    """

    def __init__(self, budget: Budget, clock: RunClock, placements: int) -> None:
        self._clock = clock
        self._before = placements
        self._evaluation: Evaluation | None = None
        self._speed: float | None = None
        self._take(budget)

    def _take(self, budget: Budget) -> None:
        self._budget = Budget()
        self._budget.CopyFrom(budget)
        # As plain numbers: they are compared between any two batches.
        self._most_placements = budget.max_placements
        self._duration = (
            budget.max_duration.ToNanoseconds() / 1e9 if budget.HasField("max_duration") else None
        )
        self.target = budget.target_mean_lines if budget.HasField("target_mean_lines") else None
        """Mean lines at which the goal is reached, if there is one."""

    def change(self, budget: Budget) -> list[str]:
        """Takes a new budget, whole; returns what changed, for people."""
        old = _words(self._budget)
        self._take(budget)
        new = _words(self._budget)
        return [f"{name} {old[name]} -> {new[name]}" for name in old if old[name] != new[name]]

    def examined(self, evaluation: Evaluation) -> None:
        """Takes note of the newest evaluation."""
        self._evaluation = evaluation

    def measured(self, placements_per_second: float) -> None:
        """Takes note of the speed since the last measurement."""
        speed = self._speed
        self._speed = (
            placements_per_second
            if speed is None
            else speed + _NEWEST * (placements_per_second - speed)
        )

    def verdict(self, placements: int) -> RunReason.ValueType | None:
        """Why the training is to end now; None: it goes on.

        Args:
            placements: the lineage's placements now.
        """
        if (
            self.target is not None
            and self._evaluation is not None
            and self._evaluation.mean_lines >= self.target
        ):
            return RunReason.RUN_REASON_GOAL_REACHED
        if any(share >= 1 for share in self._spent(placements)):
            return RunReason.RUN_REASON_BUDGET_SPENT
        return None

    def progress(self, placements: int) -> float | None:
        """Share of the budget spent or of the goal reached, whichever is nearer, 0..1.

        None where there is no end in sight.
        """
        shares = self._spent(placements)
        if self.target is not None:
            lines = self._evaluation.mean_lines if self._evaluation is not None else 0.0
            shares.append(lines / self.target if self.target > 0 else 1.0)
        return min(1.0, max(0.0, *shares)) if shares else None

    def eta(self, placements: int) -> float | None:
        """Seconds until the budget is spent at the present speed; None where there is no limit."""
        left = []
        if self._duration is not None:
            left.append(self._duration - self._clock.elapsed)
        if self._most_placements and self._speed:
            left.append((self._most_placements - self._made(placements)) / self._speed)
        return max(0.0, min(left)) if left else None

    def _made(self, placements: int) -> int:
        return placements - self._before

    def _spent(self, placements: int) -> list[float]:
        shares = []
        if self._most_placements:
            shares.append(self._made(placements) / self._most_placements)
        if self._duration is not None:
            shares.append(self._clock.elapsed / max(self._duration, 1e-9))
        return shares


def _words(budget: Budget) -> dict[str, str]:
    """The limits as people read them."""
    duration = budget.max_duration.ToNanoseconds() / 1e9
    return {
        "max_placements": f"{budget.max_placements}" if budget.max_placements else "none",
        "max_duration": f"{duration:g} s" if budget.HasField("max_duration") else "none",
        "target_mean_lines": (
            f"{budget.target_mean_lines:g}" if budget.HasField("target_mean_lines") else "none"
        ),
    }
