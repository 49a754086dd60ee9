"""What is said when a training has ended: what it learnt, where the model is, what to try next."""

from __future__ import annotations

from pathlib import Path

from mltetris_api.v1 import run_pb2
from mltetris_client import Run
from rich.console import Console
from rich.text import Text

from mltetris_cli.invocation import command
from mltetris_cli.jsonify import seconds
from mltetris_cli.live import figures, words
from mltetris_cli.live.follower import Follower
from mltetris_cli.live.series import bars

_CURVE_WIDTH = 40


def print_summary(
    console: Console,
    follower: Follower,
    *,
    slot: str | None,
    data_dir: Path,
    serving: str | None,
) -> None:
    """Prints it. ``serving`` is the server's address where it goes on, else None."""
    run = follower.run
    lines = [Text(), _headline(run), *_learnt(follower), *_model(run, slot, data_dir), Text()]
    lines.append(Text("Try next", style="bold"))
    lines.extend(_columns(_next(run, slot, data_dir, serving), console.width))
    for line in lines:
        console.print(line, soft_wrap=True)


def _columns(rows: list[tuple[str, str]], width: int) -> list[Text]:
    """Commands and what they do side by side, or one below the other where there is no room."""
    left = max(len(text) for text, _ in rows)
    beside = 4 + left + max(len(what) for _, what in rows) <= width
    lines: list[Text] = []
    for text, what in rows:
        line = Text(f"  {text}", style="cyan")
        if beside:
            line.append(f"{' ' * (left + 2 - len(text))}{what}", "bright_black")
            lines.append(line)
        else:
            lines += [Text(f"  {what}:", style="bright_black"), line]
    return lines


def _headline(run: Run) -> Text:
    best = run.best_evaluation
    target = run.training.budget.target_mean_lines
    mean = f"{words.mean_word(best)} lines a game" if best.games else ""
    if run.reason == run_pb2.RUN_REASON_GOAL_REACHED:
        return Text(f"Goal reached: {mean} over {best.games} games.", style="bold bright_green")
    if run.state == run_pb2.RUN_STATE_FAILED:
        return Text(words.error_words(run) + ".", style="bold bright_red")
    why = "Time ran out" if run.reason == run_pb2.RUN_REASON_BUDGET_SPENT else "Stopped"
    reached = f"the best so far is {mean}" if mean else "it was not examined yet"
    return Text(
        f"{why} before the goal of {figures.lines(target)} lines: {reached}.", style="bold yellow"
    )


def _learnt(follower: Follower) -> list[Text]:
    run, point = follower.run, follower.point
    result: list[Text] = []
    columns = follower.evaluations.columns(_CURVE_WIDTH)
    known = [value for value in columns if value is not None]
    if len(follower.evaluations) > 1:
        line = Text("  lines a game  ")
        line.append(bars(columns, 1, top=max(known), bottom=0.0)[0].strip(), "bright_cyan")
        first = next(value for value in columns if value is not None)
        line.append(f"  {figures.lines(first)} -> {figures.lines(max(known))}")
        result.append(line)
    best = run.best_evaluation
    if best.games:
        cut = f", {best.cut_off_games} cut off at {figures.count(best.max_lines)}"
        result.append(
            Text(
                f"  {best.games} games     worst {figures.count(best.worst_lines)}, "
                f"median {figures.lines(best.median_lines)}, "
                f"best {figures.count(best.best_lines)} lines{cut if best.cut_off_games else ''}"
            )
        )
    if point is not None:
        result.append(
            Text(
                f"  trained      {figures.count(point.placements)} placements in "
                f"{figures.span(seconds(point.elapsed))}, {figures.count(point.episodes)} games"
            )
        )
    return result


def _model(run: Run, slot: str | None, data_dir: Path) -> list[Text]:
    if slot is None:
        return [Text("  model        none yet: it ended before its first checkpoint")]
    line = Text("  model        slot ")
    line.append(slot, "bold")
    line.append(f"  ({data_dir / 'slots' / slot})")
    return [line, Text(f"  run          {run.id}")]


def _next(run: Run, slot: str | None, data_dir: Path, serving: str | None) -> list[tuple[str, str]]:
    name = command()
    place = "" if data_dir == Path("checkpoints").absolute() else f" --data-dir {data_dir}"
    result: list[tuple[str, str]] = []
    if serving is None:
        result.append((f"{name} serve{place}", "serve again; then, elsewhere"))
    if slot is not None:
        result.append((f"{name} demo {slot} --follow", "watch it play"))
        result.append((f"{name} train --from-slot {slot} --follow", "train it further"))
        result.append((f"{name} slots export {slot}", "take it with you"))
    target = run.training.budget.target_mean_lines
    if serving is None and run.reason == run_pb2.RUN_REASON_GOAL_REACHED:
        more = f"{target * 10:.0f}"
        result.append((f"{name} up --target-lines {more}{place}", "aim higher"))
    elif serving is None:
        result.append((f"{name} up --max-seconds 600{place}", "give it more time"))
    return result
