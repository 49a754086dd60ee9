"""Learning from a dataset's games before playing for oneself.

    warm_start = begin(agent, trajectories, method="cloning", epochs=3, max_placements=50_000,
                       learning_rate=0.01)
    while not warm_start.done:
        warm_start.advance()    # a few milliseconds
    warm_start.settle()

docs/learning/warm-start.md says what it brings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mltetris_server.learning.trajectories import Trajectories

if TYPE_CHECKING:
    # It brings torch along, which demos and simulations do without.
    from mltetris_server.learning.agent import Agent

CLONING = "cloning"
REPLAY = "replay"


class WarmStart(Protocol):
    """A warm start under way, in pieces of a few milliseconds.

    Attributes:
        epoch: The pass over the data, from 1.
        epochs: Passes in all.
        placements: Placements of the dataset that are learnt from.
    """

    epoch: int
    epochs: int
    placements: int

    @property
    def done(self) -> bool:
        """Whether all passes are over."""

    def advance(self) -> None:
        """Go on for a few milliseconds.

        Raises:
            TrajectoriesError: a placement cannot be made on the board that was there.
        """

    def settle(self) -> None:
        """Let the agent have what has been learnt so far; learning may go on afterwards."""

    def take_figures(self) -> tuple[float | None, float | None]:
        """Means since the last call: the loss, and the share of states for which the policy has
        the placement that was made; None: there is nothing to say."""


def begin(
    agent: Agent,
    trajectories: Trajectories,
    *,
    method: str,
    epochs: int,
    max_placements: int,
    learning_rate: float,
) -> WarmStart:
    """A warm start of this agent; what follows depends on its seed and the arguments alone.

    Args:
        agent: Who learns; between two of its batches.
        trajectories: From what.
        method: `CLONING` or `REPLAY`.
        epochs: Passes over the data, at least 1.
        max_placements: Placements to learn from at most.
        learning_rate: Step size of cloning.

    Raises:
        ValueError: the boards are of another width, or the method does not go with the agent.
    """
    # What brings torch along is imported where it is used.
    from mltetris_server.learning.td import TD
    from mltetris_server.learning.warm_start.cloning import Cloning
    from mltetris_server.learning.warm_start.replay import Replay
    from mltetris_server.learning.warm_start.tape import cut

    description = agent.description
    if trajectories.game.width != description.game.width:
        raise ValueError(
            f"the data's boards are {trajectories.game.width} wide, the game's "
            f"{description.game.width}"
        )
    tape = cut(trajectories, max_placements, agent.run_seed)
    if method == REPLAY:
        if not isinstance(agent, TD):
            raise ValueError(f"{description.algorithm} cannot learn by {REPLAY}")
        return Replay(agent, trajectories.game, tape, epochs)
    return Cloning(agent, trajectories.game, tape, epochs, learning_rate)
