"""What every command needs: the settings, the server, and a place for its output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mltetris_cli.settings import Output, Settings, load_settings

if TYPE_CHECKING:
    import typer
    from mltetris_client import Trainer
    from rich.console import Console, RenderableType


_PIPE_WIDTH = 200


@dataclass(frozen=True, slots=True)
class GlobalFlags:
    """Flags given before the command's name."""

    server: str | None = None
    output: Output | None = None
    access: Mapping[str, Path | None] = field(default_factory=dict)


class Session:
    """One command's surroundings. stdout is data, stderr is progress."""

    def __init__(
        self,
        context: typer.Context,
        server: str | None = None,
        output: Output | None = None,
        *,
        data_dir: Path | None = None,
    ) -> None:
        flags: GlobalFlags = context.obj or GlobalFlags()
        self.settings: Settings = load_settings(
            server=server or flags.server,
            output=output or flags.output,
            data_dir=data_dir,
            access=flags.access,
        )

    @property
    def json(self) -> bool:
        """Whether stdout carries JSON."""
        return self.settings.output is Output.JSON

    @cached_property
    def console(self) -> Console:
        """Rich's console on stdout. A pipe has no width: tables are not cut there."""
        from rich.console import Console

        console = Console(highlight=False)
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = _PIPE_WIDTH
        return console

    def connect(self) -> Trainer:
        """Opens the connection; use it in a ``with``."""
        from mltetris_cli.connecting import open_trainer

        return open_trainer(self.settings)

    def say(self, text: str) -> None:
        """Tells a person, on stderr."""
        print(text, file=sys.stderr, flush=True)

    def emit(self, value: Any) -> None:
        """Writes one JSON value, as one line."""
        print_json_line(value)

    def show(self, data: Callable[[], Any], view: Callable[[], RenderableType | str]) -> None:
        """Writes a result: ``data`` as JSON, or ``view`` for people."""
        if self.json:
            print(json_text(data(), indent=2), flush=True)
            return
        rendered = view()
        if isinstance(rendered, str):
            print(rendered, flush=True)
        else:
            self.console.print(rendered)


def print_json_line(value: Any) -> None:
    """Writes one JSON value as one line on stdout, at once."""
    sys.stdout.write(json_text(value) + "\n")
    sys.stdout.flush()


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON in the characters that stdout can carry."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(value, indent=indent, ensure_ascii=not unicode, allow_nan=False)
