"""Seeds of random choices, as people give them."""

from __future__ import annotations

import operator

from .errors import PlanishError


def require_seed(seed: object) -> None:
    """Raise PlanishError where `seed` is no whole number of 0 or more."""
    try:
        usable = operator.index(seed) >= 0  # type: ignore[arg-type]
    except TypeError:
        usable = False
    if not usable:
        raise PlanishError(f"seed is {seed!r}; give a whole number, 0 or more")
