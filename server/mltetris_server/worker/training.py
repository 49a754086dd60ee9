"""A training: SB3's `learn()`, with a session between its batches."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from mltetris_api.v1.run_pb2 import RunCheckpoint, RunReason
from mltetris_api.worker.v1.worker_pb2 import GetCheckpointRequest, Welcome

from mltetris_server.learning.agent import Agent
from mltetris_server.learning.algorithms import algorithm
from mltetris_server.learning.checkpoint import load
from mltetris_server.learning.model import ModelDescription
from mltetris_server.worker.agent_learner import AgentLearner
from mltetris_server.worker.lean_torch import spare_the_compiler
from mltetris_server.worker.link import Link, ServerGone
from mltetris_server.worker.mailbox import Mailbox
from mltetris_server.worker.session import Session
from mltetris_server.worker.specs import TrainingPlan, plan_training
from mltetris_server.worker.spool import spool
from mltetris_server.worker.transfer import Checkpoint, get_checkpoint
from mltetris_server.worker.warming_up import prepare_warm_start, warm_up

_log = logging.getLogger(__name__)


def run_training(
    link: Link, mailbox: Mailbox, welcome: Welcome, begun: Callable[[], None]
) -> RunReason.ValueType:
    """Runs a training to its end and returns why it ended.

    Args:
        link: the line to the server.
        mailbox: what the server says.
        welcome: what the server said first.
        begun: called once everything is loaded.

    Raises:
        ServerGone: the server went away for good.
        TransferError: the model to go on from could not be read, or the last checkpoint stored.
        CheckpointError: the model to go on from is not what it should be.
        SpecError: the model does not go with what was asked for.
        HyperparameterError: a hyperparameter is out of range.
        TrajectoriesError: the dataset to learn from first is not what it should be.
    """
    spare_the_compiler()
    source = _source(welcome, link.settings.run)
    checkpoint = get_checkpoint(link, source) if source is not None else None
    plan, agent = prepare(welcome, checkpoint)
    warm_start = None
    # A worker that takes over from another goes on behind it.
    if plan.spec.HasField("warm_start") and not welcome.resumption.checkpoint:
        warm_start = prepare_warm_start(link, agent, plan.spec.warm_start)
    learner = AgentLearner(agent, plan)
    session = Session(link, mailbox, welcome, plan, learner)
    _log.info("training on from %d placements, seed %d", learner.placements, plan.spec.seed)
    begun()
    session.begin()
    if warm_start is None or warm_up(session, warm_start, plan.spec.warm_start.dataset):
        learner.learn(session)
    try:
        return session.finish()
    except ServerGone:
        if link.settings.spool is not None:
            spool(link.settings.spool, learner.checkpoint())
        raise


def prepare(welcome: Welcome, checkpoint: Checkpoint | None) -> tuple[TrainingPlan, Agent]:
    """The plan of a training, and its learner at its beginning.

    Args:
        welcome: what to run.
        checkpoint: what it goes on from, if anything.
    """
    asked, control = welcome.training, welcome.control
    if checkpoint is None:
        plan = plan_training(asked, control)
        description = ModelDescription(plan.features, plan.game, plan.config)
        create = algorithm(description.algorithm).create
        return plan, create(description, seed=plan.spec.seed, threads=plan.threads, verbose=0)
    model = json.loads(checkpoint.model_json)
    plan = plan_training(asked, control, model)
    agent = load(
        model,
        checkpoint.files,
        placements=checkpoint.placements,
        seed=asked.seed if asked.HasField("seed") else None,
        game=plan.game,
        config=plan.config,
        threads=plan.threads,
    )
    return plan_training(asked, control, model, seed=agent.run_seed), agent


def _source(welcome: Welcome, run: str) -> GetCheckpointRequest | None:
    """What a training goes on from; None: from nothing."""
    if welcome.resumption.checkpoint:
        own = RunCheckpoint(run=run, kind=welcome.resumption.checkpoint)
        return GetCheckpointRequest(checkpoint=own)
    spec = welcome.training
    match spec.WhichOneof("start_from"):
        case "slot":
            return GetCheckpointRequest(slot=spec.slot)
        case "checkpoint":
            return GetCheckpointRequest(checkpoint=spec.checkpoint)
        case _:
            return None
