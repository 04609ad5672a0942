"""Times as people read them."""

from __future__ import annotations


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
