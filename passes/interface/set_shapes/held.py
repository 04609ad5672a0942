"""Operators that are told how many: a depth, the rounds of a loop, lengths, the sizes of a pad.

OneHot(ArgMax(x [1, 32], axis 1), depth 32)  ->  at [1, 64] a depth of 64

Such a number may also be one to keep, so it is refused where it was a size that changes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.ops.axes.named import normal_axes
from ....ir.ops.parameters import LISTS_OF_SIZES, read_parameter
from ....ir.ops.traits import traits_of
from .seen import Sizes, known
from .site import Array, FixedSizeError, SizedSite

_MANY = 16  # elements, below which a number is one of its own
_LARGEST_HALO = 15  # on each side, of a kernel of 31
_SMALL_HALO = 3
_MULTIPLES = (7, 8, 10, 12)  # of which rows are made: windows, strides


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
        if depth in {one.was for one in site.summed if one.changes} or (
            depth >= _MANY and site.seen.holds(depth, 1)
        ):
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
    """Refuse pads that may make a row of a round size, of that of another, or of a part of it."""
    pair, asked = site.sizes(), site.asked("pads")
    if pair is None or asked is None or asked[0] != asked[1]:
        return
    half = len(asked[0]) // 2
    axes = read_parameter(site.node, "axes", site.after, site.values_after).ints()
    places = normal_axes(range(half) if axes is None else axes, len(pair[0])) or ()
    if not any(asked[0]) and not _is_of_patches(site):
        _check_no_pads(*pair)
    for axis, front, behind in zip(places, asked[0][:half], asked[0][half:], strict=False):
        was, now = pair[0][axis], pair[1][axis]
        fills = was != now and (front or behind) and _fills(site, was, now, front, behind)
        odd = behind - front == 1 and (was - now) % 2 == 1
        if fills and (odd or not _is_halo(site, axis, front + behind)):
            raise FixedSizeError(
                f"it pads {was}, which becomes {now}, to {was + front + behind} on axis {axis}; "
                "whether that is a size to keep does not follow"
            )


def _is_of_patches(site: SizedSite) -> bool:
    """Say whether patches are taken of what a Pad gives: exporters pad it with nothing too."""
    readers = site.after.readers(site.node.outputs[0])
    return bool(readers) and all(
        node.op == "Gather" and site.after.rank(node.inputs[1]) == 2 for node in readers
    )


def _check_no_pads(before: Sizes, now: Sizes) -> None:
    """Refuse a Pad that adds nothing, as where a row is of a round size or square already.

    Rows and columns that become as many times as large, both, stay so: the last two axes, or those
    before channels that come last.
    """
    quotients = [size / was if was else 1.0 for was, size in zip(before, now, strict=True)]
    rows, others = quotients[-2:], quotients[1:-2]
    if len(before) > 3 and quotients[-1] == 1:
        rows, others = quotients[-3:-1], quotients[1:-3]
    grown = len(set(rows)) == 1 and rows[0].is_integer() and all(one == 1 for one in others)
    if before != now and not grown:
        raise FixedSizeError(
            f"it pads {list(before)} with nothing; whether {list(now)} is to be padded, to a round "
            "size or a square, does not follow"
        )


def _fills(site: SizedSite, size: int, now: int, front: int, behind: int) -> bool:
    """Say whether pads may be computed from the size that they fill up."""
    whole, most = size + front + behind, max(abs(front), abs(behind))
    if min(front, behind) < 0:
        return most > 1
    if front == behind and most <= _SMALL_HALO:
        return False
    if (front, behind) == (1, 0):
        return False  # a place for a class token, or to shift a row by
    if most in (size, size - 1, size // 2) or whole in {one.was for one in site.seen.changed}:
        return True
    if front == behind:
        return whole % (8 if most > _LARGEST_HALO else 16) == 0
    # One more behind makes odd rows even, or fits windows that step over them.
    one_more = behind - front == 1 and (size - now) % 2 == 1
    return one_more or any(whole % many == 0 and whole > many for many in _MULTIPLES)


def _is_halo(site: SizedSite, axis: int, total: int) -> bool:
    """Say whether the windows of all that read a Pad are as wide as what it adds, and one more."""
    readers = site.after.readers(site.node.outputs[0])
    return bool(readers) and all(_fits(total, site, node, axis) for node in readers)


def _fits(total: int, site: SizedSite, node: gs.Node, axis: int) -> bool:
    span, steps = _span(site, node, axis), node.attrs.get("strides") or ()
    step = steps[axis - 2] if 2 <= axis < 2 + len(steps) else 1
    return span - step <= total < span and total > 0


def _span(site: SizedSite, node: gs.Node, axis: int) -> int:
    weight = traits_of(node, site.after.opset).weighted
    shape = known(site.after.shape(node.inputs[1])) if weight and len(node.inputs) > 1 else None
    kernel = node.attrs.get("kernel_shape") or (shape or ())[2:]
    if not kernel or not 2 <= axis < 2 + len(kernel):
        return 0
    dilations = node.attrs.get("dilations") or [1] * len(kernel)
    return int((kernel[axis - 2] - 1) * dilations[axis - 2] + 1)


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
