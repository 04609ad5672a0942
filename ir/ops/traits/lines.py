"""How a line of the table is written: traits, and how attributes and the opset change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Known = dict[str, Any]  # names of traits and what they are
Attributes = Callable[[str], Any]  # the value of an attribute or its default
Refine = Callable[[Attributes, int], Known]


@dataclass(frozen=True)
class Line:
    """What an operator is whatever its attributes are, and what `refine` adds for given ones."""

    known: Mapping[str, Any]
    refine: Refine | None = None


def line(refine: Refine | None = None, /, *parts: Known, **more: Any) -> Line:
    """Return the line of the traits in `parts` and `more`, later ones first."""
    merged: Known = {}
    for part in parts:
        merged |= part
    return Line(merged | more, refine)
