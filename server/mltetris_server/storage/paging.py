"""Page tokens: opaque to clients, checked when they come back."""

from __future__ import annotations

import base64
import binascii
import json

from mltetris_server import errors

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
_MOST = 2**63 - 1
"""The greatest number that a database can be asked for."""


def page_length(page_size: int) -> int:
    """Items of a page: ``page_size``, 50 for 0; InvalidArgument outside 0..1000."""
    if not 0 <= page_size <= MAX_PAGE_SIZE:
        raise errors.InvalidArgument.field("page_size", f"from 0 to {MAX_PAGE_SIZE}")
    return page_size or DEFAULT_PAGE_SIZE


def make_token(query: str, position: list[int | float | str]) -> str:
    """The token for what follows ``position`` in the answer to ``query``."""
    text = json.dumps([query, position], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: str, query: str, shape: tuple[type, ...]) -> list[int | float | str]:
    """The position in a token that ``make_token`` made for the same query.

    ``shape`` gives the type of each element. InvalidArgument for any other token.
    """
    refusal = errors.InvalidArgument.field(
        "page_token",
        "not a token of this list; take next_page_token of the page before, "
        "with the same filters and order",
    )
    try:
        padded = token + "=" * (-len(token) % 4)
        parsed = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise refusal from None
    if not isinstance(parsed, list) or len(parsed) != 2 or parsed[0] != query:
        raise refusal
    position = parsed[1]
    if not isinstance(position, list) or tuple(map(type, position)) != shape:
        raise refusal
    if any(isinstance(part, int) and abs(part) > _MOST for part in position):
        raise refusal
    return position
