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

from .splits import FIRST, LAST, ONES, Parts, Split

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
    parts: Parts | None = None,
) -> list[int] | None:
    """Return what `after`, the reshape of `before`, is of `now`; None where one example is mute.

    `become` says what sizes on an axis have become elsewhere; `rest` is the axis that takes what
    the others leave. `parts`: which part of a size that is split in two stays, where nothing else
    says so.
    """
    if 0 in before or 0 in after:
        return None
    groups = _groups(before, after)
    if groups is None:
        return None
    ones = _ones(before, after, groups)
    _absorb(ones, groups, rest)
    _take_in_windows(ones, groups, before, now)
    found, filled, kept = list(after), set[int](), set[int]()
    for group in (*groups, *ones):
        if all(before[axis] == now[axis] for axis in group.before):
            continue
        if len(group.after) == 1:
            made = {group.after[0]: math.prod(now[axis] for axis in group.before)}
            if len(group.before) == 1 and group not in ones:
                window = _of_windows(group, (before, after, now), parts)
                (filled if window else kept).add(after[group.after[0]])
                made |= window
            for axis, size in made.items():
                found[axis] = size
        elif group in ones:
            grown = _of_ones([now[axis] for axis in group.before], len(group.after), parts)
            if grown is None:
                return None
            for axis, size in zip(group.after, grown, strict=True):
                found[axis] = size
        elif (apart := _taken_apart(group, (before, after, now), become, parts)) is not None:
            for axis, part in apart.items():
                found[axis] = part
        else:
            return None
    # What is kept may be a window as well, with their number in another axis.
    return None if filled & kept else found


def _of_ones(now: Sequence[int], count: int, parts: Parts | None) -> Sequence[int] | None:
    """Return what `count` axes of one are now, of those that were one; None where that is open."""
    if len(now) == count:
        return now
    if len(now) != 1 or count != 2 or parts is None:
        return None
    place = parts.of(ONES)
    return None if place is None else [now[0], 1] if place == FIRST else [1, now[0]]


def _take_in_windows(
    ones: Sequence[_AxisGroup], groups: Sequence[_AxisGroup], before: Sizes, now: Sizes
) -> None:
    """Count axes of one to the windows beside them: [1, 7, 1, 7] that becomes [2, 7, 2, 7]."""

    def grows(axis: int) -> bool:
        return before[axis] == 1 != now[axis]

    for place, group in enumerate(groups):
        if any(grows(axis) for axis in group.before):
            first, last = ones[place], ones[place + 1]
            if first.before and grows(first.before[-1]):
                group.before.insert(0, first.before.pop())
            elif last.before and grows(last.before[0]):
                group.before.append(last.before.pop(0))
    # Those without a place of their own are all in front of their windows, or all behind them.
    more = [len(one.before) - len(one.after) if any(map(grows, one.before)) else 0 for one in ones]
    for place, group in enumerate(groups if sum(count > 0 for count in more) > 1 else ()):
        if more[-1] > 0 and (count := max(more[place + 1], 0)):
            group.before += ones[place + 1].before[:count]
            del ones[place + 1].before[:count]
        elif more[-1] <= 0 and (count := max(more[place], 0)):
            group.before[:0] = ones[place].before[-count:]
            del ones[place].before[-count:]


def _absorb(ones: Sequence[_AxisGroup], groups: Sequence[_AxisGroup], rest: int | None) -> None:
    """Count axes of one that have no place of their own to the axis that takes the rest."""
    for place, alone in enumerate(ones):
        for group in groups[max(place - 1, 0) : place + 1]:
            if alone.before and not alone.after and rest in group.after:
                group.before, alone.before = sorted((*group.before, *alone.before)), []


def _taken_apart(
    group: _AxisGroup, sizes: tuple[Sizes, Sizes, Sizes], become: Become, parts: Parts | None
) -> dict[int, int] | None:
    """Return the sizes of the axes behind a group of which several are made, None where unknown.

    [16, 16, 10] -> [512, 5]:  5 is a part of the 10, which stays, and 512 = 16 * 16 * 2. What is
    left must be what those sizes have become elsewhere, in one way only; else one of two stays.
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
    fitting = [sizes for sizes in itertools.product(*known) if math.prod(sizes) == size]
    split = _split(left, after[axes[FIRST]], after[axes[LAST]]) if len(axes) == 2 else None
    if len(fitting) == 1:
        same = [place for place in (FIRST, LAST) if fitting[0][place] == after[axes[place]]]
        if split is not None and parts is not None and len(same) == 1:
            parts.seen.setdefault(split, same[0])
        return found | dict(zip(axes, fitting[0], strict=True))
    if fitting or parts is None or split is None:
        return None
    stays = parts.of(split)
    for place in () if stays is None else (stays, -1 - stays):
        kept, other = axes[place], axes[-1 - place]
        if size % after[kept] == 0:
            return found | {kept: after[kept], other: size // after[kept]}
    return None


def _split(left: Sequence[tuple[int, int]], first: int, last: int) -> Split:
    """Return a split without the sizes around it that stay: 32 = 16 * 2 of 64 * 32 = 1024 * 2."""
    for was, now in left:
        if was != now or first % was:
            break
        first //= was
    for was, now in left[::-1]:
        if was != now or last % was:
            break
        last //= was
    return Split(first, last)


def _of_windows(
    group: _AxisGroup, sizes: tuple[Sizes, Sizes, Sizes], parts: Parts | None
) -> dict[int, int]:
    """Return the sizes of an axis that one window fills, and of their number, a one beside it."""
    before, after, now = sizes
    axis, other = group.after[0], group.before[0]
    size = after[axis]
    for side, split in ((-1, Split(1, size, True)), (1, Split(size, 1, True))):
        added = _count_ones(after, axis, side) > _count_ones(before, other, side)
        stays = parts.of(split) if added and parts is not None else None
        if stays is not None and split.part(stays) == size and now[other] % size == 0:
            return {axis: size, axis + side: now[other] // size}
    return {}


def _count_ones(sizes: Sizes, axis: int, step: int) -> int:
    """Count the axes of one beside `axis`, before it (-1) or behind it (1)."""
    beside = sizes[axis + 1 :] if step > 0 else sizes[:axis][::-1]
    return len(list(itertools.takewhile(lambda size: size == 1, beside)))


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
