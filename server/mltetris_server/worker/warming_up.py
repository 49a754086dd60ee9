"""A training's warm start: from the server's dataset to an agent that has learnt from it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mltetris_api.v1.run_pb2 import WarmStart as WarmStartSpec

from mltetris_server.learning.agent import Agent
from mltetris_server.learning.trajectories import FILE, load
from mltetris_server.learning.warm_start import WarmStart, begin
from mltetris_server.worker.link import Link
from mltetris_server.worker.session import Session
from mltetris_server.worker.trajectories import get_trajectories
from mltetris_server.worker.warm_start_plan import method_word


def prepare_warm_start(link: Link, agent: Agent, spec: WarmStartSpec) -> WarmStart:
    """Fetches the dataset of a spec whose every default is filled in.

    Raises:
        ServerGone: the server went away for good.
        TransferError: the server has no such dataset, or what came is not what it says.
        TrajectoriesError: the dataset does not hold what it should.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / FILE
        get_trajectories(link, path)
        return begin(
            agent,
            load(path),
            method=method_word(spec),
            epochs=spec.epochs,
            max_placements=spec.max_placements,
            learning_rate=spec.learning_rate,
        )


def warm_up(session: Session, warm_start: WarmStart, dataset: str) -> bool:
    """Learns from the dataset; whether the training is to go on.

    Ended before its time, it leaves to the agent what has been learnt so far.

    Args:
        session: Its turn comes every few milliseconds.
        warm_start: What is learnt from.
        dataset: Its name.

    Raises:
        TrajectoriesError: a placement of the dataset cannot be made.
    """
    session.warms_up(warm_start)
    epoch = warm_start.epoch
    going_on = session.tick()
    while going_on and not warm_start.done:
        warm_start.advance()
        if warm_start.epoch != epoch:
            # What is shown and kept meanwhile has learnt so much.
            epoch = warm_start.epoch
            warm_start.settle()
        going_on = session.tick()
    if not warm_start.done:
        warm_start.settle()
    return session.warmed_up(dataset)
