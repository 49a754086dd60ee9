"""Slots as stable-baselines3 .zip files and back, by processes that may import torch."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import structlog

from mltetris_server import zips
from mltetris_server.errors import InvalidArgument, Unavailable
from mltetris_server.runs.secret import NOT_FOR_WORKERS
from mltetris_server.wording import without_places

_log = structlog.get_logger(__name__)

EXPORT_COMMAND: Final = (sys.executable, "-m", "mltetris_server.worker.export")
"""Reads a slot bundle on standard input, writes the .zip on standard output."""

IMPORT_COMMAND: Final = (sys.executable, "-m", "mltetris_server.worker.foreign")
"""The other way round; ends with `_REFUSED` where the .zip is not taken."""

_TIMEOUT_S: Final = 120.0
_REFUSED: Final = 3
_MEMBERS: Final = frozenset({"data", "policy.pth"})
_MOST_MEMBERS: Final = 32
_MOST_BYTES: Final = 256 << 20
_LONGEST_WORD: Final = 400


def is_sb3(content: bytes) -> bool:
    """Whether it looks like a stable-baselines3 .zip; what is neither that nor a bundle is not."""
    try:
        with zips.looked_over(content, most_members=_MOST_MEMBERS, most_bytes=_MOST_BYTES) as (
            _,
            members,
        ):
            return members.keys() >= _MEMBERS and "manifest.json" not in members
    except (zips.ZipRefused, zips.ZipBroken):
        return False


async def export_sb3(bundle: bytes, command: Sequence[str] = EXPORT_COMMAND) -> bytes:
    """Returns the slot `bundle` as a stable-baselines3 .zip.

    The process ends with the call, also where that is cancelled.

    Raises:
        Unavailable: the export failed; the message says why.
    """
    code, out, text = await _convert("export", bundle, command)
    if code is None:
        raise Unavailable(f"the export took longer than {_TIMEOUT_S:g} s")
    if code != 0:
        raise Unavailable(f"the export failed: {text or 'no reason'}")
    return out


async def import_sb3(content: bytes, command: Sequence[str] = IMPORT_COMMAND) -> bytes:
    """Returns the slot bundle of a stable-baselines3 .zip, of which nothing was unpickled.

    The process ends with the call, also where that is cancelled.

    Raises:
        InvalidArgument: it is not one of mlTetris's own, is damaged, or takes too much to read.
        Unavailable: reading failed for another reason; the log says why.
    """
    code, out, text = await _convert("import", content, command)
    if code == _REFUSED:
        raise InvalidArgument.field("chunk", text[:_LONGEST_WORD])
    if code is None or code < 0:
        # Whatever ended it, its limits among that, comes from what it read.
        raise InvalidArgument.field(
            "chunk", "the stable-baselines3 .zip takes too much time or memory to read"
        )
    if code != 0:
        raise Unavailable("the stable-baselines3 .zip cannot be read here: the log says why")
    return out


async def _convert(what: str, data: bytes, command: Sequence[str]) -> tuple[int | None, bytes, str]:
    """Exit code (None: out of time), standard output, and the last line of standard error."""
    process = await asyncio.to_thread(
        subprocess.Popen[bytes],
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name not in NOT_FOR_WORKERS},
    )
    try:
        out, err = await asyncio.to_thread(process.communicate, data, _TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None, b"", ""
    finally:
        if process.poll() is None:
            process.kill()
    text = err.decode("utf-8", errors="replace").strip()
    if process.returncode != 0:
        _log.warning(f"{what} failed", returncode=process.returncode, stderr=text[-4000:])
    return process.returncode, out, without_places(text.splitlines()[-1]) if text else ""
