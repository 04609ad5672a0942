"""How a line of the table is written: traits, and how attributes and the opset change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Known = dict[str, Any]  # names of traits and what they are


@dataclass(frozen=True)
class Refinement:
    """What `function` says of an operator at an opset with the values of `attributes`."""

    attributes: tuple[str, ...]
    function: Callable[..., Known]

    def __call__(self, opset: int, values: tuple[Any, ...]) -> Known:
        """Return the traits that differ from those of the line."""
        return self.function(opset, *values)


def refined_by(*attributes: str) -> Callable[[Callable[..., Known]], Refinement]:
    """Make a refinement of a function of the opset and of those attributes, in that order."""
    return lambda function: Refinement(attributes, function)


@dataclass(frozen=True)
class Line:
    """What an operator is, and what differs for some opsets and attributes."""

    known: Mapping[str, Any]
    refine: Refinement | None = None


def line(refine: Refinement | None = None, /, *parts: Known, **more: Any) -> Line:
    """Return the line of the traits in `parts` and `more`, the last word counting."""
    merged: Known = {}
    for part in parts:
        merged |= part
    return Line(merged | more, refine)
