"""What no answer and no log may hold: places on the server's machine, secrets, tracebacks."""

from __future__ import annotations

import site
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

ROOT: Final = Path(__file__).resolve().parents[3]

MEANT: Final = frozenset(
    {
        # Where the server keeps its data: what an operator asks for.
        "mltetris.v1.GetServerInfoResponse.data_dir",
        # The end of a failed worker's own output, for who has to find out why.
        "mltetris.v1.Run.log_tail",
    }
)
"""Fields of answers whose purpose it is to say so."""


@lru_cache
def places(data_dir: Path) -> frozenset[str]:
    """Paths that would tell about the server's machine."""
    return frozenset(
        {
            str(data_dir),
            str(data_dir.resolve()),
            str(Path.home()),
            str(ROOT),
            sys.prefix,
            sys.base_prefix + "/lib",
            *site.getsitepackages(),
            "site-packages",
            "mltetris_server/",
            ".sock",
            "Traceback (most recent call last)",
        }
        - {"/", "/lib", "/usr/lib"}
    )


def said(text: str, needles: Iterable[str]) -> list[str]:
    """Which of `needles` are in `text`."""
    return [needle for needle in needles if needle in text]


def leaks(message: Message, needles: Iterable[str]) -> list[str]:
    """Where a message holds one of `needles` though it is not meant to."""
    there = list(needles)
    raw = message.SerializeToString()
    if not any(needle.encode() in raw for needle in there):
        return []
    return [
        f"{name}: {text}"
        for name, text in _texts(message)
        if name not in MEANT and said(text, there)
    ]


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        many: Any = value if field.is_repeated else [value]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            many = list(value) + [item for item in value.values() if isinstance(item, str)]
        for item in many:
            if isinstance(item, Message):
                yield from _texts(item)
            elif isinstance(item, str):
                yield field.full_name, item
            elif isinstance(item, bytes):
                yield field.full_name, item.decode("latin-1")
