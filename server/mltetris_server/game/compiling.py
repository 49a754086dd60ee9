"""How this project compiles its kernels: one decorator, and a cache that cannot go stale.

numba's on-disk cache notices a change in a kernel's own file only, not in the files
of the kernels it calls or the tables it reads. So the cache lives in a folder named
after the contents of all of them.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import platformdirs
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import config as numba_config
from numba.core.errors import TypingError
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger(__name__)

# A module whose text has one of these takes part in the cache's name.
_MARKS = (b"@kernel", b"# compiled into kernels")


@cache
def cache_directory() -> Path | None:
    """The folder of compiled kernels for exactly this version of their source.

    Under `NUMBA_CACHE_DIR` where that is set, else under the user's cache folder. None
    where it cannot be written: then every process compiles for itself.
    """
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parent.parent
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        if any(mark in text for mark in _MARKS):
            digest.update(str(path.relative_to(package)).encode() + b"\0" + text)
    base = os.environ.get("NUMBA_CACHE_DIR") or platformdirs.user_cache_dir("mltetris")
    checked = "-checked" if numba_config.BOUNDSCHECK else ""  # type: ignore[attr-defined]
    folder = Path(base) / "kernels" / (digest.hexdigest()[:16] + checked)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        _log.warning("cannot write %s: kernels are compiled anew in every process", folder)
        return None
    return folder


def kernel(function: F) -> F:
    """Compile `function` to machine code that runs without the GIL, cached on disk.

    It is compiled on its first call with arguments of given types, or loaded from
    the cache. Division is numpy's: no exception on division by zero.
    """
    folder = cache_directory()
    before = numba_config.CACHE_DIR  # type: ignore[attr-defined]
    numba_config.CACHE_DIR = str(folder or "")  # type: ignore[attr-defined]
    try:
        cached = folder is not None
        compiled = numba.njit(nogil=True, cache=cached, error_model="numpy")(function)
    finally:
        # Other users of numba in this process keep their own place.
        numba_config.CACHE_DIR = before  # type: ignore[attr-defined]
    return cast(F, compiled)


def _popcount(context: Any, bits: Any) -> Any:
    """Number of ones in an int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), generate


def _leading_zeros(context: Any, bits: Any) -> Any:
    """Number of zeros before an int64's highest one; 64 for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


def _trailing_zeros(context: Any, bits: Any) -> Any:
    """Number of zeros after an int64's lowest one; 64 for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


def _peek(context: Any, array: Any, index: Any) -> Any:
    """`array.flat[index]` of a C-contiguous array, without a look at sign or bounds."""
    _require_contiguous(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_element(context, builder, array, arguments))

    return array.dtype(array, types.int64), generate


def _poke(context: Any, array: Any, index: Any, value: Any) -> Any:
    """`array.flat[index] = value` of a C-contiguous array, without a look at sign or bounds."""
    _require_contiguous(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _element(context, builder, array, arguments))
        return context.get_dummy_value()

    return types.void(array, types.int64, array.dtype), generate


def _require_contiguous(array: Any) -> None:
    if not isinstance(array, types.Array) or array.layout != "C":
        raise TypingError(f"a C-contiguous array is needed, not {array}")


def _element(context: Any, builder: Any, array: Any, arguments: Any) -> Any:
    """The address of an array's element; checked where numba's bounds check is asked for."""
    view = context.make_array(array)(context, builder, arguments[0])
    if numba_config.BOUNDSCHECK:  # type: ignore[attr-defined]
        # Unsigned, so that a negative index is too large as well.
        outside = builder.icmp_unsigned(">=", arguments[1], view.nitems)
        with builder.if_then(outside, likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("index is out of bounds",))
    return builder.gep(view.data, [arguments[1]])


# Callable from kernels only.
popcount = cast(Callable[[int], int], intrinsic(_popcount))
leading_zeros = cast(Callable[[int], int], intrinsic(_leading_zeros))
trailing_zeros = cast(Callable[[int], int], intrinsic(_trailing_zeros))
# numba wraps negative indices around, which costs a test per access: these do not, and
# check nothing unless NUMBA_BOUNDSCHECK=1 is set (a test plays that way).
peek = cast(Callable[[Any, int], Any], intrinsic(_peek))
poke = cast(Callable[[Any, int, Any], None], intrinsic(_poke))
