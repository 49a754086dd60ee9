"""Messages of any type, made from its descriptor: half right, right, or wrong on purpose.

words = Words({"run": ["train-abc123"], "name": ["good"]})
raw = data.draw(encoded(trainer_pb2.GetRunRequest.DESCRIPTOR, words))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from support.fuzzing import rules as contract
from support.fuzzing import values
from support.fuzzing.values import KIND

DEEPEST: Final = 6
"""Messages within messages, so that recursive types end."""

_ADDED: Final = (
    b"",
    b"\xf8\xff\xff\xff\x0f\x01",  # a varint of the highest field number
    b"\xc2\x3e\x03abc",  # field 1000, bytes
    b"\xc3\x3e\xc4\x3e",  # field 1000, an empty group
    b"\xa1\x06" + b"\xff" * 8,  # field 100, fixed64
)
"""Fields that no message has, on the wire."""


@dataclass
class Words:
    """Values that mean something to the server at hand, by the name of the field they fit."""

    by_field: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def of(self, name: str) -> Sequence[Any]:
        """The words for a field of that name."""
        return self.by_field.get(name, ())


# Making a strategy costs far more than drawing from it: each is made once.
_upto = lru_cache(maxsize=None)(lambda most: st.integers(0, most))
_SECONDS: Final = st.sampled_from(values.SECONDS)
_NANOS: Final = st.sampled_from(values.NANOS)
_TIMES: Final = st.integers(0, 4_000_000_000)
_TEXTS: Final = values.wild_texts()
_BYTES: Final = values.wild_bytes()
_NUMBERS: Final = lru_cache(maxsize=None)(values.wild_numbers)
_FLOATS: Final = values.wild_floats()
_FEW_BYTES: Final = st.binary(max_size=64)
_MANY_BYTES: Final = st.binary(max_size=200)
_BOOLS: Final = st.booleans()


@st.composite
def encoded(draw: DrawFn, kind: Descriptor, words: Words, *, only: str = "") -> bytes:
    """A message of the type `kind` on the wire; now and then with more in it, or broken.

    Args:
        only: name of the one field that is set; empty: any are.
    """
    wildness = (0, 0, 0, 4, 25, 100)[draw(_upto(5))]
    maker = _Maker(draw, words, wildness)
    raw = (maker.just(kind, only) if only else maker.message(kind)).SerializeToString()
    match draw(_upto(30)):
        case 1:
            raw += _one_of(draw, _ADDED)
        case 2:
            # Two of them in one: oneofs change their mind, lists grow.
            raw += _Maker(draw, words, wildness).message(kind).SerializeToString()
        case 3:
            raw = raw[: draw(_upto(len(raw)))]
        case 4 if raw:
            broken = bytearray(raw)
            broken[draw(_upto(len(raw) - 1))] ^= 1 << draw(_upto(7))
            raw = bytes(broken)
        case 5:
            raw = draw(_MANY_BYTES)
    return raw


@st.composite
def requests(draw: DrawFn, kind: Descriptor, words: Words, *, stream: bool) -> list[bytes]:
    """What a call sends: one message, or, of a `stream`, up to 6."""
    if not stream:
        return [draw(encoded(kind, words))]
    many = draw(_upto(5))
    members = [one.name for oneof in kind.oneofs for one in oneof.fields]
    if members and draw(_upto(2)):
        # As such streams are meant: something first, the rest after it.
        rest = [draw(encoded(kind, words, only=members[-1])) for _ in range(many)]
        return [draw(encoded(kind, words, only=members[0])), *rest]
    return [draw(encoded(kind, words)) for _ in range(many)]


@st.composite
def messages(draw: DrawFn, kind: Descriptor, words: Words, *, wildness: int = 10) -> Message:
    """A message of the type `kind`.

    Args:
        wildness: of a hundred values, how many break the contract's rules on purpose.
    """
    return _Maker(draw, words, wildness).message(kind)


def _one_of(draw: DrawFn, items: Sequence[Any]) -> Any:
    return items[draw(_upto(len(items) - 1))]


class _Maker:
    """Makes one message after the other from what hypothesis draws."""

    def __init__(self, draw: DrawFn, words: Words, wildness: int) -> None:
        self._draw = draw
        self._words = words
        self._wildness = wildness

    def message(self, kind: Descriptor, depth: int = 0) -> Message:
        """A message of the type `kind`, `depth` messages deep in another."""
        message = GetMessageClass(kind)()
        for chosen in self._chosen(kind, depth):
            self._fill(message, chosen, depth)
        return message

    def just(self, kind: Descriptor, name: str) -> Message:
        """A message of the type `kind` with the field `name` and no other."""
        message = GetMessageClass(kind)()
        self._fill(message, kind.fields_by_name[name], 0)
        return message

    def _below(self, most: int) -> int:
        return self._draw(_upto(most))

    def _wild(self) -> bool:
        return self._wildness > 0 and self._below(99) < self._wildness

    def _chosen(self, kind: Descriptor, depth: int) -> list[FieldDescriptor]:
        """Which fields are set: those that must be, and some others."""
        there = [one for one in kind.fields if depth < DEEPEST or one.message_type is None]
        if not there:
            return []
        most = len(there) if self._below(9) == 9 else min(4, len(there))
        chosen = {}
        for _ in range(self._below(most)):
            one = _one_of(self._draw, there)
            chosen[one.number] = one
        if not self._wild():
            chosen |= {one.number: one for one in there if _needed(one)}
            for oneof in kind.oneofs:
                members = list(oneof.fields)
                if contract.one_is_needed(oneof) and not any(
                    one.number in chosen for one in members
                ):
                    one = _one_of(self._draw, members)
                    chosen[one.number] = one
        return list(chosen.values())

    def _fill(self, message: Message, what: FieldDescriptor, depth: int) -> None:
        if what.message_type is not None and what.message_type.GetOptions().map_entry:
            self._fill_map(getattr(message, what.name), what.message_type, depth)
        elif what.is_repeated:
            items = getattr(message, what.name)
            most = 40 if self._wild() else contract.most_items(what)
            for _ in range(self._below(most)):
                value = self._value(what, depth)
                if what.message_type is None:
                    items.append(value)
                else:
                    items.add().CopyFrom(value)
        elif what.message_type is None:
            setattr(message, what.name, self._value(what, depth))
        else:
            getattr(message, what.name).CopyFrom(self._value(what, depth))

    def _fill_map(self, entries: Any, entry: Descriptor, depth: int) -> None:
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        for _ in range(self._below(4)):
            name, content = self._value(key, depth), self._value(value, depth)
            if value.message_type is None:
                entries[name] = content
            else:
                entries[name].CopyFrom(content)

    def _value(self, what: FieldDescriptor, depth: int) -> Any:
        """One value for a field, or for one item of it."""
        wild = self._wild()
        if what.message_type is not None:
            return self._inner(what, what.message_type, wild, depth)
        known = self._words.of(what.name)
        if known and not wild and self._below(7):
            return _one_of(self._draw, known)
        return self._draw(_scalar(what, wild))

    def _inner(self, what: FieldDescriptor, kind: Descriptor, wild: bool, depth: int) -> Message:
        message: Any = GetMessageClass(kind)()
        match kind.full_name:
            case "google.protobuf.Timestamp" | "google.protobuf.Duration" if wild:
                message.seconds, message.nanos = self._draw(_SECONDS), self._draw(_NANOS)
            case "google.protobuf.Timestamp":
                message.seconds = self._draw(_TIMES)
            case "google.protobuf.Duration":
                least, most = contract.span(contract.rules_of(what))
                spent = least + self._below(most - least)
                message.seconds, message.nanos = divmod(spent, 10**9)
            case "google.protobuf.FieldMask":
                # Of a change: the fields of what changes beside it.
                beside = [one.message_type for one in what.containing_type.fields]
                paths = [
                    one.name
                    for other in beside
                    if other is not None and other.full_name != kind.full_name
                    for one in other.fields
                ]
                for _ in range(self._below(3) + (not wild)):
                    odd = wild or not paths
                    message.paths.append(self._draw(_TEXTS) if odd else _one_of(self._draw, paths))
            case _:
                return self.message(kind, depth + 1)
        return message


_made: dict[tuple[str, bool], SearchStrategy[Any]] = {}
_are_needed: dict[str, bool] = {}


def _needed(what: FieldDescriptor) -> bool:
    if what.full_name not in _are_needed:
        _are_needed[what.full_name] = contract.needed(what)
    return _are_needed[what.full_name]


def _scalar(what: FieldDescriptor, wild: bool) -> SearchStrategy[Any]:
    known = _made.get((what.full_name, wild))
    if known is None:
        known = _made[what.full_name, wild] = _wild_scalar(what) if wild else _tame_scalar(what)
    return known


def _wild_scalar(what: FieldDescriptor) -> SearchStrategy[Any]:
    match what.type:
        case KIND.TYPE_BOOL:
            return _BOOLS
        case KIND.TYPE_STRING:
            return _TEXTS
        case KIND.TYPE_BYTES:
            return _BYTES
        case KIND.TYPE_FLOAT | KIND.TYPE_DOUBLE:
            return _FLOATS
        case _:
            return _NUMBERS(what.type)


def _tame_scalar(what: FieldDescriptor) -> SearchStrategy[Any]:
    rules = contract.rules_of(what)
    if what.is_repeated:
        rules = rules.repeated.items
    match what.type:
        case KIND.TYPE_BOOL:
            return _BOOLS
        case KIND.TYPE_STRING:
            return contract.tame_texts(rules)
        case KIND.TYPE_BYTES:
            return _FEW_BYTES
        case KIND.TYPE_ENUM:
            assert what.enum_type is not None
            return st.sampled_from([value.number for value in what.enum_type.values])
    least, most = contract.number_range(what, getattr(rules, _rule_name(what)))
    if what.type in (KIND.TYPE_FLOAT, KIND.TYPE_DOUBLE):
        return st.floats(least, most, allow_nan=False, width=64)
    return st.integers(int(least), int(most))


def _rule_name(what: FieldDescriptor) -> str:
    """What the rules call the field's kind: `uint32`, `double`, ..."""
    names = {value: name for name, value in vars(KIND).items() if name.startswith("TYPE_")}
    return names[what.type].removeprefix("TYPE_").lower()
