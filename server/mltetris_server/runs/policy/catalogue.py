"""Which model a slot's name means, known without a look at the disk for as long as nothing changes.

The store says when slots change, in the one thread that looks at the disk. That thread also reads
the models and writes down here what it has read. So what stands here is what the disk has, and who
asks after a change was answered is told what is there since.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from mltetris_api.v1 import policy_pb2, run_pb2

from mltetris_server.errors import WrongState
from mltetris_server.runs.models import Models, facts_of
from mltetris_server.runs.specs import ModelFacts

POLICY_FILE: Final = "policy.safetensors"
"""What of a model is enough to play."""

MOST_KNOWN: Final = 16
"""Names that are remembered with their models."""


@dataclass(eq=False)
class Model:
    """A model that can be asked."""

    slot: str
    sha256: str
    """Of its manifest, hex: the same digits are the same model."""
    model_json: str
    files: Mapping[str, bytes]
    facts: ModelFacts
    info: policy_pb2.PolicyInfo
    used: float = field(default_factory=time.monotonic)
    """When it was last asked for."""


class Catalogue:
    """Finds models by their slot's name; an empty one means the active slot."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._known: dict[str, Model] = {}
        self._finding: dict[str, asyncio.Task[Model]] = {}
        models.slots.on_change = self._forget

    async def find(self, slot: str) -> Model:
        """Returns the model of `slot`, as it was at a moment after the call began.

        Raises:
            WrongState: none is named and none is active.
            NotFound, DataLoss: it is missing or damaged.
        """
        model = self._known.get(slot)
        joined = False
        while model is None:
            task = self._finding.get(slot)
            if task is None or joined:
                # Of one's own, after one that others had begun: it may have read too early.
                task = asyncio.ensure_future(self._models.disk(self._read, slot))
                self._finding[slot] = task
                task.add_done_callback(lambda done: self._done(slot, done))
                return await asyncio.shield(task)
            joined = True
            await asyncio.wait([task])
            model = self._known.get(slot)
        model.used = time.monotonic()
        return model

    async def find_anew(self, slot: str) -> Model:
        """The same, from the disk, whatever is known."""
        return await self._models.disk(self._read, slot)

    def _done(self, slot: str, task: asyncio.Task[Model]) -> None:
        if self._finding.get(slot) is task:
            del self._finding[slot]
        if not task.cancelled():
            task.exception()

    # -- In the thread that looks at the disk ----------------------------------------------------

    def _read(self, slot: str) -> Model:
        slots = self._models.slots
        self._known.pop(slot, None)
        name = slot or slots.active()
        if not name:
            raise WrongState("there is no active slot: name one, or save and activate one")
        checkpoint = slots.read(name)
        manifest = checkpoint.manifest
        model = Model(
            name,
            checkpoint.sha256,
            manifest.model_json,
            {POLICY_FILE: checkpoint.files[POLICY_FILE]},
            facts_of(f"slot {name}", checkpoint, run_pb2.Source(slot=name)),
            policy_pb2.PolicyInfo(
                slot=name,
                sha256=checkpoint.sha256,
                features=manifest.features,
                algorithm=manifest.algorithm,
            ),
        )
        while len(self._known) >= MOST_KNOWN:
            del self._known[min(self._known, key=lambda known: self._known[known].used)]
        self._known[slot] = model
        named = self._known.get(name)
        if named is not None and named.sha256 != model.sha256:
            # It was changed behind the store's back.
            del self._known[name]
        return model

    def _forget(self, names: Collection[str]) -> None:
        for name in names:
            self._known.pop(name, None)
        active = self._known.get("")
        if active is not None and active.slot in names:
            del self._known[""]
