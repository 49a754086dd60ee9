"""Benchmarks for people: what came of one, the list of them, scores over time, suites."""

from __future__ import annotations

from collections.abc import Sequence

from mltetris_api.v1 import benchmark_pb2, run_pb2
from mltetris_client import (
    BenchmarkScore,
    BenchmarkSpec,
    BenchmarkSuite,
    Episode,
    GameSpec,
    Run,
    name_of,
)
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mltetris_cli.live import figures, words
from mltetris_cli.runs_view import ago, printable, state_text

SPRINT = benchmark_pb2.SCORE_KIND_SPRINT_EFFICIENCY
_MODEL_DIGITS = 8
_FIGURES = (">MEAN", ">± SE", ">MEDIAN", ">BEST", ">WORST", ">CUT OFF", ">PLACEMENTS/S")
_PAIR = (">95 % INTERVAL", ">WON", ">TIED", ">LOST")


def result(run: Run) -> RenderableType:
    """What came of a benchmark, or has come of it so far."""
    found = run.benchmark_result
    parts: list[RenderableType] = [Text(headline(run)), Text()]
    if not any(player.games for player in found.players):
        parts.append(Text("no game has ended yet"))
        return Group(*parts)
    parts.append(_players(run))
    if found.differences:
        parts += [Text(), _differences(found)]
    return Group(*parts)


def games_table(run: Run, episodes: Sequence[Episode]) -> RenderableType:
    """Every game, one a row, with the lines of each player, or of a sprint the placements."""
    sprint = run.benchmark_result.score_kind == SPRINT
    names = [player.name for player in _best_first(run.benchmark_result)]
    by_game: dict[int, dict[str, str]] = {}
    for episode in episodes:
        text = figures.count(episode.placements if sprint else episode.lines)
        if sprint and episode.lines < run.benchmark.max_lines:
            text = "not reached"
        mark = "≥" if episode.cut_off and not sprint else ""
        by_game.setdefault(episode.number, {})[episode.player] = mark + text
    table = _table(">GAME", *(f">{printable(name)}" for name in names))
    for number, played in sorted(by_game.items()):
        table.add_row(figures.count(number), *(played.get(name, "-") for name in names))
    what = "placements" if sprint else "lines"
    return Group(Text(f"{what} of every game, a row on the same pieces"), Text(), table)


def headline(run: Run) -> str:
    """What was played, in a line."""
    spec, found = run.benchmark, run.benchmark_result
    text = f"{run.id}  {game_words(spec.game)}, {figures.count(spec.games)} games each"
    if spec.HasField("seed"):
        text += f", seed {spec.seed}"
    if spec.max_lines:
        text += f", cut off at {figures.count(spec.max_lines)} lines"
    if spec.suite:
        text += f"  ({spec.suite}{', official' if found.official else ''})"
    if not found.complete:
        done, total = games_done(run)
        state = words.state_word(run)
        text += f"\n{state}: {figures.count(done)} of {figures.count(total)} games were played"
    return text


def games_done(run: Run) -> tuple[int, int]:
    """Games that have ended, and all there are."""
    spec = run.benchmark
    done = sum(player.games for player in run.benchmark_result.players)
    return done, spec.games * len(spec.players)


def score_words(kind: benchmark_pb2.ScoreKind.ValueType, score: float) -> str:
    """A score: lines, or a share."""
    return f"{score:.4f}" if kind == SPRINT else figures.lines(score)


def bounded_score(score: BenchmarkScore) -> str:
    """A score, with the sign of a lower bound where games were cut off."""
    return _bound(score.cut_off_games, score.score_kind) + score_words(
        score.score_kind, score.score
    )


def error_words(kind: benchmark_pb2.ScoreKind.ValueType, error: float) -> str:
    """The standard error of a score."""
    return f"{error:.4f}" if kind == SPRINT else figures.lines(error)


def game_words(game: GameSpec) -> str:
    """A game in a few words; what the worker has yet to decide is left out."""
    parts = [f"{game.width}x{game.height}"] if game.width and game.height else []
    parts.append(name_of(run_pb2.Randomizer, game.randomizer))
    parts.append(name_of(run_pb2.Rule, game.rule))
    return " ".join(part for part in parts if part) or "the first player's game"


def runs_table(runs: Sequence[Run]) -> RenderableType:
    """Benchmarks as a table."""
    if not runs:
        return "no benchmarks; begin one with `mltetris bench PLAYER PLAYER`"
    table = _table("RUN", "STATE", "SUITE", ">GAMES", ">STARTED", "PLAYERS, BEST FIRST")
    for run in runs:
        done, total = games_done(run)
        found = run.benchmark_result
        games = figures.count(total) if found.complete else f"{done:,} of {total:,}"
        table.add_row(
            run.id,
            state_text(run),
            _suite(run.benchmark),
            games,
            ago(run.create_time),
            Text(printable(_ranking(run))),
        )
    return table


