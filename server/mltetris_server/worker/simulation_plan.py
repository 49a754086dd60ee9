"""From a simulation's spec to what is played: every default filled in."""

from __future__ import annotations

from mltetris_api.v1.run_pb2 import Observation, SimulationSpec

from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import Player
from mltetris_server.learning.simulation.plan import Plan
from mltetris_server.worker.cores import available_cores
from mltetris_server.worker.specs import SpecError, draw_seed, game_spec, plan_game

_GAMES = 100
_BOARDS = 8
_OBSERVED = {
    Observation.OBSERVATION_BOARD: FeatureSet.BOARD,
    Observation.OBSERVATION_BCTS: FeatureSet.BCTS,
    Observation.OBSERVATION_SIMPLE: FeatureSet.SIMPLE,
}


def plan_simulation(asked: SimulationSpec, model: ModelDescription) -> SimulationSpec:
    """The simulation's spec with every default filled in.

    Args:
        asked: as the server sent it.
        model: of the player.

    Raises:
        SpecError: the game asked for cannot be.
    """
    spec = SimulationSpec()
    spec.CopyFrom(asked)
    spec.game.CopyFrom(game_spec(plan_game(asked.game, model.to_dict()["game"])))
    if not spec.HasField("games") and not spec.HasField("placements"):
        spec.games = _GAMES
    if not spec.HasField("seed"):
        spec.seed = draw_seed()
    if not spec.HasField("exploration"):
        spec.exploration = 0.0
    if not spec.HasField("boards"):
        spec.boards = _BOARDS
    if not spec.HasField("threads"):
        spec.threads = available_cores()
    spec.observation = spec.observation or Observation.OBSERVATION_BCTS
    return spec


def what_to_play(spec: SimulationSpec, player: Player) -> Plan:
    """What a spec whose every default is filled in says.

    Raises:
        SpecError: the player cannot play this game.
    """
    game = plan_game(spec.game, {})
    _require(player, game)
    return Plan(
        Player(
            player.network,
            player.features,
            player.fatal_value,
            _either(spec.exploration, player.exploration),
        ),
        game,
        _OBSERVED[spec.observation],
        spec.seed,
        spec.threads,
        spec.boards,
        spec.games if spec.HasField("games") else None,
        spec.placements if spec.HasField("placements") else None,
    )


def _require(player: Player, game: GameConfig) -> None:
    if not player.plays(game):
        raise SpecError(
            f"game.width: the player was trained for another width than {game.width} columns and "
            "looks at each column, so it cannot play this game"
        )


def _either(exploration: float, own: float) -> float:
    """The probability that the simulation or the player itself wants a random placement."""
    return 1 - (1 - exploration) * (1 - own) if own else exploration
