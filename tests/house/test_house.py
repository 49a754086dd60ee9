"""The house rules a machine can hold: imports one way, style, types, versions."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_imports_run_one_way() -> None:
    result = run(BIN / "lint-imports")
    assert result.returncode == 0, result.stdout


def test_style() -> None:
    result = run(BIN / "ruff", "check", ".")
    assert result.returncode == 0, result.stdout


def test_format() -> None:
    result = run(BIN / "ruff", "format", "--check", ".")
    assert result.returncode == 0, result.stdout


def test_types() -> None:
    result = run(BIN / "mypy")
    assert result.returncode == 0, result.stdout


def test_versions_are_pinned() -> None:
    """Everything pyproject.toml asks for has its version in constraints.txt."""

    def names(lines: Iterable[str]) -> set[str]:
        return {canonicalize_name(Requirement(line).name) for line in lines}

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = names([*project["dependencies"], *chain(*project["optional-dependencies"].values())])
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = names(line for line in constraints if "==" in line)
    assert asked - pinned - {"mltetris"} == set()


def test_thin_clients_load_nothing_heavy() -> None:
    code = (
        "import sys, mltetris_cli.main, mltetris_client; "
        "heavy = {'torch', 'numba', 'numpy', 'gymnasium', 'matplotlib', 'mltetris_server'}; "
        "heavy &= set(sys.modules); "
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    result = run(sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr


def test_the_server_process_loads_nothing_heavy() -> None:
    code = (
        "import sys, mltetris_server.service.server; "
        "heavy = {'torch', 'numba', 'gymnasium', 'stable_baselines3'} & set(sys.modules); "
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    result = run(sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr
