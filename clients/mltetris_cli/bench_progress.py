"""How far a benchmark is, on stderr, until it ends or somebody leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable

from mltetris_client import Run, Trainer, is_final
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mltetris_cli.bench_view import games_done, score_words
from mltetris_cli.jsonify import seconds
from mltetris_cli.live import figures, show, words
from mltetris_cli.live.follower import Follower

_BAR_WIDTH = 24
_FRAME_S = 0.1


def follow(trainer: Trainer, run: Run) -> tuple[Run, bool]:
    """Shows a benchmark until it is final; returns it as it is then, and whether it was watched
    to its end.

    Raises:
        MlTetrisError: it cannot be followed.
    """
    console = Console(stderr=True, highlight=False)
    with Follower(trainer, run) as follower:
        if show.on_terminal(console):
            with Live(console=console, auto_refresh=False, transient=True) as live:
                ending = show.show_lines(
                    trainer,
                    follower,
                    lambda: live.update(_picture(follower), refresh=True),
                    stop_on_leaving=False,
                    period=_FRAME_S,
                )
        else:
            ending = show.show_lines(trainer, follower, _lines(follower), stop_on_leaving=False)
        return follower.run, ending is show.Ending.FINISHED


def _lines(follower: Follower) -> Callable[[], None]:
    """Writes a line whenever there is something new to say."""
    said = ""

    def write() -> None:
        nonlocal said
        text = _line(follower)
        if text != said:
            said = text
            print(text, file=sys.stderr, flush=True)

    return write


def _line(follower: Follower) -> str:
    """How far it is, in a line."""
    run, point = follower.run, follower.point
    done, total = games_done(run)
    if point is not None:
        done = max(done, point.episodes)
    parts = [
        run.id,
        words.state_word(run),
        f"{figures.count(done)} of {figures.count(total)} games",
    ]
    if point is not None:
        if point.HasField("placements_per_second"):
            parts.append(f"{figures.short(point.placements_per_second)} placements/s")
        if point.HasField("eta") and not is_final(run):
            parts.append(f"{figures.span(seconds(point.eta))} left")
    if not follower.connected and not follower.finished:
        parts.append("no connection, trying again")
    return "  ".join(parts)


def _picture(follower: Follower) -> RenderableType:
    """The same with a bar for each player."""
    run = follower.run
    result = run.benchmark_result
    known = {player.name: player for player in result.players}
    table = Table.grid(padding=(0, 2))
    for name in map(words.player_word, run.benchmark.players):
        player = known.get(name)
        games = player.games if player is not None else 0
        score = ""
        if player is not None and games:
            score = f"{score_words(result.score_kind, player.score)} so far"
        table.add_row(
            Text(name),
            ProgressBar(total=run.benchmark.games or 1, completed=games, width=_BAR_WIDTH),
            Text(f"{games:,} of {run.benchmark.games:,}"),
            Text(score, style="bright_black"),
        )
    return Group(table, Text(_line(follower), style="bright_black"))
