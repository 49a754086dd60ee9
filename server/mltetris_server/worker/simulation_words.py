"""What a simulation says of its dataset: to the server, and to people."""

from __future__ import annotations

from collections.abc import Sequence

from mltetris_api.v1.dataset_pb2 import Dataset, DatasetFile
from mltetris_api.v1.run_pb2 import SimulationResult, SimulationSpec

from mltetris_server.learning.simulation.recording import File, Origin, Recording


def result_of(spec: SimulationSpec, recording: Recording) -> SimulationResult:
    """What has come of it so far."""
    return SimulationResult(
        dataset=spec.dataset,
        games=recording.games,
        cut_off_games=recording.cut_off_games,
        placements=recording.placements,
        mean_lines=recording.mean_lines,
        best_lines=recording.best_lines,
        size_bytes=recording.size,
    )


def header_of(
    spec: SimulationSpec, origin: Origin, recording: Recording, files: Sequence[File]
) -> Dataset:
    """What the server is told of the finished dataset."""
    return Dataset(
        player=origin.player,
        player_sha256=origin.player_sha256,
        game=spec.game,
        observation=spec.observation,
        games=recording.games,
        cut_off_games=recording.cut_off_games,
        placements=recording.placements,
        mean_lines=recording.mean_lines,
        best_lines=recording.best_lines,
        exploration=origin.exploration,
        seed=origin.seed,
        files=[
            DatasetFile(name=file.name, size_bytes=file.size, sha256=file.sha256) for file in files
        ],
    )


def what_was_kept(spec: SimulationSpec, recording: Recording) -> str:
    """What a simulation that was stopped has made."""
    if not recording.games:
        return "Stopped before the first placement: there is no dataset."
    asked = [f"{spec.games:,} games"] if spec.HasField("games") else []
    asked += [f"{spec.placements:,} placements"] if spec.HasField("placements") else []
    return (
        f"Stopped: dataset {spec.dataset} has {recording.games:,} games, "
        f"{recording.cut_off_games:,} of them cut off, and {recording.placements:,} "
        f"placements, of {' or '.join(asked)} asked for."
    )
