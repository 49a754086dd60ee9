"""Simulations in real worker processes, and the datasets they make."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import grpc
import minari
import numpy as np
import psutil
import pytest
from mltetris_api.v1.dataset_pb2 import Dataset
from mltetris_api.v1.run_pb2 import (
    Episode,
    GameSpec,
    MetricPoint,
    Observation,
    Player,
    RunControl,
    RunMode,
    RunReason,
    SimulationSpec,
)
from mltetris_api.worker.v1.worker_pb2 import (
    AttachResponse,
    Pause,
    Resume,
    Stop,
    Watch,
    WorkerState,
)
from mltetris_server.game.config import FeatureSet
from mltetris_server.learning.trajectories import Trajectories, load
from mltetris_server.worker.scratch import NoRoomError, refusing_full_disk
from mltetris_server.worker.settings import SPOOL_VARIABLE
from support.small_disk import fill, small_disk
from worker.conftest import Serve, StartWorker
from worker.fake_server import PATIENCE, FakeServer, sequences
from worker.models import keep_model, keep_reference

BUDGET_SPENT = RunReason.RUN_REASON_BUDGET_SPENT
STOPPED = RunReason.RUN_REASON_STOPPED_BY_CALLER
FINGERPRINT = hashlib.sha256(b"a manifest").hexdigest()
LOW = GameSpec(height=10)
ENDLESS = 10**12


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a launcher gives to its worker."""
    folder = tmp_path / "run" / "spool"
    monkeypatch.setenv(SPOOL_VARIABLE, str(folder))
    return folder


def a_server(serve: Serve, **spec: object) -> FakeServer:
    """A server with reference players, which wants a simulation."""
    asked: dict[str, object] = {"player": Player(slot="bcts"), "dataset": "games", "seed": 7}
    server = serve()
    server.welcome.simulation.CopyFrom(SimulationSpec(**(asked | spec)))  # type: ignore[arg-type]
    server.welcome.control.CopyFrom(RunControl(mode=RunMode.RUN_MODE_HEADLESS))
    keep_reference(server, "bcts", "random", "dt10")
    keep_model(server, "narrow", 1, features=FeatureSet.SIMPLE)
    for stored in server.slots.values():
        stored.header.manifest_sha256 = FINGERPRINT
    return server


def finished(server: FakeServer) -> RunReason.ValueType:
    return server.await_events("finished")[0].finished.reason


def points(server: FakeServer) -> list[MetricPoint]:
    return [event.metrics for event in server.events("metrics")]


def episodes(server: FakeServer) -> list[Episode]:
    return [e for event in server.events("episodes") for e in event.episodes.episodes]


def notices(server: FakeServer) -> list[str]:
    return [event.notice.text for event in server.events("notice")]


def unpacked(server: FakeServer, root: Path) -> tuple[Dataset, minari.MinariDataset, Trajectories]:
    """The dataset that came, as Minari opens it."""
    (header, content) = server.datasets[-1]
    folder = root / "mltetris" / "games-v0"
    start = 0
    for file in header.files:
        data = content[start : start + file.size_bytes]
        start += file.size_bytes
        assert hashlib.sha256(data).hexdigest() == file.sha256
        (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.name).write_bytes(data)
    assert start == len(content)
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(root)
    try:
        dataset = minari.load_dataset("mltetris/games-v0")
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
    return header, dataset, load(folder / "trajectories.safetensors")


