"""Runs for people: a line, a table, and everything there is to say about one."""

from __future__ import annotations

import time
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_client import Evaluation, Run, is_final, name_of
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mltetris_cli.jsonify import seconds
from mltetris_cli.live import figures, words

# Of a spec: what a run's goal and control say better.
_SHOWN_OTHERWISE = frozenset(
    {"budget", "mode", "view", "placements_per_second", "max_training_rate"}
    | {"player", "players", "dataset"}
)


def one_line(run: Run) -> str:
    """Id, state and how it is shown."""
    parts = [run.id, words.state_word(run)]
    reason = words.reason_word(run)
    if reason:
        parts.append(f"({reason})")
    if not is_final(run) and words.is_paced(run):
        parts.append(words.view_word(run.control))
        if run.control.max_training_rate:
            parts.append(words.rate_word(run.control))
    return "  ".join(parts)


def state_text(run: Run) -> Text:
    """The state in its colour."""
    state = words.state_word(run)
    return Text(state, style=words.STATE_STYLES.get(state, ""))


def table(runs: Sequence[Run]) -> RenderableType:
    """Runs as a table."""
    if not runs:
        return "no runs; start one with `mltetris train`"
    result = Table(box=None, pad_edge=False, header_style="bright_black", show_edge=False)
    result.add_column("RUN", no_wrap=True)
    result.add_column("STATE", no_wrap=True)
    result.add_column("LINES", justify="right", no_wrap=True)
    result.add_column("BEST", justify="right", no_wrap=True)
    result.add_column("PLACEMENTS", justify="right", no_wrap=True)
    result.add_column("TIME", justify="right", no_wrap=True)
    result.add_column("DONE", justify="right", no_wrap=True)
    result.add_column("STARTED", justify="right", no_wrap=True)
    # The one that gives way where there is little room; its cells are not wrapped for that.
    result.add_column("NAME")
    for run in runs:
        point = run.metrics
        done = f"{point.progress:.0%}" if point.HasField("progress") else "-"
        result.add_row(
            run.id,
            state_text(run),
            _mean(run),
            _best(run),
            figures.short(max(point.placements, run.simulation_result.placements)),
            figures.span(seconds(point.elapsed)) if point.HasField("elapsed") else "-",
            done,
            ago(run.create_time),
            Text(printable(run.display_name), overflow="ellipsis", no_wrap=True),
        )
    return result


