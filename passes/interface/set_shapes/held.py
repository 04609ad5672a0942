"""Operators that are told how many: a depth, the rounds of a loop, lengths, the sizes of a pad.

OneHot(ArgMax(x [1, 32], axis 1), depth 32)  ->  at [1, 64] a depth of 64

Such a number may also be one to keep, so it is refused where it was a size that changes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....ir.ops.axes.named import normal_axes
from ....ir.ops.parameters import LISTS_OF_SIZES, read_parameter
from ....ir.ops.traits import traits_of
from .site import Array, FixedSizeError, SizedSite

_MANY = 16  # elements, below which a number is one of its own
_LARGEST_HALO = 15  # on each side, of a kernel of 31


def check_held(site: SizedSite) -> None:
    """Raise FixedSizeError where `site` is told a number that was a size which changes."""
    check = _CHECKS.get(site.node.op)
    if check is not None:
        check(site)
    if traits_of(site.node, site.after.opset).recurrent:
        _check_lengths(site)
    if site.node.op in LISTS_OF_SIZES:
        _check_unknown(site)


def _fixed(site: SizedSite, position: int) -> Array | None:
    """Return the integers of an input that no size decides; None where they are not known."""
    if position >= len(site.node.inputs) or site.node.inputs[position].is_empty():
        return None
    tensor = site.node.inputs[position]
    was, now = site.values_before(site.was.inputs[position]), site.values_after(tensor)
    fixed = was is not None and now is not None and np.array_equal(was, now)
    return was if fixed and not site.is_live(tensor) else None


def _check_depth(site: SizedSite) -> None:
    for depth in _each(_fixed(site, 1)):
        if depth in site.summed or (depth >= _MANY and site.seen.holds(depth, 1)):
            raise FixedSizeError(f"its depth is {depth}, which was a size that changes")


def _check_rounds(site: SizedSite) -> None:
    for count in _each(_fixed(site, 0)):
        if count > 1 and site.seen.holds(count, 1):
            raise FixedSizeError(f"it runs {count} times, which was a size that changes")


def _check_boxes(site: SizedSite) -> None:
    pair = site.sizes()
    for count in _each(_fixed(site, 2)):
        if pair is not None and pair[0][1] == count != pair[1][1]:
            raise FixedSizeError(
                f"it keeps all {count} boxes, which become {pair[1][1]}, or as many as there were"
            )


def _check_lengths(site: SizedSite) -> None:
    """A sequence is [length, batch, inputs], or [batch, length, inputs]."""
    pair, axis = site.sizes(), 1 if site.node.attrs.get("layout", 0) else 0
    lengths = _each(_fixed(site, 4))
    if pair is not None and pair[0][axis] != pair[1][axis] and pair[0][axis] in lengths:
        raise FixedSizeError(
            f"its lengths '{site.node.inputs[4].name}' are {pair[0][axis]}, that of all sequences, "
            f"which becomes {pair[1][axis]}"
        )


def _check_pads(site: SizedSite) -> None:
    """Refuse pads up to a round size: those behind alone, and those that are no kernel's."""
    pair, asked = site.sizes(), site.asked("pads")
    if pair is None or asked is None or asked[0] != asked[1]:
        return
    half = len(asked[0]) // 2
    axes = read_parameter(site.node, "axes", site.after, site.values_after).ints()
    places = normal_axes(range(half) if axes is None else axes, len(pair[0])) or ()
    for axis, front, behind in zip(places, asked[0][:half], asked[0][half:], strict=False):
        was, now = pair[0][axis], pair[1][axis]
        fills = (front == 0 and behind > 1) or min(front, behind) > _LARGEST_HALO
        if was != now and fills and (was + front + behind) % 8 == 0:
            raise FixedSizeError(
                f"it pads {was}, which becomes {now}, to {was + front + behind} on axis {axis}; "
                "whether that is a size to keep does not follow"
            )


def _check_unknown(site: SizedSite) -> None:
    """Refuse a list with a size that changes where the sizes that it is for are not known."""
    asked = site.asked(LISTS_OF_SIZES[site.node.op])
    if asked is None or asked[0] != asked[1] or not site.is_live(site.node.inputs[0]):
        return
    if site.sizes() is None:
        for axis, size in enumerate(asked[0]):
            # The ends of a Slice are those of any axis.
            place = None if site.node.op == "Slice" else axis
            if size >= _MANY and site.seen.changes(size, place, len(asked[0])):
                raise FixedSizeError(
                    f"it holds {size}, which was a size that changes, and what it is given has "
                    "sizes that are not known"
                )


def _each(values: Array | None) -> list[int]:
    return [] if values is None else [int(value) for value in values.reshape(-1)]


_CHECKS: dict[str, Callable[[SizedSite], None]] = {
    "OneHot": _check_depth,
    "Loop": _check_rounds,
    "NonMaxSuppression": _check_boxes,
    "Pad": _check_pads,
}
