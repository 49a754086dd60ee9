"""A dataset in the making: its files, and what is in them so far."""

from __future__ import annotations

import hashlib
import json
from array import array
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from minari.serialization import serialize_space

from mltetris_server.game.config import FeatureSet, GameConfig, feature_limits, feature_names
from mltetris_server.game.pieces import PIECES
from mltetris_server.learning.simulation.blocks import Block, Part
from mltetris_server.learning.simulation.columns import columns_of
from mltetris_server.learning.simulation.episodes_file import EpisodesFile
from mltetris_server.learning.simulation.spool import Spool
from mltetris_server.learning.trajectories import FILE as TRAJECTORIES_FILE

EPISODES_FILE = "data/main_data.hdf5"
METADATA_FILE = "data/metadata.json"


@dataclass(frozen=True)
class Origin:
    """Where the games come from, for people who open the dataset.

    Attributes:
        dataset: The dataset's name; Minari knows it as `mltetris/NAME-v0`.
        player: Who played.
        player_sha256: Of the manifest of the model that played; empty: unknown.
        algorithm: What made it a player.
        game: What was played.
        observed: What is kept of each state.
        exploration: Probability of a random placement.
        seed: Of pieces and exploration.
    """

    dataset: str
    player: str
    player_sha256: str
    algorithm: str
    game: GameConfig
    observed: FeatureSet
    exploration: float
    seed: int


@dataclass(frozen=True)
class File:
    """A finished file: its path below the dataset's folder, its bytes, and its SHA-256 in hex."""

    name: str
    size: int
    sha256: str


class Recording:
    """Writes blocks into the files of a dataset.

    Memory: what HDF5 keeps, and 56 bytes a game.

    Args:
        folder: The dataset's; it must be empty.
        origin: Where the games come from.

    Raises:
        OSError: there is no room, or the folder cannot be written.
    """

    def __init__(self, folder: Path, origin: Origin) -> None:
        self.folder = folder
        self._origin = origin
        (folder / "data").mkdir()
        columns = columns_of(origin.observed, origin.game)
        self._episodes = EpisodesFile(folder / EPISODES_FILE, columns, origin.seed)
        self._spool = Spool(folder)
        # Of each game that is complete: its number, its placements, its lines, whether it is over.
        self._games = tuple(array("q") for _ in range(4))
        self.placements = 0
        """Placements written."""
        self.games = 0
        """Games written to their end."""
        self.cut_off_games = 0
        """Of them, those that were cut off."""
        self.best_lines = 0
        """Most lines in one game, the running ones included."""
        self._lines = 0
        self._lines_over = 0

    @property
    def mean_lines(self) -> float:
        """Mean lines a game, of those that are over where there are any, else of all; 0 of none."""
        over = self.games - self.cut_off_games
        if over:
            return self._lines_over / over
        return self._lines / self.games if self.games else 0.0

    @property
    def size(self) -> int:
        """Bytes of the dataset so far."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def add(self, block: Block, place: int) -> Part:
        """Write one part of a block; returns it. Parts are written in their order.

        Raises:
            OSError: there is no room.
        """
        part = block.parts[place]
        self._episodes.add(block, place)
        self._spool.add(block, part)
        self.placements += part.placements
        self.best_lines = max(self.best_lines, part.lines)
        if part.last:
            self.games += 1
            self.cut_off_games += part.cut_off
            self._lines += part.lines
            self._lines_over += part.lines * part.over
            values = (part.game, part.before + part.placements, part.lines, part.over)
            for column, value in zip(self._games, values, strict=True):
                column.append(value)
        return part

    def finish(self) -> list[File]:
        """Put the games in order, complete the files and close them.

        Raises:
            OSError: there is no room.
            ValueError: no game was played.
        """
        if not self.games:
            raise ValueError("no game was played")
        table = np.array(self._games)
        table = table[:, np.argsort(table[0])]
        self._episodes.renumber(table[0].tolist())
        self._episodes.close()
        ends = zip(table[3].astype(bool).tolist(), table[2].tolist(), strict=True)
        self._spool.write(self.folder / TRAJECTORIES_FILE, self._origin.game, ends)
        self._spool.close()
        size = (self.folder / EPISODES_FILE).stat().st_size
        text = json.dumps(self._metadata(size), indent=1)
        (self.folder / METADATA_FILE).write_text(text, "utf-8")
        return [
            _file(self.folder, name) for name in (METADATA_FILE, EPISODES_FILE, TRAJECTORIES_FILE)
        ]

    def close(self) -> None:
        """Close what is open, of a recording that is given up.

        Raises:
            OSError: there was no room for the last of it.
        """
        self._spool.close()
        self._episodes.close()

    def _metadata(self, size: int) -> dict[str, Any]:
        """What Minari reads first, and what it hands on of ours."""
        origin = self._origin
        game = origin.game
        return {
            "dataset_id": f"mltetris/{origin.dataset}-v0",
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "minari_version": metadata.version("minari"),
            "total_episodes": self.games,
            "total_steps": self.placements,
            "dataset_size": round(size / 1e6, 1),
            "observation_space": serialize_space(observation_space(origin.observed, game)),
            "action_space": serialize_space(spaces.Discrete(game.actions)),
            "algorithm_name": origin.algorithm,
            "author": ["mlTetris"],
            "description": (
                f"{origin.player} plays Tetris, {game.width}x{game.height}, {game.randomizer} "
                f"pieces, {game.rule} rule: one step is one placement, column * 4 + rotation."
            ),
            "mltetris": {
                "player": origin.player,
                "player_sha256": origin.player_sha256,
                "game": asdict(game),
                "observation": str(origin.observed),
                "feature_names": []
                if origin.observed is FeatureSet.BOARD
                else list(feature_names(origin.observed, game.width)),
                "exploration": origin.exploration,
                "seed": origin.seed,
                "cut_off_games": self.cut_off_games,
                "mean_lines": self.mean_lines,
                "best_lines": self.best_lines,
            },
        }


def observation_space(observed: FeatureSet, game: GameConfig) -> spaces.Dict:
    """What the dataset shows of each state."""
    shown: dict[str, spaces.Space[Any]] = {}
    if observed is FeatureSet.BOARD:
        shown["board"] = spaces.Box(0, 1, (game.height, game.width), np.uint8)
    else:
        high = feature_limits(observed, game)
        shown["features"] = spaces.Box(np.zeros_like(high), high, dtype=np.float32)
    for name in ("piece", "next_piece"):
        shown[name] = spaces.Discrete(PIECES + 1)
    return spaces.Dict(shown)


def _file(folder: Path, name: str) -> File:
    path = folder / name
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return File(name, path.stat().st_size, digest.hexdigest())
