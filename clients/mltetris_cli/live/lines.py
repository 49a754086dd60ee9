"""A run in one line, for where there is no terminal, and as JSON."""

from __future__ import annotations

from typing import Any

from mltetris_client import is_final

from mltetris_cli.jsonify import seconds
from mltetris_cli.live import figures, words
from mltetris_cli.live.follower import Follower


def progress_text(follower: Follower) -> str:
    """One line: how far the run is."""
    run, point = follower.run, follower.point
    state = words.state_word(run)
    if point is None:
        early = state in {"queued", "starting"}
        return f"{run.id}  {state}" + (f": {words.doing_words(run)}" if early else "")
    parts = [f"{figures.span(seconds(point.elapsed)):>6}", state]
    pace = ""
    if point.HasField("placements_per_second"):
        pace = f" ({figures.short(point.placements_per_second)}/s)"
    parts.append(f"{figures.count(point.placements)} placements{pace}")
    if not run.HasField("training"):
        parts.append(f"{figures.count(point.episodes)} games")
    if run.last_evaluation.games:
        parts.append(f"{words.mean_word(run.last_evaluation)} lines a game")
    elif point.HasField("mean_lines"):
        kind = "training game" if run.HasField("training") else "game"
        parts.append(f"{figures.lines(point.mean_lines)} lines a {kind}")
    if point.HasField("best_lines"):
        parts.append(f"best game {figures.count(point.best_lines)}")
    if point.HasField("progress"):
        parts.append(f"{point.progress:.0%}")
    if point.HasField("eta") and not is_final(run):
        parts.append(f"{figures.span(seconds(point.eta))} left")
    if not follower.connected and not follower.finished:
        parts.append("no connection, trying again")
    return "  ".join(parts)


def progress_json(follower: Follower) -> dict[str, Any]:
    """The same as a JSON object; what is not known yet is null."""
    run, point = follower.run, follower.point
    line: dict[str, Any] = {
        "type": "progress",
        "run": run.id,
        "state": words.state_word(run),
        "seconds": None,
        "placements": 0,
        "placements_per_second": None,
        "episodes": 0,
        "mean_lines": run.last_evaluation.mean_lines if run.last_evaluation.games else None,
        "cut_off_games": run.last_evaluation.cut_off_games,
        "best_lines": None,
        "mean_reward": None,
        "loss": None,
        "exploration": None,
        "learning_rate": None,
        "progress": None,
        "eta_seconds": None,
    }
    if point is not None:
        line["seconds"] = seconds(point.elapsed)
        line["placements"] = point.placements
        line["episodes"] = point.episodes
        for name in (
            "placements_per_second",
            "best_lines",
            "mean_reward",
            "loss",
            "exploration",
            "learning_rate",
            "progress",
        ):
            if point.HasField(name):
                line[name] = getattr(point, name)
        if point.HasField("eta"):
            line["eta_seconds"] = seconds(point.eta)
    return line


def summary_json(follower: Follower, *, slot: str | None) -> dict[str, Any]:
    """What came out of a run. ``mean_lines`` and ``cut_off_games`` are of its best checkpoint."""
    run, point = follower.run, follower.point
    best = run.best_evaluation
    best_lines = point.best_lines if point is not None and point.HasField("best_lines") else None
    if best_lines is None and best.games:
        best_lines = best.best_lines
    return {
        "type": "summary",
        "run": run.id,
        "state": words.state_word(run),
        "reason": words.reason_word(run) or None,
        "placements": point.placements if point is not None else 0,
        "seconds": round(seconds(point.elapsed), 3) if point is not None else 0.0,
        "mean_lines": best.mean_lines if best.games else None,
        "cut_off_games": best.cut_off_games,
        "best_lines": best_lines,
        "slot": slot,
    }
