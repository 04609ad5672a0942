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
Become = Callable[[int, int], frozenset[int]]


@dataclass
class _AxisGroup:
    """Axes before and after that hold the same elements."""

    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)


def regrouped(
    before: Sizes,
    after: Sizes,
    now: Sizes,
    become: Become = lambda axis, size: frozenset(),
    rest: int | None = None,
    stays: int | None = None,
) -> list[int] | None:
    """Return what `after`, the reshape of `before`, is of `now`; None where one example is mute.

    `become` says what sizes on an axis have become elsewhere; `rest` is the axis that takes what
    the others leave. `stays`: which part of a size that is split in two stays, where nothing else
    says so: 0 for the first, -1 for the last.
    """
    if 0 in before or 0 in after:
        return None
    groups = _groups(before, after)
    if groups is None:
        return None
    ones = _ones(before, after, groups)
    _absorb(ones, groups, rest)
    found = list(after)
    for group in (*groups, *ones):
        if all(before[axis] == now[axis] for axis in group.before):
            continue
        if len(group.after) == 1:
            found[group.after[0]] = math.prod(now[axis] for axis in group.before)
        elif group in ones:
            if len(group.after) != len(group.before):
                return None
            for axis, other in zip(group.after, group.before, strict=True):
                found[axis] = now[other]
        elif (parts := _taken_apart(group, (before, after, now), become, stays)) is not None:
            for axis, part in parts.items():
                found[axis] = part
        else:
            return None
    return found


def _absorb(ones: Sequence[_AxisGroup], groups: Sequence[_AxisGroup], rest: int | None) -> None:
    """Count axes of one that have no place of their own to the axis that takes the rest."""
    for place, alone in enumerate(ones):
        for group in groups[max(place - 1, 0) : place + 1]:
            if alone.before and not alone.after and rest in group.after:
                group.before, alone.before = sorted((*group.before, *alone.before)), []


def _taken_apart(
    group: _AxisGroup, sizes: tuple[Sizes, Sizes, Sizes], become: Become, stays: int | None
) -> dict[int, int] | None:
    """Return the sizes of the axes behind a group of which several are made, None where unknown.

    [16, 16, 10] -> [512, 5]:  5 is a part of the 10, which stays, and 512 = 16 * 16 * 2. What is
    left must be what those sizes have become elsewhere, in one way only.
    """
    before, after, now = sizes
    left = [
        (before[axis], now[axis]) for axis in group.before if (before[axis], now[axis]) != (1, 1)
    ]
    axes, found = list(group.after), {}
    for end in (-1, 0):
        while len(axes) > 1 and left and _divide(left, end, after[axes[end]]):
            axis = axes.pop(end)
            found[axis] = after[axis]
    size = math.prod(pair[1] for pair in left)
    if len(axes) == 1:
        return found | {axes[0]: size}
    known = [become(axis, after[axis]) for axis in axes]
    # Batches that were taken apart are told by their number alone.
    if len(axes) == 2 and axes[0] == 0 and len(known[0]) == 1 and not known[1]:
        known[1] = frozenset(
            {size // number for number in known[0] if number and not size % number}
        )
    fitting = [parts for parts in itertools.product(*known) if math.prod(parts) == size]
    if len(fitting) == 1:
        return found | dict(zip(axes, fitting[0], strict=True))
    if fitting or stays is None or len(axes) != 2 or size % after[axes[stays]]:
        return None
    kept, other = axes[stays], axes[-1 - stays]
    return found | {kept: after[kept], other: size // after[kept]}


def _divide(left: list[tuple[int, int]], end: int, part: int) -> bool:
    """Take `part` out of the sizes at one end of `left` that stay, where it is a part of them."""
    taken = list(left)
    while part > 1 and taken and taken[end][0] == taken[end][1]:
        common = math.gcd(part, taken[end][0])
        if common == taken[end][0]:
            taken.pop(end)
        elif common == part:
            taken[end] = (taken[end][0] // part,) * 2
        else:
            return False
        part //= common
    if part > 1:
        return False
    left[:] = taken
    return True


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
