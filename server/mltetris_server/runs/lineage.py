"""What slots, runs and datasets were made of, and of what that was made, as far as is known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple

from mltetris_api.v1 import dataset_pb2, run_pb2, slot_pb2, trainer_pb2

from mltetris_server.errors import NotFound
from mltetris_server.runs import uses
from mltetris_server.runs.summaries import dataset_summary, run_summary, slot_summary

MOST_NODES: Final = 200
_GONE: Final = "is not there any more"
_OTHER: Final = "there is another one of that name now"


class Thing(NamedTuple):
    """A slot, a run or a dataset, and which: its fingerprint, where that is known."""

    kind: str
    name: str
    sha256: str = ""


class Stores(NamedTuple):
    """What there is now."""

    slots: Sequence[slot_pb2.Slot]
    """All of them, reference players included."""
    runs: Callable[[Sequence[str]], Awaitable[dict[str, run_pb2.Run]]]
    """Makes of ids those of the runs that are there."""
    dataset: Callable[[str], Awaitable[tuple[dataset_pb2.Dataset, str] | None]]
    """Makes of a name the dataset and its description's SHA-256, if it is there."""
    maker: Callable[[str], Awaitable[str]]
    """Makes of a dataset's name the id of the simulation that made it; empty: none is known."""


class Lineage:
    """Walks from a subject to what it was made of, nearest first."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._by_name = {slot.name: slot for slot in stores.slots}
        self._nodes: dict[Thing, trainer_pb2.LineageNode] = {}
        self._parents: dict[Thing, list[Thing]] = {}
        self._hints: dict[Thing, list[Thing]] = {}
        """What things that are gone were made of, as far as their children tell."""

    async def of(self, kind: str, name: str) -> trainer_pb2.GetLineageResponse:
        """Returns the lineage of a slot, a run or a dataset.

        Raises:
            NotFound: there is none of that name.
        """
        root = self._resolved(Thing(kind, name))
        frontier, truncated = [root], False
        while frontier:
            left = MOST_NODES - len(self._nodes)
            truncated = truncated or len(frontier) > left
            frontier = frontier[:left]
            for thing, node in (await self._look(frontier)).items():
                self._nodes[thing] = node
            if not self._nodes[root].exists:
                raise NotFound(f"there is no {kind} {name}")
            parents = [parent for thing in frontier for parent in self._parents[thing]]
            frontier = [p for p in dict.fromkeys(parents) if p not in self._nodes]
        return self._response(root, truncated)

    async def _look(self, things: Iterable[Thing]) -> dict[Thing, trainer_pb2.LineageNode]:
        """What each of `things` is; notes what it was made of."""
        things = list(things)
        ids = [thing.name for thing in things if thing.kind == "run"]
        runs = await self._stores.runs(ids) if ids else {}
        nodes = {}
        for thing in things:
            if thing.kind == "slot":
                node, parents = self._slot(thing)
            elif thing.kind == "run":
                node, parents = self._run(thing, runs.get(thing.name))
            else:
                node, parents = await self._dataset(thing)
            if not node.exists:
                parents = parents or self._hints.get(thing, [])
            nodes[thing] = node
            self._parents[thing] = list(dict.fromkeys(parents))
        return nodes

    def _slot(self, thing: Thing) -> tuple[trainer_pb2.LineageNode, list[Thing]]:
        slot = self._by_name.get(thing.name)
        node = trainer_pb2.LineageNode(slot=thing.name)
        if slot is None or slot.sha256 != thing.sha256:
            node.summary = _GONE if slot is None else _OTHER
            return node, []
        node.exists = True
        node.summary = slot_summary(slot)
        run = [Thing("run", slot.source_run)] if slot.source_run else []
        if not slot.source_slot:
            return node, run
        source = self._resolved(Thing("slot", slot.source_slot, slot.sha256), before=slot)
        self._hints.setdefault(source, run)
        return node, [source]

    def _run(
        self, thing: Thing, run: run_pb2.Run | None
    ) -> tuple[trainer_pb2.LineageNode, list[Thing]]:
        node = trainer_pb2.LineageNode(run=thing.name)
        if run is None:
            node.summary = _GONE
            return node, []
        node.exists = True
        node.summary = run_summary(run)
        parents = [_source(source) for source in run.sources if source.WhichOneof("source")]
        if not parents:
            # A run from before they were kept.
            parents = [_player(player) for player in uses.players(run)]
        return node, [self._resolved(parent) for parent in parents]

    async def _dataset(self, thing: Thing) -> tuple[trainer_pb2.LineageNode, list[Thing]]:
        node = trainer_pb2.LineageNode(dataset=thing.name)
        found = await self._stores.dataset(thing.name)
        if found is None or (thing.sha256 and found[1] != thing.sha256):
            node.summary = _GONE if found is None else _OTHER
            maker = await self._stores.maker(thing.name) if found is None else ""
            return node, [Thing("run", maker)] if maker else []
        dataset, _ = found
        node.exists = True
        node.summary = dataset_summary(dataset)
        player = self._resolved(_named_player(dataset))
        if not dataset.run:
            return node, [player]
        run = Thing("run", dataset.run)
        self._hints.setdefault(run, [player])
        return node, [run]

    def _resolved(self, thing: Thing, before: slot_pb2.Slot | None = None) -> Thing:
        """`thing` by the name it has now, where its fingerprint tells.

        Args:
            before: a copy of it, which it cannot be itself.
        """
        if thing.kind != "slot":
            return thing
        slot = self._by_name.get(thing.name)
        if slot is not None and thing.sha256 in ("", slot.sha256) and slot is not before:
            return Thing("slot", slot.name, slot.sha256)
        same = [
            slot
            for slot in self._stores.slots
            if slot.sha256 == thing.sha256 and (before is None or _older(slot, before))
        ]
        if not same:
            return thing
        oldest = min(same, key=lambda slot: slot.create_time.ToNanoseconds())
        return Thing("slot", oldest.name, oldest.sha256)

    def _response(self, root: Thing, truncated: bool) -> trainer_pb2.GetLineageResponse:
        """The nodes found, everything before what it was made of."""
        self._break_cycles(root, [], set())
        depths = dict.fromkeys(self._nodes, 0)
        for _ in self._nodes:
            changed = False
            for thing in self._nodes:
                for parent in self._parents[thing]:
                    if parent in depths and depths[parent] <= depths[thing]:
                        depths[parent] = depths[thing] + 1
                        changed = True
            if not changed:
                break
        order = sorted(self._nodes, key=lambda thing: depths[thing])
        places = {thing: place for place, thing in enumerate(order)}
        response = trainer_pb2.GetLineageResponse(truncated=truncated)
        for thing in order:
            node = response.nodes.add()
            node.CopyFrom(self._nodes[thing])
            known = (places[parent] for parent in self._parents[thing] if parent in places)
            node.parents.extend(sorted(known))
        return response

    def _break_cycles(self, thing: Thing, path: list[Thing], done: set[Thing]) -> None:
        """Nothing is made of itself: what seems so was made of an earlier one of that name."""
        path.append(thing)
        for place, parent in enumerate(self._parents[thing]):
            if parent in path:
                earlier = Thing(parent.kind, parent.name, f"before {parent.sha256}")
                self._parents[thing][place] = earlier
                if earlier not in self._nodes and len(self._nodes) < MOST_NODES:
                    node = trainer_pb2.LineageNode(summary=_OTHER)
                    setattr(node, parent.kind, parent.name)
                    self._nodes[earlier] = node
                    self._parents[earlier] = []
            elif parent in self._nodes and parent not in done:
                self._break_cycles(parent, path, done)
        path.pop()
        done.add(thing)


def _source(source: run_pb2.Source) -> Thing:
    kind = source.WhichOneof("source")
    if kind == "checkpoint":
        return Thing("run", source.checkpoint.run)
    if kind == "dataset":
        return Thing("dataset", source.dataset, source.sha256)
    return Thing("slot", source.slot, source.sha256)


def _player(player: run_pb2.Player) -> Thing:
    if player.HasField("checkpoint"):
        return Thing("run", player.checkpoint.run)
    return Thing("slot", player.slot)


def _named_player(dataset: dataset_pb2.Dataset) -> Thing:
    """The player by what the dataset says of it: a slot's name, or RUN:KIND."""
    run, colon, _ = dataset.player.partition(":")
    if colon:
        return Thing("run", run)
    return Thing("slot", dataset.player, dataset.player_sha256)


def _older(slot: slot_pb2.Slot, other: slot_pb2.Slot) -> bool:
    return slot.create_time.ToNanoseconds() < other.create_time.ToNanoseconds()