def scores_table(scores: Sequence[BenchmarkScore]) -> RenderableType:
    """Scores as a table."""
    if not scores:
        return "no scores; `mltetris bench PLAYER ... --suite SUITE` makes some"
    table = _table("WHEN", "SUITE", "PLAYER", ">SCORE", ">±", ">GAMES", ">CUT OFF", "RUN", "MODEL")
    for score in scores:
        when = score.create_time.ToDatetime().astimezone()
        kind = score.score_kind
        table.add_row(
            f"{when:%Y-%m-%d %H:%M:%S}",
            score.suite,
            Text(printable(score.player)),
            bounded_score(score),
            error_words(kind, score.score_error),
            figures.count(score.games),
            figures.count(score.cut_off_games),
            score.run,
            score.sha256[:_MODEL_DIGITS],
        )
    return table


def suites_table(suites: Sequence[BenchmarkSuite]) -> RenderableType:
    """Suites as a table."""
    table = _table("SUITE", "GAME", ">GAMES", ">SEED", ">CUT OFF AT", "SCORE", "WHAT")
    for suite in suites:
        table.add_row(
            suite.name,
            game_words(suite.game),
            figures.count(suite.games),
            str(suite.seed),
            figures.count(suite.max_lines) if suite.max_lines else "never",
            name_of(benchmark_pb2.ScoreKind, suite.score_kind).replace("_", " "),
            Text(suite.description, overflow="fold"),
        )
    return table


def _players(run: Run) -> Table:
    found = run.benchmark_result
    scored = bool(found.suite)
    table = _table("PLAYER", *_FIGURES)
    if not found.complete:
        table.add_column("GAMES", justify="right", no_wrap=True)
    if scored:
        table.add_column("SCORE", justify="right", no_wrap=True)
    for player in _best_first(found):
        row: list[str | Text] = [
            Text(printable(player.name)),
            _bound(player.cut_off_games, found.score_kind) + figures.lines(player.mean_lines),
            figures.lines(player.standard_error),
            figures.lines(player.median_lines),
            figures.count(player.best_lines),
            figures.count(player.worst_lines),
            figures.count(player.cut_off_games),
            figures.count(player.placements_per_second),
        ]
        if not found.complete:
            row.append(figures.count(player.games))
        if scored:
            kind = found.score_kind
            score, error = score_words(kind, player.score), error_words(kind, player.score_error)
            row.append(f"{_bound(player.cut_off_games, kind)}{score} ± {error}")
        table.add_row(*row)
    return table


def _differences(found: benchmark_pb2.BenchmarkResult) -> Table:
    what = "SHARE" if found.score_kind == SPRINT else "LINES"
    table = _table("ON THE SAME PIECES", f">{what} MORE", *_PAIR)
    for difference in found.differences:
        first, second = difference.first, difference.second
        mean, low, high = difference.mean, difference.low, difference.high
        won, lost = difference.wins, difference.games - difference.wins - difference.ties
        if mean < 0:
            # The better one first: nobody likes to read minus signs.
            first, second, won, lost = second, first, lost, won
            mean, low, high = -mean, -high, -low
        kind = found.score_kind
        certain = low > 0
        table.add_row(
            Text(printable(f"{first} over {second}")),
            score_words(kind, mean),
            f"{score_words(kind, low)} .. {score_words(kind, high)}",
            figures.count(won),
            figures.count(difference.ties),
            figures.count(lost),
            style="" if certain else "bright_black",
        )
    return table


def _bound(cut_off: int, kind: benchmark_pb2.ScoreKind.ValueType) -> str:
    """The sign of a lower bound. The games of a sprint end with the limit."""
    return "≥" if cut_off and kind != SPRINT else ""


def _ranking(run: Run) -> str:
    """The players, and once there is something to tell, what they scored."""
    found = run.benchmark_result
    if not any(player.games for player in found.players):
        return ", ".join(words.player_word(player) for player in run.benchmark.players)
    return ", ".join(
        f"{player.name} {score_words(found.score_kind, player.score)}"
        for player in _best_first(found)
    )


def _best_first(found: benchmark_pb2.BenchmarkResult) -> list[benchmark_pb2.PlayerResult]:
    return sorted(found.players, key=lambda player: -player.score)


def _suite(spec: BenchmarkSpec) -> str:
    return spec.suite or "-"


def _table(*columns: str) -> Table:
    """A table; a column that begins with > is one of numbers."""
    table = Table(box=None, pad_edge=False, header_style="bright_black", show_edge=False)
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=True)
    table.columns[-1].no_wrap = columns[-1].startswith(">")
    return table
