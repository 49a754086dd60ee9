"""Numbers and times as people read them."""

from __future__ import annotations

import math


def count(value: float) -> str:
    """1234567 as ``1,234,567``."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """A number in at most five characters or so: ``138k``, ``1.2M``, ``950``, ``3.5``."""
    if not math.isfinite(value):
        return "-"
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            scaled = value / size
            return f"{scaled:.0f}{unit}" if abs(scaled) >= 99.5 else f"{scaled:.3g}{unit}"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 99.5 else f"{value:.3g}"


def lines(value: float) -> str:
    """A mean of lines: two digits behind the point while there is little to say."""
    return count(value) if abs(value) >= 100 else f"{value:.1f}"


def small(value: float) -> str:
    """A rate such as a loss or a learning rate: three significant digits."""
    if value == 0:
        return "0"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1e}"


def span(seconds: float) -> str:
    """A time: ``8 s``, ``3 min 05 s``, ``2 h 10 min``, ``4 d 3 h``."""
    if not math.isfinite(seconds) or seconds < 0:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def size(value: float) -> str:
    """Bytes: ``12 KB``, ``3.4 MB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")