def test_it_plays_its_games_and_the_dataset_is_stored(
    serve: Serve, start_worker: StartWorker, spool: Path, tmp_path: Path
) -> None:
    server = a_server(serve, games=12, game=LOW, threads=2, boards=3)
    process = start_worker(server)
    assert finished(server) == BUDGET_SPENT
    assert process.wait(PATIENCE) == 0
    assert not (spool / "scratch").exists()
    report = server.events("state")[0].state.simulation
    assert (report.game.width, report.game.height, report.seed) == (10, 10, 7)
    assert (report.threads, report.boards, report.exploration) == (2, 3, 0)
    assert report.observation == Observation.OBSERVATION_BCTS

    header, dataset, trajectories = unpacked(server, tmp_path)
    assert (header.player, header.player_sha256) == ("bcts", FINGERPRINT)
    assert (header.games, header.cut_off_games) == (12, 0)
    assert (header.seed, header.exploration) == (7, 0)
    assert (header.name, header.run) == ("", "")
    assert header.game == report.game
    assert header.placements == dataset.total_steps == trajectories.placements
    told = sorted(episodes(server), key=lambda e: e.number)
    assert [e.number for e in told] == list(range(1, 13))
    assert [e.placements for e in told] == trajectories.lengths.tolist()
    assert [e.lines for e in told] == trajectories.lines.tolist()
    assert header.mean_lines == pytest.approx(trajectories.lines.mean())
    assert header.best_lines == trajectories.lines.max() > 20
    last = points(server)[-1]
    assert (last.placements, last.episodes, last.progress) == (header.placements, 12, 1)
    assert (last.best_lines, last.mean_lines) == (header.best_lines, header.mean_lines)
    assert [p.sequence for p in points(server)] == list(range(1, len(points(server)) + 1))
    result = server.events("simulation_result")[-1].simulation_result
    assert (result.dataset, result.games, result.placements) == ("games", 12, header.placements)
    assert result.size_bytes >= sum(file.size_bytes for file in header.files)
    assert server.events("frames") == []  # nobody watched
    assert not notices(server)
    numbers = sequences(server.received)
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(("player", "exploration"), [("bcts", 0.1), ("random", 0.0)])
def test_the_same_seed_makes_the_same_dataset(
    serve: Serve, start_worker: StartWorker, player: str, exploration: float, tmp_path: Path
) -> None:
    """On any number of boards and cores."""
    made = []
    for k, cores in enumerate((1, 2)):
        server = a_server(
            serve,
            player=Player(slot=player),
            games=9,
            game=LOW,
            exploration=exploration,
            threads=cores,
            boards=4 - cores,
        )
        start_worker(server)
        assert finished(server) == BUDGET_SPENT
        header, dataset, trajectories = unpacked(server, tmp_path / str(k))
        assert header.exploration == (1 if player == "random" else exploration)
        made.append((dataset, trajectories))
    for name in ("pieces", "next_pieces", "actions", "starts", "ended", "lines"):
        assert np.array_equal(getattr(made[0][1], name), getattr(made[1][1], name)), name
    for one, other in zip(made[0][0], made[1][0], strict=True):
        assert np.array_equal(one.observations["features"], other.observations["features"])


