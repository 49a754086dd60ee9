"""What the contract's own rules (protovalidate annotations) say of a field, as strategies.

Only so that made-up messages get past validation often: what is read wrongly here is refused there.
"""

from __future__ import annotations

import re
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor, OneofDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from mltetris_api.buf.validate import validate_pb2

from support.fuzzing.values import KIND, RANGES

_NAME: Final = re.compile(r"\^(\[.+\])\{(\d+),(\d+)\}\$")


def rules_of(field: FieldDescriptor) -> Any:
    """The rules of a field; empty ones where it has none."""
    return field.GetOptions().Extensions[validate_pb2.field]


def needed(field: FieldDescriptor) -> bool:
    """Whether a message without the field is refused."""
    rules = rules_of(field)
    if rules.required:
        return True
    if field.containing_oneof is not None or field.type != KIND.TYPE_STRING or field.has_presence:
        return False
    text = rules.string
    return bool(text.pattern) and re.search(text.pattern, "") is None


def one_is_needed(oneof: OneofDescriptor) -> bool:
    """Whether a message without any of the oneof's fields is refused."""
    return bool(oneof.GetOptions().Extensions[validate_pb2.oneof].required)


def most_items(field: FieldDescriptor) -> int:
    """Items that a repeated field may have, at most 8."""
    rules = rules_of(field).repeated
    return min(8, rules.max_items) if rules.HasField("max_items") else 4


def number_range(field: FieldDescriptor, rules: Message) -> tuple[float, float]:
    """The least and the greatest number that `rules` allow."""
    least, most = RANGES.get(field.type, (-1e12, 1e12))
    step = 1 if field.type in RANGES else 1e-9
    for name, value in ((field.name, value) for field, value in rules.ListFields()):
        if name in ("gte", "gt"):
            least = value if name == "gte" else value + step
        if name in ("lte", "lt"):
            most = value if name == "lte" else value - step
    return least, most


def tame_texts(rules: Any) -> SearchStrategy[str]:
    """Texts that the rules of a string field allow."""
    text = rules.string
    if "in" in {field.name for field, _ in text.ListFields()}:
        return st.sampled_from(list(getattr(text, "in")))
    if text.pattern:
        return _matching(text.pattern)
    most = min(text.max_len or 30, 30)
    return st.text(
        st.characters(codec="ascii", categories=["L", "N", "P"]),
        min_size=text.min_len,
        max_size=most,
    )


def _matching(pattern: str) -> SearchStrategy[str]:
    """Texts that match; quickly, where the pattern is as those of names are."""
    name = _NAME.fullmatch(pattern)
    if name is None:
        return st.from_regex(pattern.removesuffix("$") + r"\Z")
    characters = [chr(number) for number in range(128) if re.fullmatch(name[1], chr(number))]
    least, most = int(name[2]), int(name[3])
    long = "".join((characters * most)[:most])
    short = st.text(st.sampled_from(characters), min_size=least, max_size=min(most, 12))
    return short | st.just(long)


def span(rules: Any) -> tuple[int, int]:
    """The shortest and the longest Duration allowed, in nanoseconds."""

    def of(duration: Any) -> int:
        return int(duration.seconds * 10**9 + duration.nanos)

    duration = rules.duration
    least = of(duration.gte) if duration.HasField("gte") else 0
    most = of(duration.lte) if duration.HasField("lte") else 10**18
    return least, most
