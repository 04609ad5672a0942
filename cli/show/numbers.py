"""Figures as the command line shows them."""

from __future__ import annotations

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def scaled(value: float | None, unit: str = "") -> str:
    """Return a number with a metric prefix and three digits, `1.81 G`; None is a question mark."""
    if value is None:
        return "?"
    for factor, prefix in _UNITS:
        if value >= 0.9995 * factor:  # rounds to 1 with three digits
            return f"{value / factor:.3g} {prefix}{unit}".rstrip()
    return f"{value:g} {unit}".rstrip()


def three(value: float) -> float:
    """Return `value` with three digits, which is what a measurement is good for."""
    return float(f"{value:.3g}")


def duration(seconds: float | None) -> str:
    """Return a time in microseconds or milliseconds with three digits."""
    if seconds is None:
        return "?"
    return f"{1e6 * seconds:.3g} us" if seconds < 0.9995e-3 else f"{1e3 * seconds:.3g} ms"
