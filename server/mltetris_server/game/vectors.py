"""Four numbers at once, for kernels: vectors, whose operations are one machine instruction or two.

The compiler makes vector instructions of loops by itself, but loops as short as a board is
wide do not pay for what it puts before and behind them. These are explicit, and give the same
bits on every processor: whole numbers are exact, and a float32 is rounded the same in a vector
as alone.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.errors import TypingError
from numba.extending import intrinsic, lower_builtin, register_model, type_callable
from numpy.typing import NDArray

from mltetris_server.game.compiling import element_address, require_contiguous

LANES = 4  # compiled into kernels

_INT64 = ir.VectorType(ir.IntType(64), LANES)
_INT32 = ir.VectorType(ir.IntType(32), LANES)
_FLOAT = ir.VectorType(ir.FloatType(), LANES)


class Lanes:
    """LANES int64, as type checkers see them: they calculate with each other and with numbers."""

    def __add__(self, other: Lanes | int) -> Lanes:
        raise NotImplementedError

    __radd__ = __sub__ = __rsub__ = __and__ = __or__ = __xor__ = __add__
    __lshift__ = __rlshift__ = __rshift__ = __add__

    def __invert__(self) -> Lanes:
        raise NotImplementedError


class Floats:
    """LANES float32, as type checkers see them."""


class _VectorType(types.Type):
    """What numba calls them."""


_lanes = _VectorType("Lanes")
_floats = _VectorType("Floats")


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        vector = _INT64 if numba_type == _lanes else _FLOAT
        super().__init__(manager, numba_type, vector)  # type: ignore[no-untyped-call]


def _splat(builder: Any, number: Any, vector: Any) -> Any:
    """A vector of the same number in every lane."""
    one = builder.insert_element(
        ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0)
    )
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def _as_lanes(context: Any, builder: Any, value: Any, numba_type: Any) -> Any:
    if numba_type == _lanes:
        return value
    return _splat(builder, context.cast(builder, value, numba_type, types.int64), _INT64)


def _add_operator(function: Callable[..., Any], name: str) -> None:
    """Teach numba `function` of two Lanes, or of Lanes and a number."""

    def typer(context: Any) -> Any:
        def of(left: Any, right: Any) -> Any:
            kinds = [kind for kind in (left, right) if kind != _lanes]
            if len(kinds) < 2 and all(isinstance(kind, types.Integer) for kind in kinds):
                return _lanes
            return None

        return of

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right = (
            _as_lanes(context, builder, value, kind)
            for value, kind in zip(arguments, signature.args, strict=True)
        )
        return getattr(builder, name)(left, right)

    type_callable(function)(typer)
    for kinds in ((_lanes, _lanes), (_lanes, types.Integer), (types.Integer, _lanes)):
        lower_builtin(function, *kinds)(generate)  # type: ignore[no-untyped-call]


for _function, _name in (
    (operator.add, "add"),
    (operator.sub, "sub"),
    (operator.and_, "and_"),
    (operator.or_, "or_"),
    (operator.xor, "xor"),
    (operator.lshift, "shl"),
    (operator.rshift, "lshr"),
):
    _add_operator(_function, _name)


def _type_of_inverted(context: Any) -> Any:
    return lambda value: _lanes if value == _lanes else None


def _invert(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.not_(arguments[0])


type_callable(operator.invert)(_type_of_inverted)
lower_builtin(operator.invert, _lanes)(_invert)  # type: ignore[no-untyped-call]


def _vector_address(context: Any, builder: Any, array: Any, arguments: Any, vector: Any) -> Any:
    address = element_address(context, builder, array, arguments, vector.count)
    return builder.bitcast(address, vector.as_pointer())


def _require(array: Any, dtype: Any) -> None:
    require_contiguous(array)
    if array.dtype != dtype:
        raise TypingError(f"an array of {dtype} is needed, not {array}")


def _load(context: Any, array: Any, index: Any) -> Any:
    """`array.flat[index : index + LANES]` of a C-contiguous int64 array."""
    _require(array, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_vector_address(context, builder, array, arguments, _INT64), align=8)

    return _lanes(array, types.int64), generate


def _store(context: Any, array: Any, index: Any, value: Any) -> Any:
    """`array.flat[index : index + LANES] = value` of a C-contiguous int64 array."""
    _require(array, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _vector_address(context, builder, array, arguments[:2], _INT64)
        builder.store(arguments[2], address, align=8)
        return context.get_dummy_value()

    return types.void(array, types.int64, _lanes), generate


def _all_alike(context: Any, number: Any) -> Any:
    """The same number in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0], _INT64)

    return _lanes(types.int64), generate


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """A call of one of LLVM's own functions."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, name
    )
    return builder.call(function, arguments)


def _popcounts(context: Any, bits: Any) -> Any:
    """Number of ones in each."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, f"llvm.ctpop.v{LANES}i64", _INT64, arguments[0])

    return _lanes(_lanes), generate


def _leading_zero_counts(context: Any, bits: Any) -> Any:
    """Number of zeros before the highest one of each; 64 for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        defined = ir.Constant(ir.IntType(1), 0)
        return _call(builder, f"llvm.ctlz.v{LANES}i64", _INT64, arguments[0], defined)

    return _lanes(_lanes), generate


def _chooser(comparison: str) -> Callable[..., Any]:
    def choose(context: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            holds = builder.icmp_signed(comparison, *arguments)
            return builder.select(holds, *arguments)

        return _lanes(_lanes, _lanes), generate

    return choose


def _all_of(name: str) -> Callable[..., Any]:
    def reduce(context: Any, lanes: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            function = f"llvm.vector.reduce.{name}.v{LANES}i64"
            return _call(builder, function, ir.IntType(64), arguments[0])

        return types.int64(_lanes), generate

    return reduce


def _any_bits(context: Any, lanes: Any) -> Any:
    """Whether any lane is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        nonzero = builder.icmp_unsigned("!=", arguments[0], ir.Constant(_INT64, [0] * LANES))
        mask = builder.bitcast(nonzero, ir.IntType(LANES))
        return builder.icmp_unsigned("!=", mask, mask.type(0))

    return types.boolean(_lanes), generate


