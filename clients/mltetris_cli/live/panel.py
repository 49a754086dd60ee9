"""The part of the live view beside the board: figures, curves and the way to the goal."""

from __future__ import annotations

from collections.abc import Sequence

from mltetris_client import BoardFrame, MetricPoint, Run, is_final
from rich.text import Text

from mltetris_cli.jsonify import seconds
from mltetris_cli.live import figures, words
from mltetris_cli.live.board import piece_preview
from mltetris_cli.live.follower import Follower
from mltetris_cli.live.series import Series, bars

LINES_STYLE = "bright_cyan"
REWARD_STYLE = "bright_magenta"
LABEL_STYLE = "bright_black"
_NO_PIECE = 0


def game_lines(frame: BoardFrame | None, watching: str, *, color: bool) -> list[Text]:
    """The watched game: next piece, lines, score, number of the game, how it is shown."""
    preview = piece_preview(frame.next[0] if frame and frame.next else _NO_PIECE, color=color)
    labels = ("LINES", "SCORE", "PIECES", "GAME")
    values = ("-",) * 4
    if frame is not None:
        values = (
            figures.count(frame.lines),
            figures.short(frame.score),
            figures.count(frame.placements),
            figures.count(frame.episode),
        )
    widths = (8, 9, 9, 7)
    heads = Text("NEXT      ", style=LABEL_STYLE, end="")
    for label, width in zip(labels, widths, strict=True):
        heads.append(label.ljust(width))
    first = preview[0].copy()
    first.append("  ")
    for value, width in zip(values, widths, strict=True):
        first.append(value.ljust(width), "bold")
    second = preview[1].copy()
    second.append(f"  {watching}", LABEL_STYLE)
    if frame is not None and frame.player:
        second.append("  played by ", LABEL_STYLE)
        second.append(frame.player, "bold")
    if frame is not None and frame.game_over:
        second.append("  ")
        second.append("GAME OVER", "bold bright_red")
    return [heads, first, second]


