"""The contract: lint clean, not broken against the last release, generated code fresh."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={"PATH": str(BIN), "HOME": str(Path.home())},
        check=False,
    )


def copy_contract(target: Path) -> Path:
    shutil.copytree(ROOT / "protos", target / "protos", ignore=shutil.ignore_patterns("gen"))
    shutil.copy(ROOT / "buf.yaml", target)
    return target


def broken(tree: Path) -> str:
    """What `buf breaking` says of the contract in `tree`; empty when nothing is broken."""
    image = tree / "image.binpb"
    built = run(BIN / "buf", "build", "--exclude-source-info", "-o", image, cwd=tree)
    assert built.returncode == 0, built.stderr
    return run(
        BIN / "buf", "breaking", image, "--against", ROOT / "protos/baseline.binpb", cwd=tree
    ).stdout


def test_lint_is_clean() -> None:
    lint = run(BIN / "buf", "lint")
    assert lint.returncode == 0, lint.stdout


def test_nothing_is_broken_since_the_baseline(tmp_path: Path) -> None:
    assert broken(copy_contract(tmp_path)) == ""


def test_a_removed_field_is_found(tmp_path: Path) -> None:
    tree = copy_contract(tmp_path)
    board = tree / "protos/mltetris/v1/board.proto"
    text = board.read_text()
    assert "  uint64 skipped = 5;\n" in text
    board.write_text(text.replace("  uint64 skipped = 5;\n", ""))
    assert "skipped" in broken(tree)


def differing(comparison: filecmp.dircmp[str]) -> list[str]:
    """Every file of either tree that is missing or different in the other."""
    names = [*comparison.left_only, *comparison.right_only, *comparison.funny_files]
    _, mismatch, errors = filecmp.cmpfiles(
        comparison.left, comparison.right, comparison.common_files, shallow=False
    )
    names += mismatch + errors
    for sub in comparison.subdirs.values():
        names += differing(sub)
    return names


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    generated = run(sys.executable, ROOT / "protos/generate.py", tmp_path)
    assert generated.returncode == 0, generated.stderr
    fresh, committed = tmp_path / "mltetris_api", ROOT / "protos/gen/mltetris_api"
    stale = differing(filecmp.dircmp(fresh, committed, ignore=["__pycache__"]))
    assert not stale, f"stale: {stale}; run `make proto`"


@pytest.mark.parametrize("path", sorted((ROOT / "protos/mltetris").rglob("*.proto")), ids=str)
def test_every_field_says_what_it_is(path: Path) -> None:
    """Each field, message, enum value and RPC has a comment right above it."""
    previous, silent = "", []
    depth_of_options = 0
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        text = line.strip()
        declares = depth_of_options == 0 and (
            text.startswith(("message ", "enum ", "service ", "rpc ", "oneof "))
            or (text.endswith((";", "{")) and " = " in text and "option " not in text)
            or (text.endswith("= {") and "[" in text)
        )
        if declares and not text.startswith(("syntax", "}")) and not previous.startswith("//"):
            silent.append(f"{path.name}:{number}: {text}")
        depth_of_options += text.count("[") - text.count("]") if not text.startswith("//") else 0
        previous = text
    assert not silent, silent
