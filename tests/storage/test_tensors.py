"""The look at safetensors files, against the real library."""

from __future__ import annotations

import json
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mltetris_server.storage import tensors
from mltetris_server.storage.manifest import ManifestError
from safetensors.numpy import save
from support import checkpoints

WHOLE = save(
    {
        "weight": np.zeros((32, 8), np.float32),
        "bias": np.ones(32, np.float64),
        "steps": np.array(7, np.int64),
        "mask": np.zeros((3, 0), np.bool_),
    },
    metadata={"made_by": "test"},
)


def raw(header: object, body: bytes = b"") -> bytes:
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + body


def vector(begin: int, end: int, shape: list[int] | None = None) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape or [(end - begin) // 4], "data_offsets": [begin, end]}


def test_what_the_library_writes_is_whole() -> None:
    tensors.check(WHOLE)
    tensors.check(save({}))


@pytest.mark.parametrize("length", range(0, len(WHOLE), 7))
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(ManifestError):
        tensors.check(WHOLE[:length])


def test_a_longer_file_is_refused() -> None:
    with pytest.raises(ManifestError, match="does not end"):
        tensors.check(WHOLE + b"\0")


@pytest.mark.parametrize(
    "data",
    [
        raw([]),
        raw({"a": 1}),
        raw({"a": {"dtype": "F32", "shape": [0]}}),
        raw({"a": {"dtype": "PICKLE", "shape": [0], "data_offsets": [0, 0]}}),
        raw({"a": {"dtype": ["F32"], "shape": [0], "data_offsets": [0, 0]}}),
        raw({"a": vector(0, 4, [-1])}, bytes(4)),
        raw({"a": vector(0, 4, [True])}, bytes(4)),
        raw({"a": vector(0, 4, [2])}, bytes(4)),
        raw({"a": vector(0, 8), "b": vector(4, 12)}, bytes(12)),
        raw({"a": vector(0, 4), "b": vector(8, 12)}, bytes(12)),
        raw({"a": vector(4, 8)}, bytes(8)),
        raw({"a": vector(0, 8), "b": vector(0, 8)}, bytes(8)),
        raw({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]}}, bytes(4)),
        raw({"a": {"dtype": "F32", "shape": [1] * 9, "data_offsets": [0, 4]}}, bytes(4)),
        raw({"__metadata__": {"a": 1}}),
        raw({"__metadata__": 1}),
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"{]",
        b'{"a": 1}',
    ],
)
def test_what_is_no_safetensors_file_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        tensors.check(data)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with suppress(ManifestError):
        tensors.check(data)


@given(position=st.integers(0, 200), byte=st.integers(0, 255))
def test_no_changed_header_breaks_the_reader(position: int, byte: int) -> None:
    data = bytearray(checkpoints.tensors(weight=[1.0] * 8, bias=[2.0]))
    data[position % len(data)] = byte
    with suppress(ManifestError):
        tensors.check(bytes(data))
