"""Numbers with a metric prefix."""

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
