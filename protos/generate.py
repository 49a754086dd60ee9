"""Generates `protos/gen/mltetris_api` from the contract.

    python protos/generate.py            write the generated code
    python protos/generate.py OUT_DIR    write it somewhere else (the staleness test)

The descriptors keep the contract's own file names (`mltetris/v1/run.proto`), so
that reflection shows clients the files they know; only the Python import paths
are moved under `mltetris_api`, because no top-level package `buf` or `mltetris`
should come out of a protobuf build.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
PACKAGE = "mltetris_api"
CONTRACT = ["mltetris/v1", "mltetris/worker/v1", "buf/validate"]

# Where protoc's Python path of a package goes in ours.
MOVES = {
    "mltetris.worker.v1": f"{PACKAGE}.worker.v1",
    "mltetris.v1": f"{PACKAGE}.v1",
    "buf.validate": f"{PACKAGE}.buf.validate",
}


def move_imports(source: str) -> str:
    """Returns generated Python `source` with its imports pointing into our package."""
    for old, new in MOVES.items():
        pattern = re.escape(old)
        source = re.sub(rf"^from {pattern} import", f"from {new} import", source, flags=re.M)
        source = re.sub(rf"^import {pattern}\.(\w+) as", rf"import {new}.\1 as", source, flags=re.M)
        source = re.sub(
            rf"^from {pattern}\.(\w+) import", rf"from {new}.\1 import", source, flags=re.M
        )
    return source


def generate(out: Path) -> None:
    """Writes the package `mltetris_api` below `out`, replacing what stood there.

    Raises:
        RuntimeError: protoc refused the contract.
    """
    well_known = str(resources.files("grpc_tools") / "_proto")
    files = sorted(
        str(path.relative_to(root))
        for root in (HERE, HERE / "vendor")
        for folder in CONTRACT
        for path in (root / folder).glob("*.proto")
    )
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name)
        status = protoc.main(
            [
                "protoc",
                f"-I{HERE}",
                f"-I{HERE / 'vendor'}",
                f"-I{well_known}",
                f"--python_out={raw}",
                f"--mypy_out=quiet:{raw}",
                f"--grpc_python_out={raw}",
                f"--mypy_grpc_out=quiet:{raw}",
                *files,
            ]
        )
        if status != 0:
            raise RuntimeError(f"protoc failed with status {status}")
        target = out / PACKAGE
        shutil.rmtree(target, ignore_errors=True)
        for folder in CONTRACT:
            package = MOVES[folder.replace("/", ".")].replace(".", "/")
            (out / package).mkdir(parents=True, exist_ok=True)
            for path in sorted((raw / folder).iterdir()):
                if path.is_file() and not _is_empty_service(path):
                    text = move_imports(path.read_text(encoding="utf-8"))
                    (out / package / path.name).write_text(text, encoding="utf-8")
        for folder in [target, *(p for p in target.rglob("*") if p.is_dir())]:
            (folder / "__init__.py").write_text("", encoding="utf-8")
        (target / "__init__.py").write_text(
            '"""Generated from protos/ by protos/generate.py: do not edit."""\n', encoding="utf-8"
        )
        (target / "py.typed").write_text("", encoding="utf-8")


def _is_empty_service(path: Path) -> bool:
    """Whether protoc wrote a gRPC module for a file without services."""
    return "_pb2_grpc." in path.name and not re.search(
        r"^class [A-Z]\w+Servicer\b", path.read_text(encoding="utf-8"), flags=re.M
    )


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "gen")