def test_placements_are_a_limit_to_the_last_one(
    serve: Serve, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Games that are still going then are kept, cut off, and say so."""
    server = a_server(serve, placements=1001, threads=2, boards=2)
    start_worker(server)
    assert finished(server) == BUDGET_SPENT
    header, dataset, trajectories = unpacked(server, tmp_path)
    assert header.placements == dataset.total_steps == 1001
    assert trajectories.lengths.tolist() == [251, 250, 250, 250]
    assert (header.games, header.cut_off_games) == (4, 4)
    for episode in dataset:
        assert episode.truncations[-1]
        assert not episode.truncations[:-1].any()
        assert not episode.terminations.any()


@pytest.mark.parametrize("observation", ["board", "simple"])
def test_other_observations(
    serve: Serve, start_worker: StartWorker, observation: str, tmp_path: Path
) -> None:
    wanted = Observation.Value(f"OBSERVATION_{observation.upper()}")
    server = a_server(
        serve, player=Player(slot="dt10"), placements=300, observation=wanted, boards=1, threads=1
    )
    start_worker(server)
    assert finished(server) == BUDGET_SPENT
    header, dataset, _ = unpacked(server, tmp_path)
    assert header.observation == wanted
    for episode in dataset:
        assert set(episode.observations) == {
            "piece",
            "next_piece",
            "board" if observation == "board" else "features",
        }
        for k in (0, len(episode.actions)):
            state = {name: column[k] for name, column in episode.observations.items()}
            assert dataset.observation_space.contains(state)


def test_it_stops_and_keeps_what_was_played(
    serve: Serve, start_worker: StartWorker, spool: Path, tmp_path: Path
) -> None:
    server = a_server(serve, placements=ENDLESS, threads=2, boards=2)
    process = start_worker(server)
    server.wait_for(lambda: bool(points(server)) and points(server)[-1].placements > 20_000)
    server.say(AttachResponse(stop=Stop()))
    assert finished(server) == STOPPED
    assert process.wait(PATIENCE) == 0
    header, dataset, trajectories = unpacked(server, tmp_path)
    assert header.placements > 20_000
    assert header.games == trajectories.games == dataset.total_episodes
    assert header.cut_off_games == int((trajectories.ended == 0).sum()) > 0
    assert sum(len(episode.actions) for episode in dataset) == header.placements
    (text,) = notices(server)
    assert f"{header.games:,} games" in text
    assert f"{header.placements:,} placements" in text
    assert "of 1,000,000,000,000 placements" in text
    assert not (spool / "scratch").exists()


def test_stopped_before_the_first_placement_there_is_no_dataset(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = a_server(serve, games=10)
    server.welcome.paused = True
    process = start_worker(server)
    assert server.await_events("state")[0].state.state == WorkerState.WORKER_STATE_PAUSED
    server.say(AttachResponse(stop=Stop()))
    assert finished(server) == STOPPED
    assert process.wait(PATIENCE) == 0
    assert server.datasets == []
    assert notices(server) == ["Stopped before the first placement: there is no dataset."]


def test_it_pauses_and_goes_on(serve: Serve, start_worker: StartWorker) -> None:
    server = a_server(serve, placements=ENDLESS, boards=1, threads=2)
    server.welcome.watch.CopyFrom(Watch(max_fps=50, include_values=True))
    start_worker(server)
    server.await_events("frames", 3)
    answer = server.await_answer(server.say(AttachResponse(pause=Pause())))
    assert answer.state.state == WorkerState.WORKER_STATE_PAUSED
    # What was on its way may still come.
    server.await_events("heartbeat", len(server.events("heartbeat")) + 1)
    count, frames = len(points(server)), len(server.events("frames"))
    server.say(AttachResponse(watch=Watch(max_fps=50)))
    server.await_events("frames", frames + 1)
    server.await_events("heartbeat", len(server.events("heartbeat")) + 2)
    assert len(points(server)) == count
    held = {
        (frame.episode, frame.placements, frame.cells)
        for event in server.events("frames")[frames:]
        for frame in event.frames.frames
    }
    assert len(held) == 1
    server.await_answer(server.say(AttachResponse(resume=Resume())))
    server.await_events("metrics", count + 2)
    frame = server.events("frames")[0].frames.frames[0]
    assert (frame.player, frame.width, len(frame.cells)) == ("bcts", 10, 200)
    assert len(frame.values) > 5
    server.say(AttachResponse(stop=Stop()))
    assert finished(server) == STOPPED


def test_a_broken_line_loses_nothing(
    serve: Serve, start_worker: StartWorker, tmp_path: Path
) -> None:
    server = a_server(serve, placements=1_500_000, threads=1)
    process = start_worker(server)
    for count in (2, 3):
        server.await_events("metrics", count)
        server.break_line()
        server.wait_for(lambda count=count: server.conversations >= count)
    assert finished(server) == BUDGET_SPENT
    assert process.wait(PATIENCE) == 0
    numbers = sequences(server.received)
    assert numbers == list(range(1, len(numbers) + 1))
    assert unpacked(server, tmp_path)[0].placements == 1_500_000


def test_what_a_dead_worker_left_is_removed(
    serve: Serve, start_worker: StartWorker, spool: Path
) -> None:
    server = a_server(serve, placements=ENDLESS, threads=1)
    process = start_worker(server)
    server.await_events("metrics", 2)
    assert (spool / "scratch" / "data" / "main_data.hdf5").exists()
    process.kill()
    process.wait()
    (spool / "scratch" / "left").touch()
    # The next worker of the run.
    again = a_server(serve, games=1, game=LOW)
    again.welcome.resumption.metric_sequence = 41
    again.welcome.resumption.elapsed.FromSeconds(100)
    again.welcome.resumption.best_lines = 10**6
    process = start_worker(again)
    assert finished(again) == BUDGET_SPENT
    assert process.wait(PATIENCE) == 0
    assert not (spool / "scratch").exists()
    assert points(again)[0].sequence == 42
    assert points(again)[0].elapsed.seconds >= 100
    assert points(again)[-1].best_lines == 10**6
    assert again.datasets[0][0].games == 1


def test_without_a_place_of_its_own_it_uses_the_systems(
    serve: Serve,
    start_worker: StartWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And removes what dead workers have left there, but not what living ones use."""
    place = tmp_path / "tmp"
    dead = next(pid for pid in range(4_000_000, 1_500_000, -1) if not psutil.pid_exists(pid))
    for pid in (dead, os.getpid()):
        (place / f"mltetris-worker-{pid}-x" / "data").mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(place))
    server = a_server(serve, games=1, game=LOW)
    process = start_worker(server)
    assert finished(server) == BUDGET_SPENT
    assert process.wait(PATIENCE) == 0
    assert [path.name for path in place.iterdir()] == [f"mltetris-worker-{os.getpid()}-x"]


