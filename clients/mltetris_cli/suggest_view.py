"""A suggestion for people: the board with the piece in its place, and what placements are worth."""

from __future__ import annotations

from mltetris_api.v1 import board_pb2
from mltetris_client import BoardFrame, PolicyInfo, Position, SuggestedPlacement, Suggestion
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mltetris_cli.live.board import framed, large

_TURNS = ("as it comes", "turned left once", "turned left twice", "turned left three times")


def view(
    position: Position,
    suggestion: Suggestion,
    policy: PolicyInfo,
    *,
    limit: int | None,
    color: bool,
) -> RenderableType:
    """The board, the best placement in words, and the ``limit`` best in a table (None: all)."""
    if not suggestion.HasField("best"):
        return "nothing can be placed"
    best = suggestion.best
    words = Text(
        f"{policy.slot}: column {best.column}, {_TURNS[best.rotation]}"
        + (f", clears {best.lines_cleared}" if best.lines_cleared else "")
        + (" and ends the game, as every placement does" if suggestion.game_over else ""),
        style="bold",
    )
    lines = framed(large(_frame(position, best), color=color), border="bright_black")
    return Group(Text("\n").join(lines), words, Text(), _table(suggestion, limit))


def _frame(position: Position, best: SuggestedPlacement) -> BoardFrame:
    width = position.width if position.HasField("width") else 10
    height = position.height if position.HasField("height") else 20
    frame = BoardFrame(width=width, height=height, cells=position.cells)
    frame.active.CopyFrom(board_pb2.PieceState(piece=position.piece, cells=best.cells))
    return frame


def _table(suggestion: Suggestion, limit: int | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bright_black", show_edge=False)
    for name in ("VALUE", "COLUMN", "ROTATION", "LINES", "ACTION"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    ranked = sorted(suggestion.placements, key=lambda placement: -placement.value)
    for placement in ranked[:limit]:
        chosen = placement.action == suggestion.best.action
        table.add_row(
            f"{placement.value:.6g}",
            str(placement.column),
            str(placement.rotation),
            str(placement.lines_cleared),
            str(placement.action),
            "best" if chosen else "ends the game" if placement.ends_game else "",
            style="bold" if chosen else "",
        )
    left = len(ranked) - limit if limit is not None else 0
    if left > 0:
        table.caption = f"and {left} more: --all"
        table.caption_justify = "left"
    return table
