"""What a simulation plays."""

from __future__ import annotations

from dataclasses import dataclass

from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.learning.player import Player


@dataclass(frozen=True)
class Plan:
    """What is to be played.

    Attributes:
        player: Who plays; its exploration is that of the games.
        game: The game.
        observed: What is kept of each state.
        seed: Of pieces and exploration; game g is that of board g of `new_games` with it.
        threads: Threads to play with.
        boards: Boards of each.
        games: Games to play at most; None: no limit.
        placements: Placements to make at most; None: no limit.
    """

    player: Player
    game: GameConfig
    observed: FeatureSet
    seed: int
    threads: int = 1
    boards: int = 8
    games: int | None = None
    placements: int | None = None
