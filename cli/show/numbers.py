"""Figures as the command line shows them."""

from __future__ import annotations


def three(value: float) -> float:
    """Return `value` with three digits, which is what a measurement is good for."""
    return float(f"{value:.3g}")


def duration(seconds: float | None) -> str:
    """Return a time in microseconds or milliseconds with three digits."""
    if seconds is None:
        return "?"
    return f"{1e6 * seconds:.3g} us" if seconds < 0.9995e-3 else f"{1e3 * seconds:.3g} ms"
