"""What a meaning is, and the function that those of each kind of kernel are registered with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from ...spec.layout import Array
from ..draw import Draw


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """The values before the epilogue [N, C, D, H, W], of which rounding may move `accuracy`.

    `accuracy` is a part of their range. `factor`: what the epilogue's first product is to be about.
    """

    value: Array
    accuracy: float = 5e-6
    factor: float = 1.0


@singledispatch
def meaning_of(op: Any, draw: Draw) -> Meaning:
    """Draw the operands of the kernel of `op` but for its epilogue's, and compute its values."""
    raise NotImplementedError(f"{type(op).__name__} has no meaning")


def has_meaning(op: Any) -> bool:
    """Say whether there is one for descriptions like `op`."""
    return meaning_of.dispatch(type(op)) is not meaning_of.dispatch(object)
