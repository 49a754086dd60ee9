"""From scores that only rank candidates to values as td and dqn have them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.learning.kernels import Network
from mltetris_server.learning.warm_start.kernels import Examples
from mltetris_server.learning.warm_start.tables import ROOM, sum_windows

SAMPLE = 500
"""States that are enough to tell."""
MADE, OTHERS = 0.1, 0.5
"""Shares of the death reward: what a placement made is to be worth, and what a candidate is."""


def first_states(examples: Examples, count: int) -> Examples:
    """A copy of the first states."""
    rows = int(examples.starts[count])
    return Examples(
        examples.features[:rows].copy(),
        examples.starts[: count + 1].copy(),
        examples.made[:count].copy(),
    )


def network_values(network: Network, examples: Examples, death_reward: float) -> Network:
    """The network whose outputs rank as this one's do, and lie where values do.

    Args:
        network: Its outputs are logits.
        examples: States that it has learnt from; where there are none, it stays as it is.
        death_reward: Of a value function; below 0.
    """
    hidden = np.maximum(examples.features @ network.hidden_weights.T + network.hidden_bias, 0)
    scores = hidden @ network.output_weights + network.output_bias[0]
    scale, shift = _line(scores, examples, MADE * death_reward, OTHERS * death_reward)
    return _moved(network, scale, shift)


def table_values(network: Network, examples: Examples, death_reward: float) -> Network:
    """`network_values` for a table of patterns, whose sums say how far a board is from death:
    its values are shares of the death reward already.

    Args:
        network: The table.
        examples: States that it has learnt from.
        death_reward: Not needed.
    """
    scores = np.zeros(examples.features.shape[0])
    room = np.zeros(ROOM * examples.features.shape[1] // 2, np.int64)
    sum_windows(examples.features, network.output_weights, room, scores)
    made, others = (float(np.log(1 / chance - 1)) for chance in (MADE, OTHERS))
    scale, shift = _line(scores, examples, made, others)
    return _moved(network._replace(output_bias=np.zeros(1, np.float32)), scale, shift)


def _line(
    scores: NDArray[np.floating], examples: Examples, made: float, others: float
) -> tuple[float, float]:
    """Scale above 0 and shift that bring the mean score of what was made to `made`, and that of
    all candidates to `others`."""
    if not examples.made.size:
        return 1.0, 0.0
    chosen = float(scores[examples.starts[:-1] + examples.made].mean())
    # Where nothing has been learnt yet, they hardly differ.
    apart = max(chosen - float(scores.mean()), 1e-3)
    scale = (made - others) / apart
    return scale, made - scale * chosen


def _moved(network: Network, scale: float, shift: float) -> Network:
    return network._replace(
        output_weights=(network.output_weights * scale).astype(np.float32),
        output_bias=(network.output_bias * scale + shift).astype(np.float32),
    )
