"""Models on the server's disk, slots and runs' checkpoints, for those who are not to block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mltetris_api.v1 import run_pb2, slot_pb2, trainer_pb2
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.errors import WrongState
from mltetris_server.runs.specs import ModelFacts, check_going_on, check_player
from mltetris_server.runs.threads import Thread
from mltetris_server.storage.checkpoints import Checkpoint
from mltetris_server.storage.run_store import RunStore
from mltetris_server.storage.slots import SlotStore


class Models:
    """Slots and checkpoints. Everything happens in order on the one thread `disk`."""

    def __init__(self, slots: SlotStore, runs: RunStore, disk: Thread) -> None:
        self.slots = slots
        self.runs = runs
        self.disk = disk

    async def active(self) -> str:
        """Returns the name of the active slot; empty: none.

        Raises:
            DataLoss: the file that says it is damaged.
        """
        return await self.disk(self.slots.active) or ""

    async def known_active(self) -> str:
        """Returns the name of the active slot; empty: none, or it is not known which."""
        return await self.disk(self.slots.known_active) or ""

    async def check_training(self, spec: run_pb2.TrainingSpec) -> ModelFacts | None:
        """Returns what `spec` goes on from; None: it begins anew.

        Raises:
            NotFound, DataLoss, InvalidArgument: it cannot start from its source.
        """
        source = spec.WhichOneof("start_from")
        if source == "slot":
            facts = await self._slot_facts(spec.slot)
        elif source == "checkpoint":
            facts = await self._checkpoint_facts(spec.checkpoint)
        else:
            return None
        check_going_on(spec, facts)
        return facts

    async def players(
        self, path: str, asked: Sequence[run_pb2.Player], game: run_pb2.GameSpec
    ) -> tuple[list[run_pb2.Player], list[ModelFacts]]:
        """Returns who plays, those `asked` for or else the active slot, and what they are.

        Args:
            path: where the players stand in the request, e.g. `demo.slots`.
            game: what is to be played, as asked; its width is the first player's where it has none.

        Raises:
            WrongState: none is named and none is active.
            NotFound, DataLoss, InvalidArgument: one is missing, damaged or cannot play.
        """
        players = list(asked)
        if not players:
            active = await self.active()
            if not active:
                raise WrongState("there is no active slot: name one, or save and activate one")
            players = [run_pb2.Player(slot=active)]
        facts = [await self._player(player) for player in players]
        # The worker's choice, too: the game is the first one's where none is asked for.
        width = game.width if game.HasField("width") else facts[0].game.width
        several = path.endswith("s")
        for i, player in enumerate(facts):
            field = f"{path}[{i}]" if asked and several else f"{path.partition('.')[0]}.game.width"
            check_player(field, player, width)
        return players, facts

    async def _player(self, player: run_pb2.Player) -> ModelFacts:
        if player.HasField("slot"):
            return await self._slot_facts(player.slot)
        return await self._checkpoint_facts(player.checkpoint)

    async def _slot_facts(self, slot: str) -> ModelFacts:
        checkpoint = await self.disk(self.slots.read, slot)
        source = run_pb2.Source(slot=slot, sha256=checkpoint.sha256)
        return facts_of(f"slot {slot}", checkpoint, source)

    async def _checkpoint_facts(self, named: run_pb2.RunCheckpoint) -> ModelFacts:
        checkpoint = await self.disk(self.runs.read, named.run, named.kind)
        source = run_pb2.Source(checkpoint=named, sha256=checkpoint.sha256)
        source.checkpoint.kind = named.kind or run_pb2.CHECKPOINT_KIND_BEST
        return facts_of(_describe(named), checkpoint, source)

    async def read(self, request: worker_pb2.GetCheckpointRequest) -> Checkpoint:
        """Returns the model that `request` names, every byte checked."""
        if request.HasField("slot"):
            return await self.disk(self.slots.read, request.slot)
        return await self.disk(self.runs.read, request.checkpoint.run, request.checkpoint.kind)

    async def take_spooled(self, run: run_pb2.Run) -> run_pb2.CheckpointInfo | None:
        """Stores what a worker of `run` left when its server was gone, if it left anything."""
        return await self.disk(self.runs.take_spooled, run.id, command=run.command)

    async def whole(self, run_id: str) -> list[run_pb2.CheckpointInfo]:
        """Returns the checkpoints of a run that can be read, every byte checked."""
        return await self.disk(self.runs.whole, run_id)

    async def write(
        self, run: run_pb2.Run, header: worker_pb2.CheckpointHeader, files: Mapping[str, bytes]
    ) -> run_pb2.CheckpointInfo:
        """Stores a checkpoint of `run`, whole or not at all."""
        return await self.disk(
            self.runs.write,
            run.id,
            header.kind,
            model=header.model_json,
            files=files,
            placements=header.placements,
            evaluation=header.evaluation if header.HasField("evaluation") else None,
            command=run.command,
        )

    async def save_slot(self, request: trainer_pb2.SaveSlotRequest) -> slot_pb2.Slot:
        """Saves the model that `request` names as a slot."""
        return await self.disk(self._save_slot, request)

    def _save_slot(self, request: trainer_pb2.SaveSlotRequest) -> slot_pb2.Slot:
        if request.HasField("slot"):
            checkpoint = self.slots.read(request.slot)
        else:
            checkpoint = self.runs.read(request.checkpoint.run, request.checkpoint.kind)
        return self.slots.save(
            request.name,
            checkpoint,
            notes=request.notes,
            tags=_unrepeated(request.tags),
            source_slot=request.slot,
            overwrite=request.overwrite,
        )


def _unrepeated(tags: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(tags))


def facts_of(name: str, checkpoint: Checkpoint, source: run_pb2.Source) -> ModelFacts:
    """What a model, read from its place, is; `name` is for people."""
    manifest = checkpoint.manifest
    model = manifest.model
    return ModelFacts(
        name,
        algorithm=str(model["algorithm"]),
        hyperparameters=_mapping(model.get("hyperparameters")),
        hidden=_hidden(model.get("network")),
        features=manifest.features,
        game=manifest.game,
        source=source,
    )


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _hidden(network: object) -> tuple[int, ...]:
    """The hidden layers that a manifest tells of; the worker checks them against the weights."""
    units = _mapping(network).get("hidden")
    return tuple(units) if isinstance(units, list) else ()


def _describe(checkpoint: run_pb2.RunCheckpoint) -> str:
    kind = run_pb2.CheckpointKind.Name(checkpoint.kind or run_pb2.CHECKPOINT_KIND_BEST)
    return f"run {checkpoint.run}'s {kind.rsplit('_', 1)[1].lower()} checkpoint"
