"""Values that have broken programs before, for every kind of protobuf field."""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

ODD_TEXTS: Final = (
    "",
    " ",
    "\0",
    "a\0b",
    "\n",
    "\r\n",
    "\x1b[2J",
    "../../etc/passwd",
    "..",
    ".",
    "/",
    "/etc/passwd",
    "C:\\",
    "\\\\host\\share",
    "file:///etc/passwd",
    "~",
    "-",
    "--help",
    "%s%s%n",
    "{0.__class__}",
    "${HOME}",
    "'; DROP TABLE runs; --",
    '"',
    "nul",
    "CON",
    "true",
    "null",
    "NaN",
    "٣",
    "ſ",
    "ﬃ",
    "é",
    "\u202egnp",
    "\ufeff",
    "\ufffe",
    "\U0010ffff",
    "\u0300",
    "👩‍👩‍👧‍👦",
    "a" * 64,
    "a" * 65,
    "a" * 100,
    "a" * 101,
    "a" * 200,
    "a" * 4001,
    "é" * 3000,
    "\0" * 5000,
    "x" * 100_000,
)

FLOATS: Final = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 1e-9, 1e-300, 5e-324, 1e9, 1e15, 1e300, -1e300),
    *(float("nan"), float("inf"), float("-inf"), 1.7976931348623157e308, 3.4e38, 1e-45),
)

KIND: Final = FieldDescriptor
RANGES: Final = {
    KIND.TYPE_INT32: (-(2**31), 2**31 - 1),
    KIND.TYPE_SINT32: (-(2**31), 2**31 - 1),
    KIND.TYPE_SFIXED32: (-(2**31), 2**31 - 1),
    KIND.TYPE_ENUM: (-(2**31), 2**31 - 1),
    KIND.TYPE_INT64: (-(2**63), 2**63 - 1),
    KIND.TYPE_SINT64: (-(2**63), 2**63 - 1),
    KIND.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    KIND.TYPE_UINT32: (0, 2**32 - 1),
    KIND.TYPE_FIXED32: (0, 2**32 - 1),
    KIND.TYPE_UINT64: (0, 2**64 - 1),
    KIND.TYPE_FIXED64: (0, 2**64 - 1),
}
"""The least and the greatest value of every kind of whole number."""

SECONDS: Final = (
    *(0, 1, -1, 60, 86400, 10**9, -62135596800, -62135596801, 253402300799, 253402300800),
    *(315576000000, 315576000001, -315576000001, 2**31, 2**63 - 1, -(2**63)),
)
"""Of Timestamps and Durations: also beyond what they may be."""
NANOS: Final = (0, 1, 10_000_000, 999_999_999, -1, -999_999_999, 10**9, 2**31 - 1, -(2**31))


def wild_numbers(kind: int) -> SearchStrategy[int]:
    """Whole numbers of a field's kind: any, the extremes and their neighbours more often."""
    least, most = RANGES[kind]
    around = {least, least + 1, -1, 0, 1, 2, 63, 64, 2**31 - 1, 2**31, 2**63 - 1, 2**63, most}
    there = sorted(number for number in around if least <= number <= most)
    return st.sampled_from(there) | st.integers(least, most)


def wild_texts() -> SearchStrategy[str]:
    """Texts of every sort; never a lone surrogate, which no message can carry."""
    return st.sampled_from(ODD_TEXTS) | st.text(
        st.characters(blacklist_categories=["Cs"]), max_size=20
    )


def wild_bytes() -> SearchStrategy[bytes]:
    """Bytes, some of them many."""
    return st.binary(max_size=64) | st.sampled_from(
        (
            b"",
            b"\0",
            b"\xff" * 70_000,
            b"PK\x03\x04",
            b"\x80" * 12,
            bytes(1 << 20),
            b"a" * 1_048_577,
        )
    )


def wild_floats() -> SearchStrategy[float]:
    """Numbers, and what is none."""
    return st.sampled_from(FLOATS) | st.floats()
