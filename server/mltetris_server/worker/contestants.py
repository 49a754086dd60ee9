"""Who takes part in a benchmark, and what their boards look like."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.v1.run_pb2 import Player as NamedPlayer

from mltetris_server.game.config import GameConfig
from mltetris_server.game.display import ShownGame
from mltetris_server.learning.benchmark.match import Match
from mltetris_server.learning.player import Player
from mltetris_server.player_names import player_name
from mltetris_server.worker.frames import board_frame
from mltetris_server.worker.link import Link
from mltetris_server.worker.specs import SpecError
from mltetris_server.worker.transfer import get_checkpoint, request_of

SHOWN_PLAYERS = 4
"""Players whose boards are shown at most, the first ones: as many as a race has."""


@dataclass(frozen=True)
class Contestant:
    """One of the players."""

    name: str
    sha256: str
    """Of the manifest of its model, hex."""
    player: Player


def read_contestants(
    link: Link, named: Iterable[NamedPlayer]
) -> tuple[list[Contestant], dict[str, Any]]:
    """The players, read from the server, and the game of the first one's model.

    Raises:
        ServerGone: the server went away for good.
        TransferError: a model could not be read.
        CheckpointError: a model is not what it should be.
        SpecError: there are none.
    """
    contestants: list[Contestant] = []
    first_game: dict[str, Any] = {}
    for one in named:
        checkpoint = get_checkpoint(link, request_of(one))
        model = json.loads(checkpoint.model_json)
        first_game = first_game or model["game"]
        player = Player.from_checkpoint(model, checkpoint.files)
        contestants.append(Contestant(player_name(one), checkpoint.sha256, player))
    if not contestants:
        raise SpecError("players: a benchmark needs at least one")
    return contestants, first_game


def check_width(contestants: Iterable[Contestant], config: GameConfig) -> None:
    """Raises SpecError where one of them cannot play on so many columns."""
    for contestant in contestants:
        if not contestant.player.plays(config):
            raise SpecError(
                f"players: {contestant.name!r} was trained for another width than "
                f"{config.width} columns and looks at each column, so it cannot play this game"
            )


def latest_frames(
    match: Match, contestants: Sequence[Contestant], *, include_values: bool
) -> list[BoardFrame]:
    """The game that each of the first players played on last, by place; none before the first."""
    frames = []
    for board, contestant in enumerate(contestants[:SHOWN_PLAYERS]):
        view = match.view(board)
        if view is None:
            continue
        number, games = view
        shown = ShownGame.of_board(match.config, games, 0)
        values = None
        if include_values and not shown.game_over:
            values = contestant.player.values(shown)
        frame = board_frame(shown, board=board, player=contestant.name, values=values)
        frame.episode = number
        frames.append(frame)
    return frames