def test_a_player_that_cannot_play_this_game_fails_the_run(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = a_server(serve, player=Player(slot="narrow"), game=GameSpec(width=8), games=1)
    start_worker(server)
    error = server.await_events("finished")[0].finished.error
    assert error.code == 3  # INVALID_ARGUMENT
    assert error.message.startswith("game.width: ")


def test_a_dataset_that_the_server_does_not_take_fails_the_run(
    serve: Serve, start_worker: StartWorker, spool: Path
) -> None:
    server = a_server(serve, games=1, game=LOW)
    server.put_refusal = grpc.StatusCode.RESOURCE_EXHAUSTED
    process = start_worker(server)
    error = server.await_events("finished")[0].finished.error
    assert (error.code, error.message) == (8, "the disk is full")
    assert process.wait(PATIENCE) == 1
    assert server.puts == 1
    assert not (spool / "scratch").exists()


@pytest.mark.parametrize("megabytes", [60, 70])
def test_a_disk_without_room_ends_the_run_and_says_so(
    serve: Serve,
    start_worker: StartWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    megabytes: int,
) -> None:
    """Before the first placement, or when there is too little left for what comes."""
    with small_disk(tmp_path / "disk", megabytes) as disk:
        monkeypatch.setenv(SPOOL_VARIABLE, str(disk / "spool"))
        server = a_server(serve, placements=ENDLESS, threads=1)
        process = start_worker(server)
        error = server.await_events("finished")[0].finished.error
        assert error.code == 8  # RESOURCE_EXHAUSTED
        assert "no room left on the disk" in error.message
        assert str(disk) in error.message
        assert process.wait(PATIENCE) == 1
        assert server.datasets == []
        assert list(disk.iterdir()) == []


def test_a_write_that_finds_no_room_is_told_as_that(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2) as disk:
        fill(disk)
        with pytest.raises(NoRoomError, match="no room left"), refusing_full_disk(disk):
            (disk / "more").write_bytes(bytes(4096))
    with pytest.raises(FileNotFoundError), refusing_full_disk(tmp_path):
        (tmp_path / "nowhere" / "file").write_bytes(b"")


def test_no_torch_is_loaded(serve: Serve, start_worker: StartWorker) -> None:
    server = a_server(serve, placements=ENDLESS, threads=1)
    process = start_worker(server)
    server.await_events("metrics", 2)
    try:
        maps = {Path(m.path).name for m in psutil.Process(process.pid).memory_maps()}
    except (AttributeError, psutil.AccessDenied):
        pytest.skip("this system does not say what a process has loaded")
    assert not any("torch" in name for name in maps)
