"""The whole live view: a head, the boards, what is beside them, and the keys."""

from __future__ import annotations

from collections.abc import Sequence

from mltetris_client import BoardFrame
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from mltetris_cli.live import words
from mltetris_cli.live.board import compact, framed, large
from mltetris_cli.live.follower import Follower
from mltetris_cli.live.panel import LABEL_STYLE, side_lines

_LEAST_SIDE = 40
_BORDERS = {"succeeded": "green", "failed": "red", "paused": "yellow"}


class LiveView:
    """Draws a `Follower` for the size the terminal has at that moment.

    The last line is ``keys``, or ``message`` while there is one, and ``place``. With ``learnt``
    the curves are those of that training, whose model plays.
    """

    def __init__(
        self, follower: Follower, keys: str, *, place: str, learnt: Follower | None = None
    ) -> None:
        self._follower = follower
        self._keys = keys
        self._place = place
        self._learnt = learnt
        self.message = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields the lines, as many as the terminal has."""
        width, height = options.max_width, options.height or console.height
        color = console.color_system is not None and not console.no_color
        for number, line in enumerate(self.lines(width, height, color=color)):
            if number:
                yield Text("\n", end="")
            yield line

    def lines(self, width: int, height: int, *, color: bool = True) -> list[Text]:
        """The view as at most ``height`` lines of at most ``width`` characters."""
        middle = height - 2
        left = self._boards(width, middle, color=color)
        left_width = max((line.cell_len for line in left), default=0)
        side = width - left_width - 4  # a space at the left, two between, one at the right
        right: list[Text] = []
        if side >= 20:
            right = side_lines(self._follower, self._learnt, side, middle, color=color)
        result = [self._head(width)]
        for row in range(middle):
            line = Text(" ", no_wrap=True, end="")
            if row < len(left):
                line.append_text(left[row])
            if row < len(right):
                line.append(" " * (left_width + 3 - line.cell_len))
                line.append_text(right[row])
            line.truncate(width)
            result.append(line)
        result.append(self._foot(width))
        return result[:height]

    def _head(self, width: int) -> Text:
        run = self._follower.run
        state = words.state_word(run)
        line = Text(" ", no_wrap=True, end="")
        line.append("mlTetris", "bold")
        line.append("  ")
        line.append(run.id)
        line.append("  ")
        line.append(f"● {state}", f"bold {words.STATE_STYLES.get(state, 'white')}")
        if not self._follower.connected and not self._follower.finished:
            line.append("  no connection, trying again", "bold bright_red")
        goal = f"goal: {words.goal_words(run)} "
        room = width - line.cell_len - len(goal)
        if room >= 2:
            line.append(" " * room + goal, LABEL_STYLE)
        line.truncate(width)
        return line

    def _foot(self, width: int) -> Text:
        line = Text(" ", no_wrap=True, end="")
        if self.message:
            line.append(self.message, "bold")
        else:
            line.append(self._keys, LABEL_STYLE)
            room = width - line.cell_len - len(self._place) - 1
            if room >= 2:
                line.append(" " * room + self._place, LABEL_STYLE)
        line.truncate(width)
        return line

    def _boards(self, width: int, height: int, *, color: bool) -> list[Text]:
        """All boards side by side, as large as there is room for."""
        run = self._follower.run
        border = _BORDERS.get(words.state_word(run), "bright_black")
        boards = self._follower.boards
        if boards is None or not boards.frames:
            return _waiting(words.doing_words(run), height, border)
        frames: Sequence[BoardFrame] = boards.frames
        wide = sum(2 * frame.width + 3 for frame in frames)
        tall = max(frame.height for frame in frames)
        fits = wide + _LEAST_SIDE <= width or (len(frames) > 1 and wide <= width)
        draw = large if fits and tall <= height else compact
        drawn: list[list[Text]] = []
        for frame in frames:
            lines = draw(frame, color=color)
            if len(lines) + 2 <= height:
                title = frame.player if len(frames) > 1 else ""
                lines = framed(lines, border=border, title=title)
            if len(frames) > 1 and len(lines) + 1 <= height:
                size = max(line.cell_len for line in lines)
                lines.append(Text(f" {frame.lines} lines".ljust(size)[:size], end=""))
            drawn.append(lines)
        return _beside(drawn)


def _beside(blocks: Sequence[list[Text]]) -> list[Text]:
    result: list[Text] = []
    for row in range(max(map(len, blocks))):
        line = Text(end="")
        for number, block in enumerate(blocks):
            if number:
                line.append(" ")
            size = max(part.cell_len for part in block)
            if row < len(block):
                line.append_text(block[row])
                line.append(" " * (size - block[row].cell_len))
            else:
                line.append(" " * size)
        result.append(line)
    return result


def _waiting(text: str, height: int, border: str) -> list[Text]:
    """An empty board of the default size with a sentence in its middle."""
    inner = 20
    rows = max(3, min(20, height - 2))
    lines = [Text(" " * inner, end="") for _ in range(rows)]
    parts: list[str] = []
    for word in text.split():
        if parts and len(parts[-1]) + 1 + len(word) <= inner:
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    for offset, part in enumerate(parts[:rows]):
        lines[rows // 2 - len(parts) // 2 + offset] = Text(
            part.center(inner), style="bright_black", end=""
        )
    return framed(lines, border=border)
