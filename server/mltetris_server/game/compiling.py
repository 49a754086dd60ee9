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
from math import prod
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import platformdirs
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core import config as numba_config
from numba.core.errors import TypingError
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger(__name__)

# A module whose text has one of these takes part in the cache's name.
_MARKS = (b"@kernel", b"@inlined", b"@allocating", b"# compiled into kernels")


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

    A kernel cannot make arrays (`stack_array` can), nor return one: numba's counting of who
    uses an array is left out, for it takes longer than many a kernel.
    """
    return _compiled(function)


def allocating(function: F) -> F:
    """A `kernel` that may make arrays, by `np.sort` for example or by reshaping one."""
    return _compiled(function, _nrt=True)


def inlined(function: F) -> F:
    """A `kernel` that becomes part of every kernel that calls it.

    For short ones: a call that passes `Games` puts a hundred words on the stack.
    """
    return _compiled(function, forceinline=True)


def _compiled(function: F, **options: bool) -> F:
    folder = cache_directory()
    before = numba_config.CACHE_DIR  # type: ignore[attr-defined]
    numba_config.CACHE_DIR = str(folder or "")  # type: ignore[attr-defined]
    njit: Any = numba.njit
    try:
        options = {"_nrt": False, "nogil": True, "cache": folder is not None} | options
        compiled = njit(error_model="numpy", **options)(function)
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
    require_contiguous(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(element_address(context, builder, array, arguments))

    return array.dtype(array, types.int64), generate


def _poke(context: Any, array: Any, index: Any, value: Any) -> Any:
    """`array.flat[index] = value` of a C-contiguous array, without a look at sign or bounds."""
    require_contiguous(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], element_address(context, builder, array, arguments))
        return context.get_dummy_value()

    return types.void(array, types.int64, array.dtype), generate


def require_contiguous(array: Any) -> None:
    """Raise numba's TypingError unless `array` is a type of C-contiguous arrays."""
    if not isinstance(array, types.Array) or array.layout != "C":
        raise TypingError(f"a C-contiguous array is needed, not {array}")


def element_address(context: Any, builder: Any, array: Any, arguments: Any, count: int = 1) -> Any:
    """The address of `count` elements of an array; checked if numba's bounds check is on.

    `arguments` are the array's and the first element's index' values.
    """
    view = context.make_array(array)(context, builder, arguments[0])
    if numba_config.BOUNDSCHECK:  # type: ignore[attr-defined]
        for index in (arguments[1], builder.add(arguments[1], arguments[1].type(count - 1))):
            # Unsigned, so that a negative index is too large as well.
            outside = builder.icmp_unsigned(">=", index, view.nitems)
            with builder.if_then(outside, likely=False):
                context.call_conv.return_user_exc(builder, IndexError, ("index is out of bounds",))
    return builder.gep(view.data, [arguments[1]])


def stack_array(item: Any, *shape: int) -> Callable[[], Any]:
    """A function for kernels: a fresh array on the calling kernel's stack, its values anything.

    It costs nothing and belongs to one call, so to one thread. It may be passed to other
    kernels, but not be returned.

    Args:
        item: numba's type of an element.
        shape: Its size along each axis; a few kilobytes in all are fine.
    """
    array = types.Array(item, len(shape), "C")

    def on_stack(context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = context.get_data_type(item)
            width = context.get_abi_sizeof(value)
            sizes = [context.get_constant(types.intp, size) for size in shape]
            # Bytes from one index of an axis to the next.
            steps = [
                context.get_constant(types.intp, width * prod(shape[axis + 1 :]))
                for axis in range(len(shape))
            ]
            number = context.get_constant(types.intp, prod(shape))
            data = cgutils.alloca_once(  # type: ignore[no-untyped-call]
                builder, value, size=number
            )
            data.align = 64
            view = context.make_array(array)(context, builder)
            context.populate_array(
                view,
                data=data,
                shape=sizes,
                strides=steps,
                itemsize=context.get_constant(types.intp, width),
                meminfo=None,
            )
            return view._getvalue()

        return array(), generate

    return cast(Callable[[], Any], intrinsic(on_stack))


# Callable from kernels only.
popcount = cast(Callable[[int], int], intrinsic(_popcount))
leading_zeros = cast(Callable[[int], int], intrinsic(_leading_zeros))
trailing_zeros = cast(Callable[[int], int], intrinsic(_trailing_zeros))
# numba wraps negative indices around, which costs a test per access: these do not, and
# check nothing unless NUMBA_BOUNDSCHECK=1 is set (a test plays that way).
peek = cast(Callable[[Any, int], Any], intrinsic(_peek))
poke = cast(Callable[[Any, int, Any], None], intrinsic(_poke))
