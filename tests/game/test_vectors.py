"""Vectors of four numbers do what numpy does, lane by lane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mltetris_server.game.compiling import kernel
from mltetris_server.game.vectors import (
    LANES,
    all_alike,
    any_bits,
    copy_eights,
    copy_fours,
    floats_alike,
    greater,
    greatest_of,
    leading_zero_counts,
    lesser,
    load,
    load_floats,
    popcounts,
    store,
    store_columns,
    store_floats,
    sum_of,
    times,
    union_of,
)
from numpy.typing import NDArray


@kernel
def _calculate(a: Any, b: Any, number: int, out: Any) -> None:
    x, y = load(a, 0), load(b, 0)
    few = y & 31
    store(out, 0 * LANES, x + y)
    store(out, 1 * LANES, x - y)
    store(out, 2 * LANES, x & y)
    store(out, 3 * LANES, x | y)
    store(out, 4 * LANES, x ^ y)
    store(out, 5 * LANES, x << few)
    store(out, 6 * LANES, x >> few)
    store(out, 7 * LANES, x + number)
    store(out, 8 * LANES, number - x)
    store(out, 9 * LANES, number & x)
    store(out, 10 * LANES, x | number)
    store(out, 11 * LANES, number ^ x)
    store(out, 12 * LANES, 1 << few)
    store(out, 13 * LANES, ~x)
    store(out, 14 * LANES, popcounts(x))
    store(out, 15 * LANES, leading_zero_counts(x))
    store(out, 16 * LANES, greater(x, y))
    store(out, 17 * LANES, lesser(x, y))
    store(out, 18 * LANES, all_alike(number))


def test_whole_numbers() -> None:
    rng = np.random.default_rng(1)
    out = np.empty((19, LANES), np.int64)
    for _ in range(50):
        a, b = rng.integers(-(2**63), 2**63 - 1, (2, LANES)) >> rng.integers(0, 63, (2, LANES))
        number = int(rng.integers(-1000, 1000))
        _calculate(a, b, number, out)
        few = b & 31
        bits = [f"{int(value) % 2**64:b}" for value in a]
        expected = [
            *(a + b, a - b, a & b, a | b, a ^ b, a << few),
            (a.view(np.uint64) >> few.view(np.uint64)).view(np.int64),
            *(a + number, number - a, a & number, a | number, a ^ number, 1 << few, ~a),
            np.array([text.count("1") for text in bits]),
            np.array([64 - len(text) if text != "0" else 64 for text in bits]),
            *(np.maximum(a, b), np.minimum(a, b), np.full(LANES, number)),
        ]
        np.testing.assert_array_equal(out, expected)


@kernel
def _reduce(a: Any) -> tuple[int, int, int, bool]:
    x = load(a, 1)
    return sum_of(x), union_of(x), greatest_of(x), any_bits(x)


def test_all_lanes_together() -> None:
    a = np.array([99, -3, 8, 1, 64, 99], np.int64)
    assert _reduce(a) == (70, -3 | 8 | 1 | 64, 64, True)
    a[1:5] = 0
    assert _reduce(a) == (0, 0, 0, False)
    for lane in range(LANES):
        a[1:5] = 0
        a[1 + lane] = 1 << 40
        assert _reduce(a)[3]


@kernel
def _scale(a: Any, factors: Any, factor: np.float32, out: Any) -> None:
    store_floats(out, 0, times(load(a, 0), load_floats(factors, 2)))
    store_floats(out, LANES, times(load(a, 0), floats_alike(factor)))


def test_float32_products_are_rounded_as_alone() -> None:
    rng = np.random.default_rng(2)
    out = np.empty((2, LANES), np.float32)
    for _ in range(50):
        a = rng.integers(0, 2**24, LANES)
        factors = rng.random(LANES + 2).astype(np.float32)
        _scale(a, factors, factors[0], out)
        np.testing.assert_array_equal(out[0], a.astype(np.float32) * factors[2:])
        np.testing.assert_array_equal(out[1], a.astype(np.float32) * factors[0])


@kernel
def _write(source: Any, to: Any, index: int, step: int) -> None:
    store_columns(
        to,
        index,
        step,
        load_floats(source, 0),
        load_floats(source, 4),
        load_floats(source, 8),
        load_floats(source, 12),
    )


@pytest.mark.parametrize("step", [4, 7])
def test_columns_become_rows(step: int) -> None:
    columns = np.arange(16, dtype=np.float32).reshape(4, LANES)
    to = np.full(40, -1, np.float32)
    _write(columns, to, 3, step)
    expected = np.full(40, -1, np.float32)
    for k in range(LANES):
        expected[3 + k * step :][:4] = columns[:, k]
    np.testing.assert_array_equal(to, expected)


@kernel
def _copy(source: Any, start: int, stride: int, to: Any, index: int, step: int, n: int) -> None:
    copy_fours(source, start, stride, to, index, step, n)


@kernel
def _copy_more(
    source: Any, start: int, stride: int, to: Any, index: int, step: int, n: int
) -> None:
    copy_eights(source, start, stride, to, index, step, n)


@pytest.mark.parametrize(("copy", "count"), [(_copy, 4), (_copy_more, 8)])
@pytest.mark.parametrize(("stride", "step", "n"), [(0, 9, 3), (8, 8, 4), (3, 11, 1), (5, 5, 0)])
def test_copies(copy: Any, count: int, stride: int, step: int, n: int) -> None:
    source = np.arange(60, dtype=np.float32)
    to: NDArray[np.float32] = np.zeros(60, np.float32)
    copy(source, 2, stride, to, 4, step, n)
    expected = np.zeros(60, np.float32)
    for k in range(n):
        expected[4 + k * step :][:count] = source[2 + k * stride :][:count]
    np.testing.assert_array_equal(to, expected)


def test_only_lanes_and_whole_numbers_go_together() -> None:
    @kernel
    def add(a: Any) -> None:
        store(a, 0, load(a, 0) + 1.5)

    with pytest.raises(Exception, match="add"):
        add(np.zeros(4, np.int64))
