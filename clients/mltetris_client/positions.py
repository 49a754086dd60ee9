"""Boards as people and programs write them, and the contract's `Position` of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, Protocol

from mltetris_api.v1 import board_pb2, policy_pb2, run_pb2

from mltetris_client.errors import InvalidArgument
from mltetris_client.names import RuleName, value_of

PieceName = Literal["I", "O", "T", "S", "Z", "J", "L"]

LETTERS: Final = "IOTSZJL"
"""The pieces, 1..7."""

_CELLS: Final = (
    {letter: number for number, letter in enumerate(LETTERS, 1)}
    | {letter.lower(): number for number, letter in enumerate(LETTERS, 1)}
    | {str(digit): digit for digit in range(8)}
    | dict.fromkeys("._", 0)
    | dict.fromkeys("Xx#", 1)
)
_HELP: Final = "write . for empty and X, 1..7 or one of IOTSZJL for filled"
_SIZES: Final = {"width": (4, 32), "height": (4, 40)}


class _Array(Protocol):
    """What arrays of numpy and its like have."""

    def tolist(self) -> Any: ...


Board = str | bytes | bytearray | Sequence[str] | Sequence[Sequence[int]] | _Array | None
"""A board, the top row first.

A text with a line a row, or a list of such lines: ``.`` is empty, ``X``, ``#``, ``1``..``7`` and
the pieces' letters are filled. Or rows of numbers, 0 or 1..7, also as an array. Or bytes as
in `BoardFrame.cells`. None is an empty board.
"""


def position(
    board: Board,
    piece: PieceName | int,
    *,
    width: int | None = None,
    height: int | None = None,
    rule: RuleName | None = None,
) -> policy_pb2.Position:
    """The contract's message for a board and the piece to place on it.

    Args:
        board: See `Board`.
        piece: Its letter, or 1..7.
        width: Columns, 4..32; None: the board's, of bytes and of an empty board 10.
        height: Rows, 4..40; None: the board's, of bytes and of an empty board 20. A board in rows
            that has fewer stands at the bottom.
        rule: When a game is over; None: gymnasium.

    Raises:
        InvalidArgument: that is no board; ``fields`` names where.
    """
    made = policy_pb2.Position(piece=_piece(piece), rule=value_of(run_pb2.Rule, rule, field="rule"))
    if isinstance(board, (bytes, bytearray)):
        made.cells = bytes(board)
    elif board is not None:
        rows = _rows(board)
        columns = len(rows[0])
        if width is not None and width != columns:
            raise InvalidArgument.field("width", f"is {width}, and the board has {columns} columns")
        if height is not None and height < len(rows):
            raise InvalidArgument.field(
                "height", f"is {height}, and the board has {len(rows)} rows"
            )
        if height is None and len(rows) < _SIZES["height"][0]:
            raise InvalidArgument.field(
                "board",
                f"has {len(rows)} rows, and a game has 4..40: with height=20 these are the lowest "
                "of 20",
            )
        width = columns
        height = len(rows) if height is None else height
        made.cells = bytes(width * (height - len(rows))) + b"".join(rows)
    for name, size in (("width", width), ("height", height)):
        if size is None:
            continue
        least, most = _SIZES[name]
        if not least <= size <= most:
            raise InvalidArgument.field(name, f"must be {least}..{most}, not {size}")
        setattr(made, name, size)
    return made


def _piece(piece: str | int) -> board_pb2.Piece.ValueType:
    if isinstance(piece, str) and len(piece) == 1 and piece.upper() in LETTERS:
        piece = LETTERS.index(piece.upper()) + 1
    if isinstance(piece, str) or not 1 <= piece <= len(LETTERS):
        raise InvalidArgument.field("piece", f"{piece!r} is not one of {', '.join(LETTERS)}")
    return board_pb2.Piece.ValueType(piece)


def _rows(board: Any) -> list[bytes]:
    """The rows of a board that is not bytes, all of one length, at least one."""
    if isinstance(board, str):
        lines = [line.strip() for line in board.strip().splitlines()]
        board = [line for line in lines if line]
    elif hasattr(board, "tolist"):
        board = board.tolist()
    if not isinstance(board, Iterable):
        raise InvalidArgument.field("board", f"a {type(board).__name__} is no board: {_HELP}")
    rows = [_row(number, row) for number, row in enumerate(board)]
    if not rows:
        raise InvalidArgument.field("board", f"has no rows: {_HELP}")
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise InvalidArgument.field(
                f"board[{number}]", f"has {len(row)} cells, and the first row {len(rows[0])}"
            )
    return rows


def _row(number: int, row: Any) -> bytes:
    if not isinstance(row, Iterable):
        raise InvalidArgument.field(
            f"board[{number}]", "is not a row: a board has two dimensions, rows from the top"
        )
    return bytes(_cell(f"board[{number}][{column}]", cell) for column, cell in enumerate(row))


def _cell(path: str, cell: Any) -> int:
    if isinstance(cell, str):
        if cell in _CELLS:
            return _CELLS[cell]
    else:
        try:
            value = int(cell)
        except (TypeError, ValueError):
            value = -1
        if 0 <= value <= 7 and value == cell:
            return value
    raise InvalidArgument.field(path, f"{cell!r} is no cell: {_HELP}")