def details(run: Run) -> RenderableType:
    """Everything about one run."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", no_wrap=True)
    grid.add_column()
    state = state_text(run)
    reason = words.reason_word(run)
    state.append(f"  {reason}" if reason else "")
    grid.add_row("run", Text(run.id, style="bold"))
    grid.add_row("state", state)
    if run.display_name:
        grid.add_row("name", Text(printable(run.display_name)))
    if run.error.message:
        grid.add_row("error", Text(printable(run.error.message), style="bright_red"))
    grid.add_row("asked", f"{ago(run.create_time)}  ({run.create_time.ToJsonString()})")
    grid.add_row("goal", words.goal_words(run))
    if run.HasField("simulation"):
        grid.add_row("dataset", Text(printable(words.dataset_words(run))))
    for label, value in _figures(run):
        grid.add_row(label, value)
    if not is_final(run) and words.is_paced(run):
        shown = words.view_word(run.control)
        if run.control.max_training_rate:
            shown += f", {words.rate_word(run.control)}"
        grid.add_row("shown", shown)
    for label, value in _spec(run):
        grid.add_row(label, value)
    for info in run.checkpoints:
        from mltetris_api.v1 import run_pb2

        kind = name_of(run_pb2.CheckpointKind, info.kind)
        text = f"{figures.count(info.placements)} placements, {figures.size(info.size_bytes)}"
        if info.evaluation.games:
            text += f", {words.mean_word(info.evaluation)} lines"
        grid.add_row(f"checkpoint {kind}", text)
    parts: list[RenderableType] = [grid]
    if run.HasField("benchmark"):
        from mltetris_cli.bench_view import result

        parts += [Text(), result(run)]
    if not run.log_tail:
        return Group(*parts)
    tail = "\n".join(printable(line) for line in run.log_tail.splitlines())
    return Group(*parts, Text("\nend of its log", style="bright_black"), Text(tail))


def _mean(run: Run) -> str:
    """Mean lines a game: of a training as it plays at its best, of a simulation so far."""
    if run.best_evaluation.games:
        return words.mean_word(run.best_evaluation)
    if not run.HasField("simulation"):
        return "-"
    if run.simulation_result.games:
        return figures.lines(run.simulation_result.mean_lines)
    return figures.lines(run.metrics.mean_lines) if run.metrics.HasField("mean_lines") else "-"


def _best(run: Run) -> str:
    """Most lines in one game."""
    known = [player.best_lines for player in run.benchmark_result.players if player.games]
    if run.metrics.HasField("best_lines"):
        known.append(run.metrics.best_lines)
    if run.simulation_result.games:
        known.append(run.simulation_result.best_lines)
    return figures.short(max(known)) if known else "-"


def evaluation_words(evaluation: Evaluation) -> str:
    """An evaluation in a line."""
    text = (
        f"{words.mean_word(evaluation)} ± {figures.lines(evaluation.standard_error)} "
        f"lines in {evaluation.games} games (worst {figures.count(evaluation.worst_lines)}, "
        f"best {figures.count(evaluation.best_lines)})"
    )
    if evaluation.cut_off_games:
        text += f", {evaluation.cut_off_games} cut off at {figures.count(evaluation.max_lines)}"
    return text


def ago(moment: Timestamp) -> str:
    """How long ago something was."""
    if not moment.seconds:
        return "-"
    return f"{figures.span(max(0.0, time.time() - moment.seconds))} ago"


def printable(text: str) -> str:
    """Text of others without what would move the cursor or change colours."""
    return "".join(c if c.isprintable() else " " for c in text)


def _figures(run: Run) -> list[tuple[str, str]]:
    point = run.metrics
    rows: list[tuple[str, str]] = []
    if run.best_evaluation.games:
        rows.append(("best", evaluation_words(run.best_evaluation)))
    if run.last_evaluation.games:
        rows.append(("newest", evaluation_words(run.last_evaluation)))
    if point.sequence:
        rows.append(("placements", figures.count(point.placements)))
        rows.append(("games", figures.count(point.episodes)))
        rows.append(("time", figures.span(seconds(point.elapsed))))
    for name, label, form in (
        ("best_lines", "best game", figures.count),
        ("mean_lines", "lines a game", figures.lines),
        ("mean_reward", "reward", figures.small),
        ("loss", "loss", figures.small),
        ("exploration", "exploration", figures.small),
        ("learning_rate", "learning rate", figures.small),
        ("placements_per_second", "placements/s", figures.count),
    ):
        if point.HasField(name):  # type: ignore[arg-type]
            rows.append((label, form(getattr(point, name))))
    return rows


def _spec(run: Run) -> list[tuple[str, str]]:
    """What was asked, fields by their names in the contract."""
    from mltetris_cli.jsonify import to_json

    which = run.WhichOneof("spec")
    if which is None:
        return []
    rows: list[tuple[str, str]] = []
    if which == "benchmark":
        players = map(words.player_word, run.benchmark.players)
        rows.append(("players", printable(", ".join(players))))
    elif which == "simulation":
        rows.append(("player", printable(words.player_word(run.simulation.player))))
    # Of a training they are not games to play.
    in_goal = {"games", "placements"} if which in ("benchmark", "simulation") else set()
    for name, value in to_json(getattr(run, which)).items():
        if name in _SHOWN_OTHERWISE | in_goal or value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            parts = (f"{key} {part}" for key, part in value.items() if part is not None)
            rows.append((name, ", ".join(parts)))
        elif isinstance(value, list):
            rows.append((name, ", ".join(map(str, value))))
        else:
            rows.append((name, str(value)))
    return rows
