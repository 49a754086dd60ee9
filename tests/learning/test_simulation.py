"""Datasets of simulations: what Minari reads is what the engine plays."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from learning.test_simulation_kernels import a_player
from minari import MinariDataset
from mltetris_server.game.config import (
    FeatureSet,
    GameConfig,
    Randomizer,
    Rule,
    feature_scales,
    n_features,
)
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import ENDS_GAME, new_games, place
from mltetris_server.learning.simulation.crew import Crew
from mltetris_server.learning.simulation.plan import Plan
from mltetris_server.learning.simulation.recording import METADATA_FILE, File, Origin, Recording
from mltetris_server.learning.simulation.supply import Supply
from mltetris_server.learning.trajectories import FILE, Trajectories, load
from support.small_disk import small_disk

SEED = 11
SMALL = GameConfig(6, 7, Rule.PUBLISHED, Randomizer.UNIFORM)


def simulate(
    folder: Path, *, rows: int | None = None, stop_at: int = 0, **plan: object
) -> Recording:
    """A simulation from its beginning to its end, or until it has written so many placements."""
    what = {"game": SMALL, "observed": FeatureSet.BCTS, "seed": SEED, "threads": 2, "boards": 3}
    plan = what | plan
    game = plan["game"]
    plan.setdefault("player", a_player(FeatureSet.BCTS, game, 0.01))
    full = Plan(**plan)
    folder.mkdir()
    origin = Origin("made", "somebody", "0" * 64, "td", full.game, full.observed, 0.01, full.seed)
    crew, recording = Crew(full, rows=rows), Recording(folder, origin)
    crew.start()
    try:
        while not crew.done:
            block = crew.take(1.0)
            if block is None:
                continue
            for k in range(len(block.parts)):
                recording.add(block, k)
            crew.put_back(block)
            if stop_at and recording.placements >= stop_at:
                crew.stop()
    finally:
        crew.abandon()
    return recording


def opened(recording: Recording) -> tuple[MinariDataset, Trajectories, list[File]]:
    files = recording.finish()
    return MinariDataset(recording.folder / "data"), load(recording.folder / FILE), files


def check(recording: Recording) -> tuple[MinariDataset, Trajectories]:
    """Plays every game again, and compares everything."""
    dataset, trajectories, files = opened(recording)
    assert [file.size for file in files] == [
        (recording.folder / file.name).stat().st_size for file in files
    ]
    origin = recording._origin
    game, observed = origin.game, origin.observed
    assert dataset.total_episodes == recording.games == trajectories.games
    assert dataset.total_steps == recording.placements == trajectories.placements
    attributes = list(dataset.storage.get_episode_metadata(range(dataset.total_episodes)))
    numbers = [int(found["game"]) for found in attributes]
    assert numbers == sorted(set(numbers))
    for k, episode in enumerate(dataset.iterate_episodes()):
        said = attributes[k]
        assert (said["id"], said["seed"], said["total_steps"]) == (k, SEED, len(episode))
        games = new_games(game, numbers[k] + 1, SEED)
        begin = int(trajectories.starts[k])
        last = np.zeros(n_features(observed, game.width) if observed != "board" else 0)
        for step in range(len(episode) + 1):
            state = {name: column[step] for name, column in episode.observations.items()}
            assert dataset.observation_space.contains(state)
            assert state["piece"] == games.pieces[numbers[k], 0]
            assert state["next_piece"] == games.pieces[numbers[k], 1]
            shown = ShownGame.of_board(game, games, numbers[k])
            if observed is FeatureSet.BOARD:
                assert np.array_equal(state["board"], shown.cells > 0)
            else:
                assert np.array_equal(state["features"], last)
            if step == len(episode):
                break
            action = int(episode.actions[step])
            assert trajectories.actions[begin + step] == action
            assert trajectories.pieces[begin + step] == state["piece"]
            assert trajectories.next_pieces[begin + step] == state["next_piece"]
            if observed is not FeatureSet.BOARD:
                features, flags = shown.afterstates(observed)
                if not flags[action] & ENDS_GAME:
                    scaled = features[action] / feature_scales(observed, game.width)
                    last = np.round(2 * scaled) / 2
            before = int(games.score[numbers[k]])
            place(games, numbers[k], action)
            assert episode.rewards[step] == games.score[numbers[k]] - before
            over = bool(games.over[numbers[k]])
            end = step + 1 == len(episode)
            assert bool(episode.terminations[step]) == over
            assert bool(episode.truncations[step]) == (end and not over)
            assert end or not over
        assert trajectories.ended[k] == games.over[numbers[k]]
        assert said["lines"] == trajectories.lines[k] == games.lines[numbers[k]]
        assert said["score"] == games.score[numbers[k]]
    return dataset, trajectories


@pytest.mark.parametrize("observed", [FeatureSet.BCTS, FeatureSet.SIMPLE, FeatureSet.BOARD])
def test_every_state_is_that_of_the_game_played_again(tmp_path: Path, observed: FeatureSet) -> None:
    """Blocks of 16 placements, so that games of all lengths lie in one, in several, and end where
    one does."""
    recording = simulate(tmp_path / "d", rows=16, games=80, observed=observed)
    dataset, trajectories = check(recording)
    lengths = trajectories.lengths
    assert dataset.total_episodes == 80
    assert recording.cut_off_games == 0
    assert lengths.min() < 16 < 48 < lengths.max()
    assert (lengths % 16 == 0).any()


@pytest.mark.parametrize("placements", [1, 5, 96, 1000])
def test_placements_are_shared_by_the_boards(tmp_path: Path, placements: int) -> None:
    """96: each of six boards fills one block to its last row, where its game is cut off or over."""
    recording = simulate(tmp_path / "d", rows=16, placements=placements)
    dataset, _ = check(recording)
    assert recording.placements == placements
    played = {
        int(found["game"])
        for found in dataset.storage.get_episode_metadata(range(dataset.total_episodes))
    }
    # Games b, b + 6, b + 12 and so on of each board, without a gap.
    for number in played:
        assert number < 6 or number - 6 in played


def test_what_is_played_does_not_depend_on_who_is_faster(tmp_path: Path) -> None:
    made = []
    for k, rows in enumerate((16, 64)):
        _, trajectories, _ = opened(simulate(tmp_path / str(k), rows=rows, placements=3000))
        made.append(trajectories)
    assert np.array_equal(made[0].actions, made[1].actions)
    assert np.array_equal(made[0].starts, made[1].starts)


def test_games_and_placements_together(tmp_path: Path) -> None:
    """Whichever comes first."""
    by_placements = simulate(tmp_path / "a", games=10**6, placements=777)
    assert by_placements.placements == 777
    check(by_placements)
    by_games = simulate(tmp_path / "b", games=3, placements=10**6)
    assert (by_games.games, by_games.cut_off_games) == (3, 0)


def test_stopped_games_are_kept_as_far_as_they_were_played(tmp_path: Path) -> None:
    game = GameConfig()
    recording = simulate(
        tmp_path / "d", rows=64, game=game, placements=10**9, stop_at=3000, boards=2
    )
    assert recording.placements >= 3000
    assert recording.cut_off_games > 0
    check(recording)


def test_long_games_are_written_in_chunks_that_are_packed(tmp_path: Path) -> None:
    recording = simulate(tmp_path / "d", rows=512, game=GameConfig(), placements=5000, boards=1)
    _, _, files = opened(recording)
    with h5py.File(recording.folder / "data" / "main_data.hdf5") as file:
        features = file["episode_0/observations/features"]
        assert features.chunks == (512, 8)
        assert (features.compression, features.shuffle) == ("gzip", True)
        assert features.id.get_storage_size() < features.nbytes / 3
    assert sum(file.size for file in files) < 5000 * 40


def test_the_metadata_says_where_it_comes_from(tmp_path: Path) -> None:
    recording = simulate(tmp_path / "d", games=2)
    dataset, _, files = opened(recording)
    assert dataset.id == "mltetris/made-v0"
    assert dataset.spec.action_space.n == 24
    assert [file.name for file in files] == [METADATA_FILE, "data/main_data.hdf5", FILE]
    found = json.loads((recording.folder / METADATA_FILE).read_text())
    assert found["algorithm_name"] == "td"
    assert found["mltetris"]["player"] == "somebody"
    assert found["mltetris"]["game"] == {
        "width": 6,
        "height": 7,
        "rule": "published",
        "randomizer": "uniform",
    }
    assert found["mltetris"]["seed"] == SEED
    assert found["mltetris"]["feature_names"][0] == "landing_height"
    assert "episode" in repr(dataset[0]).lower()


def test_a_full_disk_is_an_error_and_nothing_worse(tmp_path: Path) -> None:
    """HDF5 finds no room: in the midst of a game, or for the last of it."""
    with small_disk(tmp_path / "disk", 1) as disk, pytest.raises(OSError, match="No space"):
        simulate(disk / "d", placements=2_000_000, threads=1, game=GameConfig()).finish()


def test_an_error_of_a_player_reaches_who_waits(tmp_path: Path) -> None:
    player = a_player(FeatureSet.BCTS, SMALL)
    crew = Crew(Plan(player, SMALL, FeatureSet.BCTS, SEED, threads=2, games=5))
    for working in crew._players:
        working._columns = None  # type: ignore[assignment]
    crew.start()
    with pytest.raises(TypeError):
        while not crew.done:
            crew.take(1.0)
    crew.abandon()
    assert not [t for t in threading.enumerate() if t.name.startswith("player-")]


def test_a_supply_needs_an_end() -> None:
    with pytest.raises(ValueError, match="a number of games or of placements"):
        Supply(4, None, None)
    for nonsense in ((0, 1, None), (4, 0, None), (4, None, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            Supply(*nonsense)
