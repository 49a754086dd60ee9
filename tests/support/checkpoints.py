"""Small whole checkpoints for tests, and ways to damage them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mltetris_api.v1 import run_pb2
from mltetris_server.storage import Checkpoint

MODEL: Mapping[str, Any] = {
    "algorithm": "td",
    "features": "bcts",
    "game": {"width": 10, "height": 20, "rule": "gymnasium", "randomizer": "bag7"},
    "hyperparameters": {"gamma": 0.98},
    "network": {"inputs": 8, "hidden": [32]},
}

ILLEGAL_SLOT_NAMES = [
    "", ".", "..", "../x", "a/b", "a\\b", "/etc", "C:", "a b", "a.b", "x" * 65, "x\0y", "x\n",
    "ü", "Ａ", "٣", "con", "NUL", "Lpt1", "com0", "~", "-" * 65, "%2e", "slot\u202e",
]  # fmt: skip
"""Each breaks the rule of slot names in another way."""


def tensors(**values: Sequence[float]) -> bytes:
    """A safetensors file of float32 vectors."""
    header: dict[str, Any] = {}
    body = b""
    for name, numbers in values.items():
        begin = len(body)
        body += struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": [len(numbers)], "data_offsets": [begin, len(body)]}
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + body


def model_files(seed: float = 1.0, *, resumable: bool = True) -> dict[str, bytes]:
    """The files of a model; different seeds give different bytes."""
    files = {"policy.safetensors": tensors(weight=[seed] * 32, bias=[seed / 2] * 4)}
    if resumable:
        files["training.safetensors"] = tensors(window=[seed + i for i in range(1000)])
    return files


def a_checkpoint(
    placements: int = 1000,
    *,
    mean_lines: float | None = 12.5,
    resumable: bool = True,
    **changes: Any,
) -> Checkpoint:
    """A whole checkpoint whose bytes depend on ``placements``."""
    evaluation = None
    if mean_lines is not None:
        evaluation = run_pb2.Evaluation(games=20, mean_lines=mean_lines, placements=placements)
    arguments: dict[str, Any] = {
        "model": MODEL,
        "files": model_files(float(placements), resumable=resumable),
        "placements": placements,
        "evaluation": evaluation,
        "source": run_pb2.RunCheckpoint(run="train-abc123", kind=run_pb2.CHECKPOINT_KIND_BEST),
        "command": "mltetris train --seed 1",
    }
    return Checkpoint.create(**(arguments | changes))


def flip_bit(path: Path, byte: int | None = None) -> None:
    """Flip one bit of a file, by default in its middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if byte is None else byte] ^= 0x10
    path.write_bytes(data)
