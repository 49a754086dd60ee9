"""PolicyService on a real server: who is asked, what is refused, and switching under load."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import mltetris_client
import numpy as np
import psutil
import pytest
from mltetris_api.v1 import policy_pb2
from mltetris_api.v1.board_pb2 import Piece
from mltetris_api.v1.policy_pb2 import Position
from mltetris_client import Trainer
from mltetris_server.errors import Unavailable
from mltetris_server.game.config import FeatureSet
from mltetris_server.runs.models import Models
from mltetris_server.runs.policy import keeper as policy_keeper
from mltetris_server.runs.policy import process as policy_process
from mltetris_server.runs.policy.keeper import PolicyKeeper
from mltetris_server.runs.policy.process import POLICY_COMMAND
from mltetris_server.runs.threads import Thread
from mltetris_server.service.access import OPERATOR, VIEWER, least_role
from mltetris_server.storage import bundle
from mltetris_server.storage.run_store import RunStore
from mltetris_server.storage.slots import REFERENCES, SlotStore
from mltetris_server.worker.policy_advisor import Advisor
from support.checkpoints import flip_bit
from support.policies import a_bundle, a_position, sha256_of
from support.server import ServerProcess
from support.small import eventually, small_service

MODULE = "mltetris_server.worker.policy"
BUNDLES = {f"m{seed}": a_bundle(seed) for seed in range(3)}
SHA256 = {name: sha256_of(data) for name, data in BUNDLES.items()}


def advisor_of(data: bytes) -> Advisor:
    checkpoint = bundle.unpack(data)
    return Advisor.from_checkpoint(checkpoint.manifest.model, checkpoint.files)


def import_bundle(trainer: Trainer, folder: Path, name: str, data: bytes, **options: bool) -> None:
    path = folder / f"{name}-{len(data)}-{threading.get_ident()}.slot.zip"
    path.write_bytes(data)
    trainer.import_slot(path, name, **options)


def policy_processes(server: ServerProcess) -> list[psutil.Process]:
    """The living processes that the server made for suggestions."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        try:
            if MODULE in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


