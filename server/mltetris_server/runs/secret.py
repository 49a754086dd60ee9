"""The secret by which a server knows the worker of a run; it keeps only its digest."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

NOT_FOR_WORKERS: Final = frozenset(
    {"MLTETRIS_OPERATOR_TOKEN", "MLTETRIS_VIEWER_TOKEN", "MLTETRIS_TOKEN"}
)
"""Environment variables that the processes a server starts do not get: what lets callers in."""


def new_secret() -> str:
    """Returns a secret that nobody can guess."""
    return secrets.token_hex(32)


def digest(secret: str) -> bytes:
    """Returns what is kept of `secret`."""
    return hashlib.sha256(secret.encode()).digest()


def is_secret(secret: str, kept: bytes) -> bool:
    """Whether `kept` is what is kept of `secret`; takes the same time for every wrong one."""
    return secrets.compare_digest(digest(secret), kept)