def curve(
    title: str,
    series: Series,
    *,
    rows: int,
    width: int,
    style: str,
    note: str = "",
    waiting: str,
    floor: float | None = None,
) -> list[Text]:
    """A titled curve of ``rows`` lines: its range on the left, its newest value in the title."""
    head = Text(end="")
    head.append(title, LABEL_STYLE)
    if series.last is not None:
        head.append(f"  {figures.lines(series.last)}", f"bold {style}")
    if note:
        room = width - head.cell_len - len(note)
        if room >= 2:
            head.append(" " * room + note, LABEL_STYLE)
    axis = 6
    columns = series.columns(width - axis - 1)
    known = [value for value in columns if value is not None]
    if not known:
        blank = [Text(" " * axis + "▏", style=LABEL_STYLE, end="") for _ in range(rows)]
        blank[rows // 2].append(waiting)
        return [head, *blank]
    top = max(known)
    bottom = min(known) if floor is None else min(floor, *known)
    lines: list[Text] = []
    for row, drawn in enumerate(bars(columns, rows, top=top, bottom=bottom)):
        mark = figures.short(top) if row == 0 else figures.short(bottom) if row == rows - 1 else ""
        line = Text(end="")
        line.append(mark.rjust(axis), LABEL_STYLE)
        line.append("▏", LABEL_STYLE)
        line.append(drawn, style)
        lines.append(line)
    return [head, *lines]


def metric_lines(point: MetricPoint | None, width: int) -> list[Text]:
    """The figures of learning, two columns."""
    pairs: list[tuple[str, str]] = []
    if point is not None:
        pace = ""
        if point.HasField("placements_per_second"):
            pace = figures.short(point.placements_per_second)
        pairs.append(("placements", figures.short(point.placements)))
        pairs.append(("placements/s", pace or "-"))
        pairs.append(("games", figures.short(point.episodes)))
        if point.HasField("best_lines"):
            pairs.append(("best game", figures.count(point.best_lines)))
        if point.HasField("mean_lines"):
            pairs.append(("lines a game", figures.lines(point.mean_lines)))
        if point.HasField("exploration"):
            pairs.append(("exploration", figures.small(point.exploration)))
        if point.HasField("learning_rate"):
            pairs.append(("learning rate", figures.small(point.learning_rate)))
        if point.HasField("loss"):
            pairs.append(("loss", figures.small(point.loss)))
    columns = 2 if width >= 44 else 1
    half = width // 2
    lines: list[Text] = []
    for start in range(0, len(pairs), columns):
        line = Text(end="")
        for column, (label, value) in enumerate(pairs[start : start + columns]):
            line.append(f"{label:<14}", LABEL_STYLE)
            line.append(value)
            if column < columns - 1:
                line.append(" " * max(1, half - line.cell_len))
        lines.append(line)
    return lines


def standings(follower: Follower, frames: Sequence[BoardFrame]) -> list[Text]:
    """Who is how far in a race: lines now, and the mean of the games that have ended."""
    episodes = list(follower.episodes)
    lines = [Text(f"{'PLAYER':<10}{'NOW':>6}{'MEAN':>8}{'GAMES':>6}", style=LABEL_STYLE, end="")]
    for frame in frames:
        ended = [episode.lines for episode in episodes if episode.board == frame.board]
        mean = figures.lines(sum(ended) / len(ended)) if ended else "-"
        line = Text(end="")
        line.append(f"{frame.player[:9]:<10}", "bold")
        line.append(f"{figures.count(frame.lines):>6}{mean:>8}{len(ended):>6}")
        lines.append(line)
    return lines


def progress_line(run: Run, point: MetricPoint | None, width: int) -> Text:
    """The way to the goal, and how long it will take."""
    line = Text(end="")
    if point is None or not point.HasField("progress"):
        text = "" if point is None else f"running for {figures.span(seconds(point.elapsed))}"
        line.append(text, LABEL_STYLE)
        return line
    share = min(1.0, max(0.0, point.progress))
    tail = f" {share:4.0%}"
    if is_final(run):
        tail += f"  {figures.span(seconds(point.elapsed))}"
    elif point.HasField("eta"):
        tail += f"  {figures.span(seconds(point.eta))} left"
    room = max(4, width - max(len(tail), 18))
    done = round(share * room)
    line.append("━" * done, LINES_STYLE)
    line.append("━" * (room - done), "bright_black")
    line.append(tail, "bold")
    return line


def side_lines(
    follower: Follower, learnt: Follower | None, width: int, height: int, *, color: bool
) -> list[Text]:
    """Everything beside the boards, in ``height`` lines of at most ``width`` characters.

    The game is ``follower``'s; curves and figures are of ``learnt``, where there is one: the
    training whose model plays.
    """
    boards = follower.boards
    if boards is not None and len(boards.frames) > 1:
        game = standings(follower, boards.frames)
    else:
        single = boards.frames[0] if boards is not None and boards.frames else None
        paced = words.is_paced(follower.run)
        watching = words.view_word(follower.run.control) if paced else "at full speed"
        game = game_lines(single, watching, color=color)
    source = learnt or follower
    figures_part = metric_lines(source.point, width)
    progress = progress_line(source.run, source.point, width)
    room = height - len(game) - len(figures_part) - 1
    curves = _training_curves if source.run.HasField("training") else _game_curves
    parts = [game, *curves(source, width, room), figures_part, [progress]]
    spare = height - sum(map(len, parts))
    result: list[Text] = []
    for part in parts:
        if result and part and spare > 0:
            result.append(Text(end=""))
            spare -= 1
        result.extend(part)
    return result[:height]


def _training_curves(follower: Follower, width: int, room: int) -> list[list[Text]]:
    """Lines and reward, in at most ``room`` lines with their titles and a line between parts."""
    rows = room - 5
    upper = max(2, min(8, (rows + 1) * 3 // 5))
    lower = max(2, min(5, rows - upper))
    title, series = _lines_of(follower)
    best = follower.run.best_evaluation
    return [
        curve(
            title,
            series,
            rows=upper,
            width=width,
            style=LINES_STYLE,
            note=f"best {words.mean_word(best)}" if best.games else "",
            waiting="no game has ended yet",
            floor=0.0,
        ),
        curve(
            "REWARD, mean of 100 games",
            follower.rewards,
            rows=lower,
            width=width,
            style=REWARD_STYLE,
            waiting="no game has ended yet",
        ),
    ]


def _lines_of(follower: Follower) -> tuple[str, Series]:
    """The lines to draw: of examinations, or of training games while there are too few of them."""
    if len(follower.evaluations) > 1 or not len(follower.training_lines):
        return "LINES A GAME, playing its best", follower.evaluations
    return "LINES A GAME, while training", follower.training_lines


def _game_curves(follower: Follower, width: int, room: int) -> list[list[Text]]:
    """Lines of the games that have ended, or of the first one while it goes on."""
    title, series = "LINES IN EACH GAME", follower.game_lines
    if not len(series):
        title, series = "LINES IN THIS GAME", follower.watched_lines
    return [
        curve(
            title,
            series,
            rows=max(2, min(6, room - 3)),
            width=width,
            style=LINES_STYLE,
            waiting="no line yet",
            floor=0.0,
        )
    ]
