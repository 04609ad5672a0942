"""Sizes to change through where some grow and others shrink.

[1, 3, 64, 48]  ->  [1, 3, 192, 240]  ->  [1, 3, 48, 64]

H * W is the same on both sides, so that a Reshape of it seems to have nothing to mend. Through
sizes that are larger than both, every product and sum of sizes that change grows, and then shrinks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence

from ....ir.graph.types import Dim
from ....ir.run.feeds import is_size

_STRIDES = 32  # of strided layers together: a size keeps what it leaves


def between(
    before: Mapping[str, Sequence[Dim]], now: Mapping[str, Sequence[Dim]]
) -> dict[str, list[Dim]]:
    """Return shapes of the inputs in `now` that are larger than both; empty where none are needed.

    Sizes that are alike, before and now, are alike in between. Each is an odd multiple of what it
    was, and leaves what that does by a power of two.
    """
    axes = [
        (int(was), int(size or 0), axis)
        for name, sizes in now.items()
        for axis, (was, size) in enumerate(zip(before.get(name, ()), sizes, strict=False))
        if is_size(was) and is_size(size) and was and was != size
    ]
    if len({size > was for was, size, _ in axes}) < 2:
        return {}
    taken = {number for was, size, _ in axes for number in (was, size)}
    through: dict[tuple[Dim, Dim], int] = {}
    for was, size, axis in axes:
        if (was, size) not in through:
            through[was, size] = _larger(was, size, 1 if axis == 0 else _STRIDES, taken)
            taken.add(through[was, size])
    return {
        name: [through.get(pair, pair[1]) for pair in zip(before[name], sizes, strict=True)]
        for name, sizes in now.items()
        if name in before
    }


def _larger(was: int, size: int, strides: int, taken: Collection[int]) -> int:
    """Return a multiple of `was` over `size`, none of `taken`."""
    step = math.lcm(2, strides // math.gcd(was, strides))
    multiples = (was * factor for factor in itertools.count(1 + step, step))
    return next(many for many in multiples if many > size and many not in taken)
