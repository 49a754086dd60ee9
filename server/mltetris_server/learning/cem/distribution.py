"""What `cem` knows: a normal distribution over directions of weights, and its mean's average."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_AVERAGE = 8.0
"""How fast the average forgets: the mean of iteration k of K weighs about as (k / K) to this
power, so that about the last eighth of them counts."""


class Distribution:
    """A normal distribution over the weights of a linear policy, scaled by its mean.

    A policy makes the placement of greatest value, so that only the direction of its weights
    matters: samples, means and the average have length 1, and spreads are relative to that.

    Args:
        inputs: Weights F of a policy.

    Attributes:
        mean: float64[F]: length 1; zeros where no direction is any better than another.
        covariance: float64[F, F].
        average: float64[F]: mean of the iterations' means, the late ones counting most: the
            policy. Length 1, or zeros.
        updates: Means in the average.
    """

    def __init__(self, inputs: int) -> None:
        self.mean = np.zeros(inputs)
        self.covariance = np.eye(inputs)
        self.average = np.zeros(inputs)
        self.updates = 0

    def start_at(self, weights: NDArray[np.floating], spread: float) -> None:
        """Begin at these weights.

        Args:
            weights: [F]; zeros: every direction is equally likely.
            spread: Standard deviation of the samples from the mean, all weights together, as a
                share of the mean's length. Of no effect where the weights are zeros.
        """
        size = weights.size
        self.mean = _directed(np.asarray(weights, np.float64))
        self.covariance = np.eye(size) * (spread**2 / size if self.mean.any() else 1.0)
        self.restart_average()

    def restart_average(self) -> None:
        """Forget all means but the present one."""
        self.average = self.mean.copy()
        self.updates = 0

    def draw(self, count: int, seed: int, iteration: int) -> NDArray[np.float32]:
        """Samples, float32[count, F], each of length 1; they depend on nothing but the
        distribution and the arguments."""
        numbers = np.random.default_rng([seed, iteration])
        normal = numbers.standard_normal((count, self.mean.size))
        samples = self.mean + normal @ np.linalg.cholesky(self.covariance).T
        lengths = np.linalg.norm(samples, axis=1, keepdims=True)
        directions: NDArray[np.float64] = samples / np.maximum(lengths, np.finfo(np.float64).tiny)
        return directions.astype(np.float32)

    def update(
        self, samples: NDArray[np.float32], shares: NDArray[np.float64], noise: float
    ) -> None:
        """Become the distribution of the best samples, a little wider.

        Args:
            samples: float32[n, F], as drawn.
            shares: float64[n]: how much each counts; their sum is 1.
            noise: Standard deviation added in every direction, all weights together, as a share
                of the mean's length.
        """
        points = samples.astype(np.float64)
        mean = shares @ points
        apart = points - mean
        length = max(float(np.linalg.norm(mean)), 1e-6)
        size = mean.size
        covariance = (apart * shares[:, None]).T @ apart / length**2
        self.mean = mean / length
        self.covariance = covariance + np.eye(size) * (noise**2 / size)
        self.updates += 1
        step = (1 + _AVERAGE) / (self.updates + _AVERAGE)
        self.average = _directed(self.average + step * (self.mean - self.average))

    @property
    def spread(self) -> float:
        """Standard deviation of the samples from the mean, all weights together."""
        return float(np.sqrt(np.trace(self.covariance)))


def shares(finish: NDArray[np.int64], elite: int) -> NDArray[np.float64]:
    """How much each sample of a race counts.

    Lives of a memoryless player are exponential, and for those the expected order statistics are
    the best scores there are by ranks (Savage 1956, the log-rank test): of n samples the k-th to
    be out has lived 1/n + 1/(n-1) + ... + 1/(n-k+1) mean lives, and those still in play are
    expected to live one more. A sample counts by what it lived beyond one mean life, if anything.

    Args:
        finish: int64[n]: when each sample was out; the greatest number there is: it was not.
        elite: Samples at least that count as still in play: the last ones.

    Returns:
        float64[n], with the sum 1. How long those in play had lived makes no difference among
        them: who was cut off is known only not to have ended.
    """
    count = finish.size
    order = np.argsort(finish, kind="stable")
    in_play = max(elite, int((finish == np.iinfo(np.int64).max).sum()))
    out = count - in_play
    lived = np.cumsum(1.0 / (count - np.arange(out)))
    score: NDArray[np.float64] = np.zeros(count)
    if out:
        score[order[:out]] = np.maximum(lived - 1.0, 0.0)
        score[order[out:]] = lived[-1]
    else:
        score[:] = 1.0
    score /= score.sum()
    return score


def _directed(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of length 1; zeros stay zeros."""
    length = float(np.linalg.norm(weights))
    return weights / length if length > 0 else weights.copy()