def _floats_alike(context: Any, number: Any) -> Any:
    """The same float32 in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0], _FLOAT)

    return _floats(types.float32), generate


def _load_floats(context: Any, array: Any, index: Any) -> Any:
    """`array.flat[index : index + LANES]` of a C-contiguous float32 array."""
    _require(array, types.float32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_vector_address(context, builder, array, arguments, _FLOAT), align=4)

    return _floats(array, types.int64), generate


def _store_floats(context: Any, array: Any, index: Any, value: Any) -> Any:
    """`array.flat[index : index + LANES] = value` of a C-contiguous float32 array."""
    _require(array, types.float32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _vector_address(context, builder, array, arguments[:2], _FLOAT)
        builder.store(arguments[2], address, align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, _floats), generate


def _times(context: Any, lanes: Any, factors: Any) -> Any:
    """Whole numbers below 2**31 as float32, each multiplied by a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = builder.sitofp(builder.trunc(arguments[0], _INT32), _FLOAT)
        return builder.fmul(arguments[1], numbers)

    return _floats(_lanes, _floats), generate


def _store_columns(
    context: Any, array: Any, index: Any, step: Any, c0: Any, c1: Any, c2: Any, c3: Any
) -> Any:
    """Four columns of LANES float32: row k goes to `array.flat[index + k * step :][:4]`."""
    _require(array, types.float32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = list(arguments[3:])
        # Two rounds of exchanging halves between rows, as transpositions go.
        for distance in (2, 1):
            for k in range(LANES):
                if not k & distance:
                    low = [j + (LANES - distance if j & distance else 0) for j in range(LANES)]
                    high = [j + (LANES if j & distance else distance) for j in range(LANES)]
                    pair = rows[k], rows[k + distance]
                    for row, picks in ((k, low), (k + distance, high)):
                        rows[row] = builder.shuffle_vector(*pair, ir.Constant(_INT32, picks))
        at = arguments[1]
        for row in rows:
            address = _vector_address(context, builder, array, (arguments[0], at), _FLOAT)
            builder.store(row, address, align=4)
            at = builder.add(at, arguments[2])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, *([_floats] * 4)), generate


def _copier(count: int) -> Callable[..., Any]:
    """Copying `count` float32 n times: `to.flat[index + k * step :][:count]` becomes
    `source.flat[start + k * stride :][:count]` for k in 0..n-1.
    """
    vector = ir.VectorType(ir.FloatType(), count)

    def copy(
        context: Any, source: Any, start: Any, stride: Any, to: Any, index: Any, step: Any, n: Any
    ) -> Any:
        _require(to, types.float32)
        _require(source, types.float32)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, start, stride, to, index, step, n = arguments
            with cgutils.for_range(builder, n) as loop:
                there_at = builder.add(start, builder.mul(loop.index, stride))
                here_at = builder.add(index, builder.mul(loop.index, step))
                kind = signature.args[0], signature.args[3]
                there = _vector_address(context, builder, kind[0], (source, there_at), vector)
                here = _vector_address(context, builder, kind[1], (to, here_at), vector)
                builder.store(builder.load(there, align=4), here, align=4)
            return context.get_dummy_value()

        i = types.int64
        return types.void(source, i, i, to, i, i, i), generate

    return copy


# Callable from kernels only. Indices are not checked unless NUMBA_BOUNDSCHECK=1 is set.
load = cast(Callable[[NDArray[Any], int], Lanes], intrinsic(_load))
store = cast(Callable[[NDArray[Any], int, Lanes], None], intrinsic(_store))
all_alike = cast(Callable[[int], Lanes], intrinsic(_all_alike))
popcounts = cast(Callable[[Lanes], Lanes], intrinsic(_popcounts))
leading_zero_counts = cast(Callable[[Lanes], Lanes], intrinsic(_leading_zero_counts))
lesser = cast(Callable[[Lanes, Lanes], Lanes], intrinsic(_chooser("<")))
greater = cast(Callable[[Lanes, Lanes], Lanes], intrinsic(_chooser(">")))
greatest_of = cast(Callable[[Lanes], int], intrinsic(_all_of("smax")))
sum_of = cast(Callable[[Lanes], int], intrinsic(_all_of("add")))
union_of = cast(Callable[[Lanes], int], intrinsic(_all_of("or")))
any_bits = cast(Callable[[Lanes], bool], intrinsic(_any_bits))
floats_alike = cast(Callable[[Any], Floats], intrinsic(_floats_alike))
load_floats = cast(Callable[[NDArray[Any], int], Floats], intrinsic(_load_floats))
store_floats = cast(Callable[[NDArray[Any], int, Floats], None], intrinsic(_store_floats))
times = cast(Callable[[Lanes, Floats], Floats], intrinsic(_times))
store_columns = cast(Callable[..., None], intrinsic(_store_columns))
# (source, start, stride, to, index, step, n)
copy_fours = cast(Callable[..., None], intrinsic(_copier(4)))
copy_eights = cast(Callable[..., None], intrinsic(_copier(8)))
