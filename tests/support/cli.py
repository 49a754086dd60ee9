"""The `mltetris` command as a process, as people and scripts start it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import unittest.mock
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mltetris_cli.main import run

TIMEOUT_S = 90.0


@dataclass(frozen=True)
class Result:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as one JSON value."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """Runs `mltetris`, by default against one server, with no settings of this machine."""

    def __init__(
        self, folder: Path, server: str | None = None, *, module: str = "mltetris_cli"
    ) -> None:
        self.folder = folder
        self.module = module
        keep = {k: v for k, v in os.environ.items() if not k.startswith("MLTETRIS_")}
        self.environment = keep | {
            "MLTETRIS_CONFIG": str(folder / "config.toml"),
            "COLUMNS": "120",
            "NO_COLOR": "1",
        }
        if server is not None:
            self.environment["MLTETRIS_SERVER"] = server

    def __call__(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_S,
    ) -> Result:
        """Runs a command to its end."""
        ended = subprocess.run(
            self._command(arguments),
            cwd=self.folder,
            env=self.environment | (environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
        return Result(ended.returncode, ended.stdout, ended.stderr)

    def inside(self, *arguments: str | Path) -> Result:
        """Runs a command in this process: for the many that must be refused."""
        out, err = io.StringIO(), io.StringIO()
        before = Path.cwd()
        with (
            unittest.mock.patch.dict(os.environ, self.environment, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            os.chdir(self.folder)
            try:
                code = run([str(argument) for argument in arguments])
            finally:
                os.chdir(before)
        return Result(code, out.getvalue(), err.getvalue())

    def good(self, *arguments: str | Path) -> Result:
        """Runs a command, in this process, that must succeed."""
        result = self.inside(*arguments)
        assert result.code == 0, result
        return result

    @contextmanager
    def started(self, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
        """Starts a command; it is killed if it is still there at the end."""
        process = subprocess.Popen(
            self._command(arguments),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _command(self, arguments: tuple[str | Path, ...]) -> list[str]:
        return [sys.executable, "-m", self.module, *map(str, arguments)]
