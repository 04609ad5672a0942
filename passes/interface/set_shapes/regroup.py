"""Which sizes of a reshape are made of which, read from one example.

[10, 512, 7, 7] -> [10, 25088]:   10 = 10   |   25088 = 512 * 7 * 7

The elements keep their order, so sizes of both sides whose products agree belong together. A size
that stands alone on its side is the product of the others, at every size. One that is split
(196 = 14 * 14) is known as long as it does not change.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Sizes = Sequence[int]
Follow = Callable[[int, int], int | None]


@dataclass
class _AxisGroup:
    """Axes before and after that hold the same elements."""

    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)


def regrouped(
    before: Sizes, after: Sizes, now: Sizes, follow: Follow = lambda axis, size: None
) -> list[int] | None:
    """Return what `after`, the reshape of `before`, is of `now`; None where one example is mute.

    `follow` says what a size on an axis has become elsewhere, None where that is not known.
    """
    if 0 in before or 0 in after:
        return None
    groups = _groups(before, after)
    if groups is None:
        return None
    found = list(after)
    ones = _ones(before, after, groups)
    for group in (*groups, *ones):
        if all(before[axis] == now[axis] for axis in group.before):
            continue
        size = math.prod(now[axis] for axis in group.before)
        if len(group.after) == 1:
            found[group.after[0]] = size
        elif len(group.after) == len(group.before) and group in ones:
            for axis, other in zip(group.after, group.before, strict=True):
                found[axis] = now[other]
        elif (parts := _split(group, after, size, follow)) is not None:
            for axis, part in zip(group.after, parts, strict=True):
                found[axis] = part
        else:
            return None
    return found


def _split(group: _AxisGroup, after: Sizes, size: int, follow: Follow) -> list[int] | None:
    """Return the sizes of which `size` is the product, where they are known from elsewhere.

    Batches that were taken apart are told by their number alone.
    """
    parts = [follow(axis, after[axis]) for axis in group.after]
    if len(parts) == 2 and group.after[0] == 0 and parts[0] and size % parts[0] == 0:
        parts[1] = parts[1] or size // parts[0]
    sizes = [part for part in parts if part is not None]
    return sizes if len(sizes) == len(parts) > 0 and math.prod(sizes) == size else None


def _groups(before: Sizes, after: Sizes) -> list[_AxisGroup] | None:
    """Return the smallest runs of axes over one that hold the same number of elements."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    found: list[_AxisGroup] = []
    while left or right:
        if not left or not right:
            return None
        group = _AxisGroup([left.pop(0)], [right.pop(0)])
        while (a := _product(before, group.before)) != (b := _product(after, group.after)):
            side, rest = (group.before, left) if a < b else (group.after, right)
            if not rest:
                return None
            side.append(rest.pop(0))
        found.append(group)
    for group in found:  # with the ones that stand between
        group.before = list(range(group.before[0], group.before[-1] + 1))
        group.after = [axis for axis in group.after if after[axis] != 1]
    return found


def _ones(before: Sizes, after: Sizes, groups: Sequence[_AxisGroup]) -> list[_AxisGroup]:
    """Return the axes of size one between the groups, before the first and behind the last."""
    ends = [_AxisGroup([-1], [-1]), *groups, _AxisGroup([len(before)], [len(after)])]
    return [
        _AxisGroup(_between(first.before, last.before), _between(first.after, last.after))
        for first, last in itertools.pairwise(ends)
    ]


def _between(first: Sequence[int], last: Sequence[int]) -> list[int]:
    return list(range(first[-1] + 1, last[0]))


def _product(sizes: Sizes, axes: Sequence[int]) -> int:
    return math.prod(sizes[axis] for axis in axes)
