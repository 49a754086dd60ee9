"""Slots as stable-baselines3 .zip files, made by a process that may import torch."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import structlog

from mltetris_server.errors import Unavailable

_log = structlog.get_logger(__name__)

EXPORT_COMMAND: Final = (sys.executable, "-m", "mltetris_server.worker.export")
"""Reads a slot bundle on standard input, writes the .zip on standard output."""

_TIMEOUT_S: Final = 120.0


async def export_sb3(bundle: bytes, command: Sequence[str] = EXPORT_COMMAND) -> bytes:
    """Returns the slot `bundle` as a stable-baselines3 .zip.

    The process ends with the call, also where that is cancelled.

    Raises:
        Unavailable: the export failed; the message says why.
    """
    process = await asyncio.to_thread(
        subprocess.Popen[bytes],
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = await asyncio.to_thread(process.communicate, bundle, _TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"the export took longer than {_TIMEOUT_S:g} s") from None
    finally:
        if process.poll() is None:
            process.kill()
    if process.returncode != 0:
        text = err.decode("utf-8", errors="replace").strip()
        _log.error("export failed", returncode=process.returncode, stderr=text[-4000:])
        raise Unavailable(f"the export failed: {text.splitlines()[-1] if text else 'no reason'}")
    return out
