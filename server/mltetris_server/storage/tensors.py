"""Looks at a safetensors file without reading a tensor: is it whole, and is it nothing else?

The server never computes with weights, so it needs neither numpy nor the safetensors package; the
format is small: https://huggingface.co/docs/safetensors/index#format
Eight bytes (little endian) say how long the JSON header is; the header gives each tensor's type,
shape and place in the data that follows. Places must join without hole or overlap.
"""

from __future__ import annotations

import math
from typing import Any

from mltetris_server.storage.manifest import ManifestError, parse_json

MAX_HEADER_BYTES = 1 << 20
MAX_TENSORS = 4096
MAX_DIMENSIONS = 8

_BYTES_OF_TYPE = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip


def check(data: bytes) -> None:
    """Raise ManifestError unless ``data`` is a whole safetensors file."""
    if len(data) < 8:
        raise ManifestError("it is shorter than a safetensors file can be")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_BYTES or 8 + length > len(data):
        raise ManifestError("it is cut off or not a safetensors file: its header does not fit")
    header = parse_json(data[8 : 8 + length], limit=MAX_HEADER_BYTES)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(text, str) for text in metadata.values()
    ):
        raise ManifestError("__metadata__: must be an object of texts")
    if len(header) > MAX_TENSORS:
        raise ManifestError(f"it has more than {MAX_TENSORS} tensors")
    places = sorted(_place(name, entry) for name, entry in header.items())
    position = 0
    for begin, end in places:
        if begin != position:
            raise ManifestError("it has a hole or an overlap between its tensors")
        position = end
    if position != len(data) - 8 - length:
        raise ManifestError("it does not end where its last tensor ends")


def _place(name: str, entry: Any) -> tuple[int, int]:
    """Where the tensor's bytes lie in the data."""
    where = repr(name[:64])
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ManifestError(f"{where}: must be an object of dtype, shape and data_offsets")
    size = _BYTES_OF_TYPE.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if size is None:
        raise ManifestError(f"{where}: unknown dtype")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise ManifestError(f"{where}: bad shape")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise ManifestError(f"{where}: bad data_offsets")
    begin, end = offsets
    if end - begin != size * math.prod(shape):
        raise ManifestError(f"{where}: shape and data_offsets disagree")
    return begin, end


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**63 for item in value
    )
