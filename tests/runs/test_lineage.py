"""Lineages: what was made of what, by fingerprints and not by names, however it is named now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from mltetris_api.v1 import dataset_pb2, run_pb2, slot_pb2, trainer_pb2
from mltetris_server.errors import NotFound
from mltetris_server.runs.lineage import MOST_NODES, Lineage, Stores


class World:
    """Slots, runs and datasets."""

    def __init__(self) -> None:
        self.slots: list[slot_pb2.Slot] = []
        self.runs: dict[str, run_pb2.Run] = {}
        self.datasets: dict[str, tuple[dataset_pb2.Dataset, str]] = {}

    def slot(self, name: str, sha256: str, *, run: str = "", slot: str = "") -> slot_pb2.Slot:
        made = slot_pb2.Slot(name=name, sha256=sha256, source_run=run, source_slot=slot)
        made.algorithm = run_pb2.ALGORITHM_TD
        made.features = run_pb2.FEATURE_SET_BCTS
        made.game.width, made.game.height = 10, 20
        made.create_time.FromSeconds(1000 + len(self.slots))
        self.slots.append(made)
        return made

    def run(self, run_id: str, *sources: run_pb2.Source) -> run_pb2.Run:
        run = run_pb2.Run(id=run_id, kind=1, state=6, sources=sources, display_name="a name")
        self.runs[run_id] = run
        return run

    def dataset(self, name: str, sha256: str, run: str, player: str, player_sha256: str) -> None:
        made = dataset_pb2.Dataset(name=name, run=run, player=player, player_sha256=player_sha256)
        made.games = 1000
        self.datasets[name] = (made, sha256)

    def ask(self, kind: str, name: str) -> trainer_pb2.GetLineageResponse:
        async def runs(ids: Sequence[str]) -> dict[str, run_pb2.Run]:
            return {run_id: self.runs[run_id] for run_id in ids if run_id in self.runs}

        async def dataset(name: str) -> tuple[dataset_pb2.Dataset, str] | None:
            return self.datasets.get(name)

        async def maker(name: str) -> str:
            return f"sim-of-{name}" if name == "lost" else ""

        stores = Stores(self.slots, runs, dataset, maker)
        response = asyncio.run(Lineage(stores).of(kind, name))
        for place, node in enumerate(response.nodes):
            assert all(parent > place for parent in node.parents), "all further on"
            assert node.summary
        reached = {0} | {parent for node in response.nodes for parent in node.parents}
        assert reached == set(range(len(response.nodes)))
        return response

    def tell(self, kind: str, name: str) -> list[str]:
        """Each node with its parents, as "slot mine <- run train-1"; a "?" is one that is gone."""
        nodes = self.ask(kind, name).nodes

        def named(node: trainer_pb2.LineageNode) -> str:
            kind = node.WhichOneof("subject") or ""
            return f"{kind} {getattr(node, kind)}" + ("" if node.exists else "?")

        return [
            " <- ".join([named(node), *([", ".join(named(nodes[p]) for p in node.parents)])])
            if node.parents
            else named(node)
            for node in nodes
        ]


def slot(name: str, sha256: str) -> run_pb2.Source:
    return run_pb2.Source(slot=name, sha256=sha256)


def checkpoint(run: str) -> run_pb2.Source:
    return run_pb2.Source(checkpoint=run_pb2.RunCheckpoint(run=run), sha256="c" * 64)


def dataset(name: str, sha256: str) -> run_pb2.Source:
    return run_pb2.Source(dataset=name, sha256=sha256)


@pytest.fixture
def world() -> World:
    return World()


def test_slot_run_dataset_slot(world: World) -> None:
    world.slot("bcts", "b")
    world.dataset("games", "d", "sim-1", "bcts", "b")
    world.run("sim-1", slot("bcts", "b"))
    world.run("train-1", dataset("games", "d"))
    world.slot("mine", "m", run="train-1")
    assert world.tell("slot", "mine") == [
        "slot mine <- run train-1",
        "run train-1 <- dataset games",
        "dataset games <- run sim-1",
        "run sim-1 <- slot bcts",
        "slot bcts",
    ]
    assert world.tell("dataset", "games")[0] == "dataset games <- run sim-1"
    summaries = [node.summary for node in world.ask("slot", "mine").nodes]
    assert summaries[0] == "td on bcts features, 10x20"
    assert summaries[1] == "training, succeeded: a name"
    assert summaries[2] == "1,000 games of bcts, 0x0"


def test_a_slot_that_was_renamed_has_its_present_name(world: World) -> None:
    world.slot("renamed", "b")
    world.run("train-1", slot("before", "b"))
    assert world.tell("run", "train-1") == ["run train-1 <- slot renamed", "slot renamed"]


def test_what_was_deleted_is_still_named(world: World) -> None:
    world.run("train-1", slot("gone", "b"), checkpoint("train-0"), dataset("lost", "d"))
    told = world.tell("run", "train-1")
    assert told[0] == "run train-1 <- slot gone?, run train-0?, dataset lost?"
    assert "dataset lost? <- run sim-of-lost?" in told


def test_another_slot_of_the_same_name_is_not_the_one(world: World) -> None:
    world.slot("mine", "new", run="train-1")
    world.run("train-1", slot("mine", "old"))
    assert world.tell("slot", "mine") == [
        "slot mine <- run train-1",
        "run train-1 <- slot mine?",
        "slot mine?",
    ]
    assert "another" in world.ask("slot", "mine").nodes[2].summary


def test_another_dataset_of_the_same_name_is_not_the_one(world: World) -> None:
    world.dataset("games", "new", "sim-2", "bcts", "b")
    world.run("train-1", dataset("games", "old"))
    assert world.tell("run", "train-1") == ["run train-1 <- dataset games?", "dataset games?"]


def test_a_copy_is_made_of_what_it_was_copied_from(world: World) -> None:
    world.run("train-1")
    world.slot("first", "m", run="train-1")
    world.slot("copy", "m", run="train-1", slot="first")
    assert world.tell("slot", "copy") == [
        "slot copy <- slot first",
        "slot first <- run train-1",
        "run train-1",
    ]
    # The first is gone: what it was made of the copy knows.
    world.slots = [world.slots[1]]
    assert world.tell("slot", "copy") == [
        "slot copy <- slot first?",
        "slot first? <- run train-1",
        "run train-1",
    ]


def test_a_deleted_simulation_is_known_by_its_dataset(world: World) -> None:
    world.slot("bcts", "b")
    world.dataset("games", "d", "sim-1", "bcts", "b")
    assert world.tell("dataset", "games") == [
        "dataset games <- run sim-1?",
        "run sim-1? <- slot bcts",
        "slot bcts",
    ]


def test_a_shared_ancestor_is_there_once_after_everything_made_of_it(world: World) -> None:
    world.slot("base", "b")
    world.run("train-2", slot("base", "b"))
    world.slot("better", "x", run="train-2")
    world.run("bench-1", slot("base", "b"), slot("better", "x"))
    assert world.tell("run", "bench-1") == [
        "run bench-1 <- slot better, slot base",
        "slot better <- run train-2",
        "run train-2 <- slot base",
        "slot base",
    ]


def test_an_old_run_without_sources_is_told_by_its_spec_and_circles_are_cut(world: World) -> None:
    run = world.run("train-1")
    run.training.slot = "mine"
    world.slot("mine", "m", run="train-1")
    assert world.tell("slot", "mine") == [
        "slot mine <- run train-1",
        "run train-1 <- slot mine?",
        "slot mine?",
    ]


def test_a_long_lineage_is_cut_off_and_says_so(world: World) -> None:
    for number in range(MOST_NODES + 50):
        world.run(f"train-{number}", checkpoint(f"train-{number + 1}"))
    response = world.ask("run", "train-0")
    assert len(response.nodes) == MOST_NODES
    assert response.truncated
    world.run("wide", *(slot(f"s{n}", str(n)) for n in range(MOST_NODES + 1)))
    response = world.ask("run", "wide")
    assert (len(response.nodes), response.truncated) == (MOST_NODES, True)
    world.run("just", *(slot(f"s{n}", str(n)) for n in range(MOST_NODES - 1)))
    response = world.ask("run", "just")
    assert (len(response.nodes), response.truncated) == (MOST_NODES, False)


@pytest.mark.parametrize("kind", ["slot", "run", "dataset"])
def test_what_there_is_not_is_not_found(world: World, kind: str) -> None:
    with pytest.raises(NotFound, match=f"no {kind} none"):
        world.ask(kind, "none")
