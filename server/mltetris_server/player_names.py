"""What a player is called, by the server and by its workers."""

from __future__ import annotations

from mltetris_api.v1 import run_pb2


def player_name(player: run_pb2.Player) -> str:
    """What a player is called: the slot's name, or `RUN:best` of a run's checkpoint."""
    if player.HasField("slot"):
        return player.slot
    kind = player.checkpoint.kind or run_pb2.CHECKPOINT_KIND_BEST
    word = run_pb2.CheckpointKind.Name(kind).removeprefix("CHECKPOINT_KIND_").lower()
    return f"{player.checkpoint.run}:{word}"
