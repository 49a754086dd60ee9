"""The reference players as slots that come with the program: `storage/reference/NAME/`.

`python -m mltetris_server.learning.reference` makes the folders again, byte for byte, from
`game.players`; it takes seconds. They are slots like any other (docs/checkpoints.md): a linear
network on the features as networks see them, and an evaluation by `GreedyEvaluation`.

`python -m mltetris_server.learning.reference --measure` prints how good they are at several games,
the table of docs/learning/reference.md; it takes some 200 s of one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

import mltetris_server
from mltetris_server.game.config import GameConfig, Randomizer, Rule, feature_scales
from mltetris_server.game.players import PLAYERS, ReferencePlayer
from mltetris_server.hyperparameters import ReferenceConfig
from mltetris_server.learning.evaluation import EvaluationResult, GreedyEvaluation
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.model import POLICY_FILE, ModelDescription, dump_network
from mltetris_server.learning.player import Player

FOLDER: Final = Path(mltetris_server.__file__).parent / "storage" / "reference"
"""Where the program keeps them."""

EVALUATION_GAMES: Final = 100
EVALUATION_MAX_LINES: Final = 2_500
EVALUATION_SEED: Final = 3000

MEASURED: Final = (
    (GameConfig(10, 10, Rule.PUBLISHED, Randomizer.UNIFORM), 1000, 2**31),
    (GameConfig(10, 10, Rule.GYMNASIUM, Randomizer.BAG7), 1000, 2**31),
    (GameConfig(10, 20, Rule.GYMNASIUM, Randomizer.BAG7), 50, 100_000),
)
"""What `--measure` plays: the game, how many, and the lines at which a game is cut off."""

UNIT: Final = 100 / 128
"""What a weight of 1 is here. The published weights have two decimals and the features are whole or
half numbers, so that what a placement is worth is a multiple of 2**-8."""
BIAS: Final = 57_344.0
"""Added to every value. Between 2**15 and 2**16 the float32 are 2**-8 apart, so that every sum is
rounded to what it would be without errors of rounding: placements of equal worth stay equal, and
of these the first is made. It is so down to 2**15; below, numbers are closer, and sums as exact as
float32 are."""

_CREATE_TIME: Final = "2026-11-20T00:00:00.000000Z"
_COMMAND: Final = "python -m mltetris_server.learning.reference"


def network_of(player: ReferencePlayer) -> Network:
    """The linear network on scaled features that makes the player's placements.

    A random player's is all zeros: to it all placements are alike.
    """
    inputs = len(feature_scales(player.feature_set, GameConfig().width))
    weights, bias = np.zeros(inputs), 0.0
    if player.weights is not None:
        scales = feature_scales(player.feature_set, GameConfig().width).astype(np.float64)
        weights, bias = np.array(player.weights) * UNIT / scales, BIAS
    return Network(
        np.zeros((0, inputs), np.float32),
        np.zeros(0, np.float32),
        weights.astype(np.float32),
        np.array([bias], np.float32),
    )


def description_of(player: ReferencePlayer) -> ModelDescription:
    """What it is, as the model of a checkpoint."""
    config = ReferenceConfig(exploration=1.0 if player.weights is None else 0.0)
    return ModelDescription(player.feature_set, GameConfig(), config)


def make(player: ReferencePlayer) -> dict[str, bytes]:
    """The files of the player's slot, by name."""
    description, network = description_of(player), network_of(player)
    policy = dump_network(network)
    evaluation = _evaluate(player, description.game, EVALUATION_GAMES, EVALUATION_MAX_LINES)
    manifest = _document(
        {
            "format": "mltetris-checkpoint",
            "version": 1,
            "model": description.to_dict(),
            "placements": 0,
            # Its placements are those learnt from when it was taken, and here there are none.
            "evaluation": {**asdict(evaluation), "placements": 0},
            "source": None,
            "create_time": _CREATE_TIME,
            "command": _COMMAND,
            "files": {
                POLICY_FILE: {"size": len(policy), "sha256": hashlib.sha256(policy).hexdigest()}
            },
        }
    )
    record = _document(
        {
            "format": "mltetris-slot",
            "version": 1,
            "create_time": _CREATE_TIME,
            "update_time": _CREATE_TIME,
            "notes": f"{player.name}: {player.source}",
            "tags": [],
            "source_slot": "",
            "imported": False,
        }
    )
    digest = f"{hashlib.sha256(manifest).hexdigest()}  manifest.json\n".encode()
    return {
        "manifest.json": manifest,
        "manifest.sha256": digest,
        POLICY_FILE: policy,
        "slot.json": record,
    }


def measure() -> None:
    """Plays the games of `MEASURED` and prints a line of a table for each player and game."""
    print("| player | game | games | mean lines | median | worst | best | cut off |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for game, games, max_lines in MEASURED:
        for player in PLAYERS.values():
            found = _evaluate(player, game, games, max_lines)
            bound = "at least " if found.cut_off_games else ""
            print(
                f"| `{player.name}` | {game.width}x{game.height} {game.randomizer} {game.rule} "
                f"| {games:,} | {bound}{found.mean_lines:,.2f} ± {found.standard_error:,.2f} "
                f"| {found.median_lines:,.0f} | {found.worst_lines:,} | {found.best_lines:,} "
                f"| {found.cut_off_games} |",
                flush=True,
            )


def main() -> int:
    """Writes the folders of all players, or measures them; returns the exit code."""
    parser = argparse.ArgumentParser(description="Makes the reference players' slots.")
    parser.add_argument("--measure", action="store_true", help="play instead, and print a table")
    if parser.parse_args().measure:
        measure()
        return 0
    for player in PLAYERS.values():
        folder = FOLDER / player.name
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in make(player).items():
            (folder / name).write_bytes(data)
        print(folder)
    return 0


def _evaluate(
    player: ReferencePlayer, game: GameConfig, games: int, max_lines: int
) -> EvaluationResult:
    description = description_of(player)
    fatal_value, exploration = description.config.fatal_value, description.exploration
    plays = Player(network_of(player), description.features, fatal_value, exploration)
    return GreedyEvaluation(plays, game, games, EVALUATION_SEED, max_lines).run()


def _document(content: Mapping[str, Any]) -> bytes:
    """As `storage` writes its documents."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


if __name__ == "__main__":
    sys.exit(main())
