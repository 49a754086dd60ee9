"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mltetris_cli.settings import Output

Mode = Literal["headless", "visual"]
View = Literal["showcase", "training"]
Observation = Literal["board", "bcts", "simple"]
Checkpoint = Literal["best", "latest", "final"]
Algorithm = Literal["td", "dqn", "ppo", "cem"]
Features = Literal["simple", "bcts", "dt", "board"]

ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="The server. (env MLTETRIS_SERVER, default localhost:50051)",
        rich_help_panel="Everywhere",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Output | None,
    typer.Option(
        "-o",
        "--output",
        help="What stdout carries: tables for people or JSON for scripts.",
        rich_help_panel="Everywhere",
        show_default=False,
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where models and history are kept. (env MLTETRIS_DATA_DIR, default ./checkpoints)",
        show_default=False,
    ),
]
RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="A run's id or the beginning of one. Default: the newest live run, else the newest.",
        show_default=False,
    ),
]
RestartsOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=1000,
        help="How often it goes on by itself, from its newest checkpoint, if its process dies.",
    ),
]
FollowOption = Annotated[
    bool, typer.Option("--follow", "-f", help="Watch it at once, as `mltetris watch` does.")
]
