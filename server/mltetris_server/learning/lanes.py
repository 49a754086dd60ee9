"""Sixteen float32 side by side, for kernels: what one vector instruction works on.

numba leaves it to LLVM to find vector instructions in loops, which fails where it cannot tell
that arrays do not overlap or where loops are short. Here they are written out:

    x = load(columns, k)             # columns.flat[k : k + LANES]
    h = splat(bias) + splat(weight) * x
    store(columns, k, relu(h))

Sums and products are IEEE's, lane by lane, never fused or reordered: the result is that of the
plain loop, bit for bit, whatever vectors the processor has. On one with AVX-512 the small networks
here are four times as fast so (docs/performance.md).

Callable from kernels only.
"""

# compiled into kernels

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import config as numba_config
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, overload, register_model

LANES = 16
"""Numbers side by side; arrays that are worked on so have rows of a multiple of it."""

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INDEX = ir.IntType(32)


class Lanes(types.Type):
    """numba's type of such a value."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


_LANES = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call]


def padded(count: int) -> int:
    """The least multiple of `LANES` that is not below `count`."""
    return -(-count // LANES) * LANES


def _address(context: Any, builder: Any, array: Any, arguments: Any) -> Any:
    """Where array.flat[index] and its neighbours lie; checked where numba's bounds check is on."""
    view = context.make_array(array)(context, builder, arguments[0])
    if numba_config.BOUNDSCHECK:  # type: ignore[attr-defined]
        last = builder.add(arguments[1], ir.Constant(arguments[1].type, LANES - 1))
        # Unsigned, so that a negative index is too large as well.
        outside = builder.or_(
            builder.icmp_unsigned(">=", arguments[1], view.nitems),
            builder.icmp_unsigned(">=", last, view.nitems),
        )
        with builder.if_then(outside, likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("index is out of bounds",))
    return builder.bitcast(builder.gep(view.data, [arguments[1]]), _VECTOR.as_pointer())


def _require_floats(array: Any) -> None:
    fits = isinstance(array, types.Array) and array.layout == "C" and array.dtype == types.float32
    if not fits:
        raise TypingError(f"a C-contiguous array of float32 is needed, not {array}")


def _load(context: Any, array: Any, index: Any) -> Any:
    """array.flat[index : index + LANES]."""
    _require_floats(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], arguments), align=4)

    return _LANES(array, types.int64), generate


def _store(context: Any, array: Any, index: Any, value: Any) -> Any:
    """array.flat[index : index + LANES] = value."""
    _require_floats(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, signature.args[0], arguments)
        builder.store(arguments[2], place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, _LANES), generate


def _splat(context: Any, number: Any) -> Any:
    """The same float32 in all lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        empty = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(empty, arguments[0], ir.Constant(_INDEX, 0))
        everywhere = ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES)
        return builder.shuffle_vector(first, empty, everywhere)

    return _LANES(types.float32), generate


def _relu(context: Any, value: Any) -> Any:
    """Each lane where it is above 0, else 0."""
    return _LANES(_LANES), lambda context, builder, signature, arguments: _where_positive(
        builder, arguments[0], arguments[0]
    )


def _where(context: Any, value: Any, chosen: Any) -> Any:
    """Each lane of `chosen` where that of `value` is above 0, else 0."""
    return _LANES(_LANES, _LANES), lambda context, builder, signature, arguments: _where_positive(
        builder, *arguments
    )


def _where_positive(builder: Any, value: Any, chosen: Any) -> Any:
    zeros = ir.Constant(_VECTOR, [0.0] * LANES)
    return builder.select(builder.fcmp_ordered(">", value, zeros), chosen, zeros)


def _total(context: Any, value: Any) -> Any:
    """The sum of the lanes, halves first: (0 + 8) + (4 + 12) and so on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, count = arguments[0], LANES
        while count > 1:
            count //= 2
            halves = [
                builder.shuffle_vector(
                    vector,
                    vector,
                    ir.Constant(ir.VectorType(_INDEX, count), list(range(start, start + count))),
                )
                for start in (0, count)
            ]
            vector = builder.fadd(*halves)
        return builder.extract_element(vector, ir.Constant(_INDEX, 0))

    return types.float32(_LANES), generate


def _add(context: Any, a: Any, b: Any) -> Any:
    return _LANES(_LANES, _LANES), lambda context, builder, signature, arguments: builder.fadd(
        *arguments
    )


def _multiply(context: Any, a: Any, b: Any) -> Any:
    return _LANES(_LANES, _LANES), lambda context, builder, signature, arguments: builder.fmul(
        *arguments
    )


_sum, _product = cast(Any, intrinsic(_add)), cast(Any, intrinsic(_multiply))


def _overload_add(a: Any, b: Any) -> Any:
    if isinstance(a, Lanes) and isinstance(b, Lanes):
        return lambda a, b: _sum(a, b)
    return None


def _overload_multiply(a: Any, b: Any) -> Any:
    if isinstance(a, Lanes) and isinstance(b, Lanes):
        return lambda a, b: _product(a, b)
    return None


# Not strict: that would want the lambdas to be annotated as well.
overload(operator.add, strict=False)(_overload_add)
overload(operator.iadd, strict=False)(_overload_add)
overload(operator.mul, strict=False)(_overload_multiply)

load = cast(Callable[[Any, int], Any], intrinsic(_load))
store = cast(Callable[[Any, int, Any], None], intrinsic(_store))
splat = cast(Callable[[Any], Any], intrinsic(_splat))
relu = cast(Callable[[Any], Any], intrinsic(_relu))
where_positive = cast(Callable[[Any, Any], Any], intrinsic(_where))
total = cast(Callable[[Any], Any], intrinsic(_total))
