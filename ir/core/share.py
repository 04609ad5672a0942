"""Shares as people write them."""

from __future__ import annotations

import math

from .errors import PipelineError


def share(text: str, option: str) -> float:
    """Return the part of 1 that `1%` or `0.01` is; raises PipelineError where it is neither."""
    number, percent, rest = text.strip().partition("%")
    try:
        found = float(number) / (100 if percent else 1)
    except ValueError:
        rest = text
    if rest or not math.isfinite(found):
        raise PipelineError(f"{option} is '{text}'; give a percentage or a part of 1, `1%` or 0.01")
    return found
