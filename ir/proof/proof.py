"""What is shown of a window, in a word and in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .axes.open_sizes import Look

Claim = Literal["exact", "identity", "rounding", "jump"]
CLAIMS: tuple[Claim, ...] = ("exact", "identity", "rounding", "jump")  # what says most comes first

SizesShown = Literal["given", "all", "tried"]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was shown of a window.

    `claim`: "exact", equal to the last bit for all inputs; "identity", the same function in exact
    arithmetic, of finite inputs; "rounding", the same up to what folded constants were rounded;
    "jump", the same, but rounding moves what a function jumps on, so that a result may be another.
    `difference`: how far the two are apart at random points, as a part of their size; `units`: the
    same in rounding units of the constants' type. `evaluated`: how far they are apart where each
    result is rounded to its own type, in rounding units of the least precise of these; 0 where that
    was not looked at: of what is exact, and of layers, whose sums are long, without large
    constants. `sizes`: whether that holds of the sizes that are "given", of "all" sizes that are
    open, or was "tried" at some; `looks`: at how many, of which `look` is the first.
    """

    claim: Claim
    difference: float
    units: float
    evaluated: float = 0.0
    sizes: SizesShown = "given"
    looks: int = 1
    look: Look | None = field(default=None, repr=False, compare=False)


class NotProvedError(Exception):
    """Why a window was not shown to be right."""
