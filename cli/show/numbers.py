"""Figures as the command line shows them."""

from __future__ import annotations

from collections.abc import Sequence


def three(value: float) -> float:
    """Return `value` with three digits, which is what a measurement is good for."""
    return float(f"{value:.3g}")


def duration(seconds: float | None) -> str:
    """Return a time with three digits, in its unit: `12.3 us`, `4.56 ms`, `7.8 s`, `9 min 1 s`."""
    if seconds is None:
        return "?"
    if seconds < 0.9995e-3:
        return f"{1e6 * seconds:.3g} us"
    if seconds < 0.9995:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def latency(seconds: float) -> str:
    """Return a time that is compared with others: in ms with three decimals, up to a second."""
    return f"{1e3 * seconds:.3f} ms" if abs(seconds) < 0.9995 else f"{seconds:.4g} s"


def shape_of(shape: Sequence[int | str | None] | None) -> str:
    """Write a shape, `1 x 3 x ? x batch`; "" where there is none, `scalar` of no axes."""
    if shape is None:
        return ""
    return " x ".join("?" if size is None else str(size) for size in shape) or "scalar"
