"""Datasets for people: the list, and everything there is to say about one."""

from __future__ import annotations

from collections.abc import Sequence

from mltetris_api.v1 import run_pb2
from mltetris_client import Dataset, name_of
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mltetris_cli.live import figures
from mltetris_cli.runs_view import ago, printable


def table(datasets: Sequence[Dataset]) -> RenderableType:
    """Datasets as a table."""
    if not datasets:
        return "no datasets; make one with `mltetris sim PLAYER --games 100`"
    result = Table(box=None, pad_edge=False, header_style="bright_black", show_edge=False)
    result.add_column("DATASET", no_wrap=True)
    result.add_column("PLAYER", no_wrap=True)
    result.add_column("GAMES", justify="right", no_wrap=True)
    result.add_column("LINES", justify="right", no_wrap=True)
    result.add_column("PLACEMENTS", justify="right", no_wrap=True)
    result.add_column("SIZE", justify="right", no_wrap=True)
    result.add_column("SHOWS", no_wrap=True)
    result.add_column("GAME")
    result.add_column("MADE", justify="right", no_wrap=True)
    for dataset in datasets:
        result.add_row(
            dataset.name,
            Text(printable(dataset.player)),
            figures.count(dataset.games),
            figures.lines(dataset.mean_lines),
            figures.short(dataset.placements),
            figures.size(dataset.size_bytes),
            name_of(run_pb2.Observation, dataset.observation),
            _game(dataset),
            ago(dataset.create_time),
        )
    return result


def details(dataset: Dataset) -> RenderableType:
    """Everything about one dataset."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", no_wrap=True)
    grid.add_column()
    grid.add_row("dataset", Text(dataset.name, style="bold"))
    grid.add_row("for Minari", f"{dataset.minari_id}  (after `mltetris datasets export`)")
    grid.add_row("player", Text(printable(dataset.player)))
    grid.add_row("player sha256", dataset.player_sha256)
    grid.add_row("from", f"run {dataset.run}")
    grid.add_row("made", f"{ago(dataset.create_time)}  ({dataset.create_time.ToJsonString()})")
    games = figures.count(dataset.games)
    if dataset.cut_off_games:
        games += f", {figures.count(dataset.cut_off_games)} of them cut off"
    grid.add_row("games", games)
    grid.add_row("placements", figures.count(dataset.placements))
    grid.add_row(
        "lines a game",
        f"{figures.lines(dataset.mean_lines)} (best {figures.count(dataset.best_lines)})",
    )
    grid.add_row("shows", f"{name_of(run_pb2.Observation, dataset.observation)} of each state")
    grid.add_row("game", _game(dataset))
    grid.add_row("exploration", figures.small(dataset.exploration))
    grid.add_row("seed", str(dataset.seed))
    grid.add_row("size", figures.size(dataset.size_bytes))
    for file in dataset.files:
        grid.add_row(f"  {file.name}", f"{figures.size(file.size_bytes)}  sha256 {file.sha256}")
    return grid


def _game(dataset: Dataset) -> str:
    game = dataset.game
    rule = name_of(run_pb2.Rule, game.rule)
    return f"{game.width}x{game.height} {name_of(run_pb2.Randomizer, game.randomizer)} {rule}"
