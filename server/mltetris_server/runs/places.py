"""How many may do something at once, by what they do it to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mltetris_server.errors import TooMany


class Places:
    """So many places for each key; a key without anybody costs nothing.

    Args:
        most: places of a key, at least 1.
        refusal: makes of a key the message for whoever finds no place.
    """

    def __init__(self, most: int, refusal: Callable[[str], str]) -> None:
        self._most = most
        self._refusal = refusal
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Places taken, of all keys together."""
        return self._taken.total()

    @contextmanager
    def one(self, key: str) -> Iterator[None]:
        """Takes a place of `key` for as long as the block lasts.

        Raises:
            TooMany: all are taken.
        """
        if self._taken[key] >= self._most:
            raise TooMany(self._refusal(key))
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
