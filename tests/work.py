"""How much work a call is, as a number that neither the machine nor its other processes change."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls_in(function: Callable[[], object]) -> int:
    """Return how many functions are called, Python's and C's, while `function` runs."""
    count = 0

    def count_calls(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count_calls)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count
