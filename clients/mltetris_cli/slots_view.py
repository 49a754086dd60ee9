"""Slots for people: the leaderboard, and everything there is to say about one."""

from __future__ import annotations

from collections.abc import Sequence

from mltetris_api.v1 import run_pb2
from mltetris_client import Slot, name_of
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mltetris_cli import bench_view
from mltetris_cli.live import figures, words
from mltetris_cli.runs_view import ago, evaluation_words, printable


def score(slot: Slot) -> str:
    """How good it is, in a few words."""
    return f"{words.mean_word(slot.evaluation)} lines" if slot.evaluation.games else "not examined"


def table(slots: Sequence[Slot], *, suite: str = "") -> RenderableType:
    """Slots as a table; with a ``suite``, with their newest scores in it."""
    if not slots:
        return "no slots; save one with `mltetris slots save NAME`"
    result = Table(box=None, pad_edge=False, header_style="bright_black", show_edge=False)
    result.add_column("", no_wrap=True)
    result.add_column("SLOT", no_wrap=True)
    if suite:
        for column in ("SCORE", "±", "SCORED"):
            result.add_column(column, justify="right", no_wrap=True)
    result.add_column("LINES", justify="right", no_wrap=True)
    result.add_column("±", justify="right", no_wrap=True)
    result.add_column("LEARNER", no_wrap=True)
    result.add_column("TRAINED", justify="right", no_wrap=True)
    result.add_column("GAME")
    result.add_column("SAVED", justify="right", no_wrap=True)
    if tagged := any(slot.tags for slot in slots):
        result.add_column("TAGS")
    for slot in slots:
        evaluation = slot.evaluation
        result.add_row(
            Text("*", style="bright_green") if slot.active else "",
            slot.name,
            *(_score(slot, suite) if suite else ()),
            words.mean_word(slot.evaluation) if evaluation.games else "-",
            figures.lines(evaluation.standard_error) if evaluation.games else "-",
            name_of(run_pb2.Algorithm, slot.algorithm) or "reference",
            figures.short(slot.placements) if slot.algorithm else "-",
            _game(slot),
            "-" if slot.reference else ago(slot.create_time),
            *([Text(printable(", ".join(slot.tags)))] if tagged else ()),
            style="italic" if slot.reference else "",
        )
    return result


def details(slot: Slot) -> RenderableType:
    """Everything about one slot."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", no_wrap=True)
    grid.add_column()
    name = Text(slot.name, style="bold")
    name.append("  active" if slot.active else "", "bright_green")
    grid.add_row("slot", name)
    if slot.evaluation.games:
        grid.add_row("score", evaluation_words(slot.evaluation))
    learner = name_of(run_pb2.Algorithm, slot.algorithm)
    if learner:
        grid.add_row("trained", f"{figures.count(slot.placements)} placements")
    grid.add_row("game", _game(slot))
    features = name_of(run_pb2.FeatureSet, slot.features) or "bcts"
    grid.add_row("learner", f"{learner or 'none: a reference player'}, {features} features")
    grid.add_row("from", _source(slot))
    for found in slot.benchmark_scores:
        text = f"{bench_view.bounded_score(found)} ± "
        text += f"{bench_view.error_words(found.score_kind, found.score_error)}, {found.run}, "
        grid.add_row(found.suite, text + ago(found.create_time))
    if slot.command:
        grid.add_row("command", Text(printable(slot.command)))
    if not slot.reference:
        grid.add_row("saved", f"{ago(slot.create_time)}  ({slot.create_time.ToJsonString()})")
    if slot.notes:
        grid.add_row("notes", Text("\n".join(map(printable, slot.notes.splitlines()))))
    if slot.tags:
        grid.add_row("tags", Text(printable(", ".join(slot.tags))))
    grid.add_row("size", figures.size(slot.size_bytes))
    resumable = "goes on exactly where it was" if slot.resumable else "begins anew from its weights"
    if not learner:
        resumable += ", with cem"
    grid.add_row("training", resumable)
    grid.add_row("sha256", slot.sha256)
    return grid


def _score(slot: Slot, suite: str) -> tuple[str, str, str]:
    """The newest score in a suite, its standard error, and how old it is."""
    for found in slot.benchmark_scores:
        if found.suite == suite:
            return (
                bench_view.bounded_score(found),
                bench_view.error_words(found.score_kind, found.score_error),
                ago(found.create_time),
            )
    return "-", "-", "-"


def _game(slot: Slot) -> str:
    game = slot.game
    rule = name_of(run_pb2.Rule, game.rule) or "gymnasium"
    randomizer = name_of(run_pb2.Randomizer, game.randomizer) or "bag7"
    return f"{game.width}x{game.height} {randomizer} {rule}"


def _source(slot: Slot) -> str:
    if slot.reference:
        return "mlTetris itself"
    if slot.source_run:
        kind = name_of(run_pb2.CheckpointKind, slot.source_checkpoint) or "best"
        return f"run {slot.source_run}, {kind}"
    return f"slot {slot.source_slot}" if slot.source_slot else "elsewhere"
