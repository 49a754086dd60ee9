"""What a small worker makes of a simulation: made-up games, and a dataset that is whole."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
from mltetris_api.v1 import run_pb2
from mltetris_api.worker.v1 import worker_pb2
from mltetris_api.worker.v1.worker_pb2 import AttachRequest
from mltetris_server.worker.link import Link

from support.datasets import dataset_files, header_of, put_requests

GAMES_A_POINT = 10
PLACEMENTS_A_POINT = 100
SLOW_BYTES = 400_000
_SLOW_PAUSE_S = 0.005


def is_done(spec: run_pb2.SimulationSpec, points: int) -> bool:
    """Whether as much was played as was asked for."""
    games = spec.HasField("games") and points * GAMES_A_POINT >= spec.games
    return games or (spec.HasField("placements") and points * PLACEMENTS_A_POINT >= spec.placements)


def measure(point: run_pb2.MetricPoint, spec: run_pb2.SimulationSpec) -> None:
    """Fills in what a simulation measures."""
    point.placements = point.sequence * PLACEMENTS_A_POINT
    point.episodes = point.sequence * GAMES_A_POINT
    point.placements_per_second = 5000.0
    point.mean_lines = 45.5
    point.best_lines = 200
    point.elapsed.FromMilliseconds(20 * point.sequence)
    if spec.games:
        point.progress = min(1.0, point.episodes / spec.games)
        point.eta.FromSeconds(7)


def finish(link: Link, spec: run_pb2.SimulationSpec, points: int, habits: set[str]) -> None:
    """Sends the dataset, and says what it is."""
    slow = "slow-upload" in habits
    files = dataset_files(points, SLOW_BYTES if slow else 3000)
    played = {
        "games": points * GAMES_A_POINT,
        "placements": points * PLACEMENTS_A_POINT,
        "seed": spec.seed,
        "exploration": spec.exploration,
        "observation": spec.observation,
    }

    def requests() -> Iterator[worker_pb2.PutDatasetRequest]:
        for request in put_requests(files, **played):
            yield request
            if slow:
                time.sleep(_SLOW_PAUSE_S)

    while True:
        link.await_attached()
        try:
            link.stub.PutDataset(requests(), metadata=link.settings.metadata, timeout=60)
            break
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise
            time.sleep(0.2)
    header = header_of(files, **played)
    result = run_pb2.SimulationResult(
        games=header.games,
        cut_off_games=header.cut_off_games,
        placements=header.placements,
        mean_lines=header.mean_lines,
        best_lines=header.best_lines,
        size_bytes=sum(map(len, files.values())),
    )
    link.send(AttachRequest(simulation_result=result))


def read_trajectories(link: Link) -> int:
    """Reads what a training is to learn from; returns how many bytes it has."""
    parts = link.stub.GetTrajectories(
        worker_pb2.GetTrajectoriesRequest(), metadata=link.settings.metadata, timeout=60
    )
    header = next(parts).header
    assert [file.name for file in header.files] == ["trajectories.safetensors"]
    size = sum(len(part.chunk) for part in parts)
    assert size == header.files[0].size_bytes
    return size
