"""A board as coloured text: two characters a cell, or half blocks where there is less room."""

from __future__ import annotations

from collections.abc import Sequence

from mltetris_client import BoardFrame
from rich.color import Color
from rich.style import Style
from rich.text import Text

_Rgb = tuple[int, int, int]

# The guideline's colours, a little softer so that neighbours can be told apart on a dark ground.
_PIECES: dict[int, _Rgb] = {
    1: (0, 200, 220),  # I cyan
    2: (240, 205, 20),  # O yellow
    3: (165, 70, 215),  # T purple
    4: (70, 195, 70),  # S green
    5: (225, 60, 60),  # Z red
    6: (65, 105, 235),  # J blue
    7: (240, 145, 35),  # L orange
}
_EMPTY: _Rgb = (22, 24, 32)
_DOT: _Rgb = (44, 48, 62)
_UNKNOWN: _Rgb = (130, 130, 130)
_LETTERS = " IOTSZJL"

# Spawn shapes for the next piece, rows of cells.
_SHAPES: dict[int, tuple[str, str]] = {
    1: ("####", "    "),
    2: (" ## ", " ## "),
    3: (" #  ", "### "),
    4: (" ## ", "##  "),
    5: ("##  ", " ## "),
    6: ("#   ", "### "),
    7: ("  # ", "### "),
}


def _mix(color: _Rgb, other: _Rgb, share: float) -> _Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return (red, green, blue)


def _style(background: _Rgb, foreground: _Rgb | None = None) -> Style:
    return Style(
        bgcolor=Color.from_rgb(*background),
        color=None if foreground is None else Color.from_rgb(*foreground),
    )


def _looks() -> dict[tuple[int, str], tuple[str, Style]]:
    """How a cell looks: two characters and their style, for (piece, role).

    Roles: "" settled, "active" about to be placed, "last" just placed.
    """
    looks: dict[tuple[int, str], tuple[str, Style]] = {}
    for piece, color in _PIECES.items():
        edge = _mix(color, (255, 255, 255), 0.28)
        looks[piece, ""] = ("▎ ", _style(color, edge))
        bright = _mix(color, (255, 255, 255), 0.3)
        looks[piece, "active"] = ("▎ ", _style(bright, _mix(bright, (255, 255, 255), 0.5)))
        looks[piece, "last"] = ("▎ ", _style(_mix(color, (255, 255, 255), 0.18), edge))
    looks[0, ""] = (" ·", _style(_EMPTY, _DOT))
    return looks


_LOOKS = _looks()
_UNKNOWN_LOOK = ("▎ ", _style(_UNKNOWN, _UNKNOWN))


def cells_of(frame: BoardFrame) -> list[list[tuple[int, str]]]:
    """The board row by row from the top; each cell is (piece, role), see `_looks`."""
    width, height = frame.width, frame.height
    grid = [(cell, "") for cell in frame.cells[: width * height]]
    grid += [(0, "")] * (width * height - len(grid))
    if frame.HasField("last_placement") and not frame.last_placement.cleared_rows:
        # Only where no row went: after that the cells are elsewhere.
        for index in frame.last_placement.cells:
            if index < len(grid) and grid[index][0]:
                grid[index] = (grid[index][0], "last")
    if frame.HasField("active") and not frame.game_over:
        for index in frame.active.cells:
            if index < len(grid):
                grid[index] = (int(frame.active.piece), "active")
    return [grid[row * width : (row + 1) * width] for row in range(height)]


def large(frame: BoardFrame, *, color: bool = True) -> list[Text]:
    """A board at two characters a cell: ``height`` lines of ``2 * width`` characters."""
    lines: list[Text] = []
    for row in cells_of(frame):
        line = Text(no_wrap=True, end="")
        for piece, role in row:
            if color:
                characters, style = _LOOKS.get((piece, role), _UNKNOWN_LOOK)
                line.append(characters, style)
            elif piece == 0:
                line.append(" .")
            else:
                letter = _LETTERS[piece] if piece < len(_LETTERS) else "?"
                line.append(letter.lower() * 2 if role == "active" else letter * 2)
        lines.append(line)
    return lines


def compact(frame: BoardFrame, *, color: bool = True) -> list[Text]:
    """A board at half a line a cell: ``height / 2`` lines of ``width`` characters."""
    rows = cells_of(frame)
    if len(rows) % 2:
        rows.insert(0, [(0, "")] * frame.width)
    lines: list[Text] = []
    for above, below in zip(rows[::2], rows[1::2], strict=True):
        line = Text(no_wrap=True, end="")
        for top, bottom in zip(above, below, strict=True):
            if color:
                line.append("▀", _style(_ground(bottom), _ground(top)))
            else:
                line.append(" ▀▄█"[bool(top[0]) + 2 * bool(bottom[0])])
        lines.append(line)
    return lines


def _ground(cell: tuple[int, str]) -> _Rgb:
    piece, role = cell
    if piece == 0:
        return _EMPTY
    color = _PIECES.get(piece, _UNKNOWN)
    return _mix(color, (255, 255, 255), 0.3) if role == "active" else color


def framed(
    lines: Sequence[Text], *, border: str, title: str = "", width: int | None = None
) -> list[Text]:
    """Puts a thin border around lines of equal width, with a title in its upper edge."""
    inner = width if width is not None else max((line.cell_len for line in lines), default=0)
    head = f" {title} " if title else ""
    head = head[: max(0, inner - 2)]
    top = Text("╭", style=border, end="")
    top.append("─" + head if head else "")
    top.append("─" * (inner - len(top.plain) + 1) + "╮")
    result = [top]
    for line in lines:
        row = Text("│", style=border, end="")
        row.append_text(line)
        row.append("│")
        result.append(row)
    result.append(Text("╰" + "─" * inner + "╯", style=border, end=""))
    return result


def piece_preview(piece: int, *, color: bool = True) -> list[Text]:
    """The next piece, two lines of eight characters."""
    lines: list[Text] = []
    for row in _SHAPES.get(piece, ("    ", "    ")):
        line = Text(no_wrap=True, end="")
        for cell in row:
            if cell == " ":
                line.append("  ")
            elif color:
                line.append(*_LOOKS[piece, ""])
            else:
                line.append(_LETTERS[piece] * 2)
        lines.append(line)
    return lines
