"""Short phrases for what a run is, does and wants."""

from __future__ import annotations

from mltetris_api.v1 import run_pb2
from mltetris_client import Evaluation, Run, RunControl, SimulationSpec, is_final, name_of

from mltetris_cli.jsonify import seconds
from mltetris_cli.live import figures

STATE_STYLES = {
    "queued": "bright_black",
    "starting": "yellow",
    "running": "green",
    "paused": "yellow",
    "stopping": "yellow",
    "succeeded": "bright_green",
    "stopped": "cyan",
    "failed": "bright_red",
}

_REASONS = {
    run_pb2.RUN_REASON_GOAL_REACHED: "goal reached",
    run_pb2.RUN_REASON_BUDGET_SPENT: "budget spent",
    run_pb2.RUN_REASON_STOPPED_BY_CALLER: "stopped on request",
    run_pb2.RUN_REASON_SERVER_SHUTDOWN: "the server was shut down",
    run_pb2.RUN_REASON_WORKER_DIED: "its worker died",
    run_pb2.RUN_REASON_WORKER_ERROR: "its worker failed",
    run_pb2.RUN_REASON_START_FAILED: "its worker did not start",
    run_pb2.RUN_REASON_SERVER_RESTARTED: "the server was restarted and its worker did not return",
    run_pb2.RUN_REASON_WORKER_UNRESPONSIVE: "its worker fell silent",
    run_pb2.RUN_REASON_RESTARTING: "restarted, for its worker was lost",
    run_pb2.RUN_REASON_DISK_FULL: "the server's disk is full",
}


def state_word(run: Run) -> str:
    """The state's short name, e.g. ``running``."""
    return name_of(run_pb2.RunState, run.state)


def kind_word(run: Run) -> str:
    """The kind's short name, e.g. ``training``."""
    return name_of(run_pb2.RunKind, run.kind)


def reason_word(run: Run) -> str:
    """Why it is in its state, e.g. ``goal reached``; empty where there is nothing to say."""
    return _REASONS.get(run.reason, "")


def goal_words(run: Run) -> str:
    """When it will end by itself, e.g. ``1,000 lines or 3 min 00 s``."""
    if run.HasField("demo"):
        games = run.demo.games
        return f"{figures.count(games)} games" if games else "until stopped"
    if run.HasField("benchmark"):
        each = f"{figures.count(run.benchmark.games)} games each"
        return f"{each}, {len(run.benchmark.players)} players"
    if run.HasField("simulation"):
        return _simulation_goal(run.simulation)
    budget = run.training.budget
    parts: list[str] = []
    if budget.HasField("target_mean_lines"):
        parts.append(f"{figures.lines(budget.target_mean_lines)} lines")
    if budget.max_placements:
        parts.append(f"{figures.short(budget.max_placements)} placements")
    if budget.HasField("max_duration"):
        parts.append(figures.span(seconds(budget.max_duration)))
    return " or ".join(parts) or "until stopped"


def _simulation_goal(spec: SimulationSpec) -> str:
    parts = []
    if spec.HasField("games"):
        parts.append(f"{figures.count(spec.games)} games")
    if spec.HasField("placements"):
        parts.append(f"{figures.count(spec.placements)} placements")
    return " or ".join(parts)


def is_paced(run: Run) -> bool:
    """Whether its game waits for who watches: benchmarks and simulations never do."""
    return not run.HasField("benchmark") and not run.HasField("simulation")


def player_word(player: run_pb2.Player) -> str:
    """What a player is called: the slot's name, or RUN:best of a run's checkpoint."""
    if player.HasField("slot"):
        return player.slot
    kind = name_of(run_pb2.CheckpointKind, player.checkpoint.kind) or "best"
    return f"{player.checkpoint.run}:{kind}"


def dataset_words(run: Run) -> str:
    """What has come of a simulation, in one line."""
    result = run.simulation_result
    if not result.stored:
        ended = "there is none: it ended before" if is_final(run) else "not stored yet"
        return f"{run.simulation.dataset}: {ended}"
    cut = f" ({figures.count(result.cut_off_games)} cut off)" if result.cut_off_games else ""
    return (
        f"{result.dataset}: {figures.count(result.placements)} placements in "
        f"{figures.count(result.games)} games{cut}, {figures.lines(result.mean_lines)} lines a "
        f"game, {figures.size(result.size_bytes)}"
    )


def mean_word(evaluation: Evaluation) -> str:
    """An evaluation's mean of lines; where games were cut off it is at least that: ``≥2,500``."""
    return ("≥" if evaluation.cut_off_games else "") + figures.lines(evaluation.mean_lines)


def view_word(control: RunControl) -> str:
    """How the watched game is shown, e.g. ``showcase at 8/s``."""
    view = name_of(run_pb2.RunView, control.view) or "showcase"
    if control.mode == run_pb2.RUN_MODE_HEADLESS:
        return f"{view}, headless"
    return f"{view} at {figures.short(control.placements_per_second)}/s"


def rate_word(control: RunControl) -> str:
    """How fast the training may be, e.g. ``training at most 500/s``."""
    if control.max_training_rate:
        return f"training at most {figures.short(control.max_training_rate)}/s"
    return "training at full speed"


def error_words(run: Run) -> str:
    """What went wrong with a FAILED run, in one line."""
    words = run.error.message or reason_word(run) or "it failed without saying why"
    return f"run {run.id} failed: {' '.join(words.split())}"


def doing_words(run: Run) -> str:
    """What there is to say while no board can be seen yet."""
    match state_word(run):
        case "queued":
            place = f", place {run.queue_position}" if run.queue_position else ""
            return f"waiting for a free place{place}"
        case "starting" if run.reason == run_pb2.RUN_REASON_RESTARTING:
            most = run.restart_policy.max_restarts
            return f"its worker was lost: restart {run.restarts} of {most} ..."
        case "starting":
            return "the worker starts ..."
        case state if is_final(run):
            return reason_word(run) or state
        case _:
            return "waiting for the board ..."