@contextlib.asynccontextmanager
async def keeping(folder: Path, *command: str) -> AsyncIterator[PolicyKeeper]:
    """The keeper alone, without a server; ``command`` is its process, else the real one."""
    disk = Thread("models")
    models = Models(SlotStore(folder / "slots", REFERENCES), RunStore(folder / "runs"), disk)
    keeper = PolicyKeeper(models, command or POLICY_COMMAND)
    try:
        yield keeper
    finally:
        await keeper.close()
        disk.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the slots m0, m1, m2 (m0 active) and narrow, 8 columns wide."""
    folder = tmp_path_factory.mktemp("policy")
    with small_service(folder / "data") as server:
        with mltetris_client.connect(server.address) as trainer:
            for name, data in BUNDLES.items():
                import_bundle(trainer, folder, name, data)
            import_bundle(trainer, folder, "narrow", a_bundle(9, FeatureSet.SIMPLE, 8))
            trainer.activate_slot("m0")
        yield server


@pytest.fixture
def trainer(shared: ServerProcess) -> Iterator[Trainer]:
    with mltetris_client.connect(shared.address) as connection:
        yield connection


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[ServerProcess, Trainer]]:
    """A server of one's own, with m0 (active) and m1."""
    with (
        small_service(tmp_path / "data") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        for name in ("m0", "m1"):
            import_bundle(trainer, tmp_path, name, BUNDLES[name])
        trainer.activate_slot("m0")
        yield server, trainer


def test_every_answer_is_the_models_and_says_whose_it_is(trainer: Trainer) -> None:
    random = np.random.default_rng(1)
    positions = [a_position(random) for _ in range(100)]
    for slot in ("m0", "m1", "bcts", ""):
        answer = trainer.suggest_placements(positions, slot=slot)
        assert answer.policy.slot == (slot or "m0")
        if slot == "bcts":
            assert answer.policy.algorithm == 0
            assert answer.policy.sha256 == trainer.get_slot("bcts").sha256
            continue
        advisor = advisor_of(BUNDLES[slot or "m0"])
        assert list(answer.suggestions) == [advisor.suggest(position) for position in positions]
        assert answer.policy.sha256 == SHA256[slot or "m0"]
        assert answer.policy.features == trainer.get_slot(slot or "m0").features
        alone = trainer._link.policy.SuggestPlacement(
            policy_pb2.SuggestPlacementRequest(slot=slot, position=positions[0])
        )
        assert alone.suggestion == answer.suggestions[0]
        assert alone.policy == answer.policy


@pytest.mark.parametrize(
    ("position", "field"),
    [
        (Position(piece=3, cells=bytes(199)), "cells"),
        (Position(piece=3, width=12, cells=bytes(200)), "cells"),
        (Position(piece=3, cells=bytes([8]) + bytes(199)), "cells"),
        (Position(piece=3, cells=bytes(190) + bytes([1] * 10)), "cells"),
        (Position(piece=3, cells=bytes(2000)), "cells"),
        (Position(piece=0), "piece"),
        (Position(piece=9), "piece"),
        (Position(piece=3, width=3), "width"),
        (Position(piece=3, height=41), "height"),
        (Position(piece=3, rule=7), "rule"),
    ],
)
def test_a_board_that_cannot_be_is_refused_by_its_field(
    trainer: Trainer, position: Position, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as one:
        trainer._link.policy.SuggestPlacement(
            policy_pb2.SuggestPlacementRequest(slot="m0", position=position)
        )
    assert one.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(mltetris_client.InvalidArgument) as many:
        trainer.suggest_placements([Position(piece=1)] * 30 + [position], slot="m0")
    assert [violation.field for violation in many.value.fields] == [f"positions[30].{field}"]


def test_requests_without_a_board_or_with_too_many_are_refused(trainer: Trainer) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        trainer._link.policy.SuggestPlacement(policy_pb2.SuggestPlacementRequest(slot="m0"))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    for positions in ([], [Position(piece=1)] * 1025):
        with pytest.raises(mltetris_client.InvalidArgument):
            trainer.suggest_placements(positions, slot="m0")


def test_who_cannot_play_on_a_board_is_not_asked(trainer: Trainer) -> None:
    assert trainer.suggest_placement(None, "T", width=8, slot="narrow").suggestion.placements
    with pytest.raises(mltetris_client.InvalidArgument) as caught:
        trainer.suggest_placement(None, "T", slot="narrow")
    assert [violation.field for violation in caught.value.fields] == ["position.width"]
    positions = [Position(piece=1, width=8)] * 3 + [Position(piece=1, width=9)]
    with pytest.raises(mltetris_client.InvalidArgument) as caught:
        trainer.suggest_placements(positions, slot="narrow")
    assert [violation.field for violation in caught.value.fields] == ["positions[3].width"]
    with pytest.raises(mltetris_client.NotFound):
        trainer.suggest_placement(None, "T", slot="nobody")


def test_every_change_of_slots_is_seen_by_the_next_suggestion(
    own: tuple[ServerProcess, Trainer], tmp_path: Path
) -> None:
    _, trainer = own

    def asked(slot: str = "") -> tuple[str, str]:
        policy = trainer.suggest_placement(None, "T", slot=slot).policy
        return policy.slot, policy.sha256

    assert asked() == ("m0", SHA256["m0"])
    trainer.activate_slot("m1")
    assert asked() == ("m1", SHA256["m1"])
    import_bundle(trainer, tmp_path, "m1", BUNDLES["m2"], overwrite=True)
    assert asked() == asked("m1") == ("m1", SHA256["m2"])
    trainer.save_slot("m1", slot="m0", overwrite=True)
    assert asked() == asked("m1") == ("m1", SHA256["m0"])
    trainer.update_slot("m1", new_name="other")
    assert asked() == asked("other") == ("other", SHA256["m0"])
    with pytest.raises(mltetris_client.NotFound):
        asked("m1")
    trainer.delete_slot("other", force=True)
    with pytest.raises(mltetris_client.NotFound):
        asked("other")
    for _ in range(2):
        with pytest.raises(mltetris_client.WrongState):
            asked()
    with pytest.raises(mltetris_client.WrongState):
        trainer.reload_policy()
    trainer.activate_slot("bcts")
    assert asked()[0] == "bcts"


def test_the_active_slot_is_read_anew_when_told_so(own: tuple[ServerProcess, Trainer]) -> None:
    server, trainer = own
    assert trainer.reload_policy().sha256 == SHA256["m0"]
    assert len(policy_processes(server)) == 1
    trainer.suggest_placement(None, "T")
    # Behind the server's back.
    here, there = server.data_dir / "slots" / "m0", server.data_dir / "slots" / "m1"
    for path in there.iterdir():
        (here / path.name).write_bytes(path.read_bytes())
    assert trainer.suggest_placement(None, "T").policy.sha256 == SHA256["m0"]
    policy = trainer.reload_policy()
    assert (policy.slot, policy.sha256) == ("m0", SHA256["m1"])
    assert trainer.suggest_placement(None, "T").policy == policy
    assert trainer.suggest_placement(None, "T", slot="m0").policy == policy
    flip_bit(here / "policy.safetensors")
    with pytest.raises(mltetris_client.DataLoss):
        trainer.reload_policy()
    with pytest.raises(mltetris_client.DataLoss):
        trainer.suggest_placement(None, "T")


def test_a_whole_file_that_is_no_model_is_damage(
    own: tuple[ServerProcess, Trainer], tmp_path: Path
) -> None:
    _, trainer = own
    checkpoint = bundle.unpack(BUNDLES["m2"])
    model = {**checkpoint.manifest.model, "network": {"inputs": 8, "hidden": [7]}}
    odd = type(checkpoint).create(model=model, files=dict(checkpoint.files), placements=1)
    import_bundle(trainer, tmp_path, "odd", bundle.pack(odd))
    for _ in range(2):
        with pytest.raises(mltetris_client.DataLoss, match="slot odd"):
            trainer.suggest_placement(None, "T", slot="odd")
    assert trainer.suggest_placement(None, "T", slot="m1").policy.slot == "m1"


def test_no_answer_is_mixed_or_fails_while_slots_are_switched(
    own: tuple[ServerProcess, Trainer], tmp_path: Path
) -> None:
    _, trainer = own
    import_bundle(trainer, tmp_path, "x", BUNDLES["m0"])
    random = np.random.default_rng(3)
    positions = [a_position(random, width=10, height=20, rule=1) for _ in range(40)]
    wanted = {
        SHA256[name]: [advisor_of(data).suggest(position) for position in positions]
        for name, data in BUNDLES.items()
    }
    over = threading.Event()
    wrong: list[object] = []
    answers: list[str] = []

    def ask(number: int) -> None:
        with mltetris_client.connect(trainer.address) as mine:
            while not over.is_set():
                try:
                    slot = ("", "x", "m0")[number % 3]
                    answer = mine.suggest_placements(positions, slot=slot)
                    if list(answer.suggestions) != wanted[answer.policy.sha256]:
                        wrong.append(answer.policy)
                    if slot and answer.policy.slot != slot:
                        wrong.append((slot, answer.policy))
                    if slot == "m0" and answer.policy.sha256 != SHA256["m0"]:
                        wrong.append(("m0", answer.policy))
                    one = mine.suggest_placement(positions[0].cells, positions[0].piece, slot="x")
                    if one.suggestion != wanted[one.policy.sha256][0]:
                        wrong.append(one.policy)
                    answers.append(answer.policy.sha256)
                except mltetris_client.MlTetrisError as error:
                    wrong.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for turn in range(12):
        name = f"m{turn % 2}"
        trainer.activate_slot(name)
        policy = trainer.suggest_placement(None, "T").policy
        assert (policy.slot, policy.sha256) == (name, SHA256[name])
        newest = f"m{turn % 3}"
        import_bundle(trainer, tmp_path, "x", BUNDLES[newest], overwrite=True)
        assert trainer.suggest_placement(None, "T", slot="x").policy.sha256 == SHA256[newest]
        assert trainer.reload_policy().slot == name
    eventually(lambda: len(answers) > 30 or wrong, "answers")
    over.set()
    for thread in threads:
        thread.join(60)
    assert not wrong, wrong[:3]
    assert set(answers) == set(SHA256.values())


def test_calls_survive_the_death_of_the_process(own: tuple[ServerProcess, Trainer]) -> None:
    server, trainer = own
    positions = [Position(piece=Piece.PIECE_T)] * 1024
    trainer.suggest_placement(None, "T")
    answers: list[int] = []

    def ask() -> None:
        answers.append(len(trainer.suggest_placements(positions).suggestions))

    for _ in range(2):
        (process,) = policy_processes(server)
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        process.kill()
        for thread in threads:
            thread.join(60)
        trainer.suggest_placement(None, "T")
    assert answers == [1024] * 6


@pytest.mark.skipif(os.name != "posix", reason="SIGSTOP")
def test_a_killed_server_leaves_no_process(tmp_path: Path) -> None:
    server, token = small_service(tmp_path / "data"), "operators-only-1234"
    server.environment["MLTETRIS_OPERATOR_TOKEN"] = token
    with server:
        with mltetris_client.connect(server.address, token=token) as trainer:
            trainer.suggest_placement(None, "T", slot="bcts")
        (process,) = policy_processes(server)
        assert token not in process.environ().values()
        server.kill()
        process.wait(30)
        server.start()
        with mltetris_client.connect(server.address, token=token) as trainer:
            trainer.suggest_placement(None, "T", slot="bcts")
        (process,) = policy_processes(server)
        server.terminate()
        assert not process.is_running()


async def test_a_process_that_never_comes_up_is_said_so(tmp_path: Path) -> None:
    async with keeping(tmp_path, sys.executable, "-c", "raise SystemExit(7)") as keeper:
        begin = time.monotonic()
        for _ in range(2):
            with pytest.raises(Unavailable, match="exit code 7"):
                await keeper.suggest("bcts", [Position(piece=1)], ["position"])
        assert time.monotonic() - begin < 60
        assert keeper.pid == 0
    async with keeping(tmp_path, str(tmp_path / "nothing")) as keeper:
        with pytest.raises(Unavailable, match="could not be started"):
            await keeper.suggest("bcts", [Position(piece=1)], ["position"])


async def test_who_cannot_be_answered_for_long_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_keeper, "PATIENCE_S", 0.3)
    async with keeping(tmp_path, sys.executable, "-c", "input()") as keeper:
        with pytest.raises(Unavailable, match="compiled"):
            await keeper.suggest("bcts", [Position(piece=1)], ["position"])


@pytest.mark.skipif(os.name != "posix", reason="SIGSTOP")
async def test_a_process_that_hangs_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.suggest("bcts", [Position(piece=1)], ["position"])
        hung = keeper.pid
        monkeypatch.setattr(policy_process, "ANSWER_S", 0.5)
        os.kill(hung, signal.SIGSTOP)
        # It stands still a moment later, once all its threads do.
        process = psutil.Process(hung)
        await asyncio.to_thread(
            eventually, lambda: process.status() == psutil.STATUS_STOPPED, "it to stand still"
        )
        assert await keeper.suggest("bcts", [Position(piece=1)], ["position"])
        assert keeper.pid not in (0, hung)


def test_viewers_may_ask_and_operators_switch() -> None:
    assert least_role("/mltetris.v1.PolicyService/SuggestPlacement") == VIEWER
    assert least_role("/mltetris.v1.SystemService/ReloadPolicy") == OPERATOR


def test_the_examples_of_the_manual_work(
    shared: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text()
    example = page.partition("```python\n")[2].partition("```")[0]
    assert "localhost:50051" in example
    exec(compile(example.replace("localhost:50051", shared.address), "embedding.md", "exec"), {})
    lines, word = capsys.readouterr().out.split()
    # Of 140 pieces in a row of seven by a player that is good at it.
    assert word == "lines" and int(lines) > 45
    command = page.partition("\nbuf curl")[2].partition("\n\n")[0].replace("\\\n", " ")
    asked = ["curl", *shlex.split(command.replace("localhost:50051", shared.address))]
    ended = subprocess.run(
        [str(Path(sys.executable).parent / "buf"), *asked], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["policy"]["slot"] == "bcts"
