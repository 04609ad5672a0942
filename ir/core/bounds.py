"""Bounds of numbers that people give as options."""

from __future__ import annotations

import math

from .errors import RefusedError


def require_within(option: str, value: float, least: float, most: float = math.inf) -> None:
    """Raise RefusedError where `value` is not finite or not from `least` to `most`."""
    if math.isfinite(value) and least <= value <= most:
        return
    if math.isfinite(most):
        wanted = f"a number from {least:g} to {most:g}"
    elif math.isfinite(least):
        wanted = f"a number of {least:g} or more"
    else:
        wanted = "a finite number"
    raise RefusedError(f"{option} is {value:g}; give {wanted}")
