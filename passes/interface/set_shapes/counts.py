"""Numbers that may be sizes: how many elements there are, the last place of a row.

ReduceSum(x [1, 8, 32]) / 32,  Clip(boxes, 0, 31)  ->  at [1, 8, 64] it would be 64, and 63

No operator says of such a number where it comes from, so one that fits is refused, not followed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ....ir.ops.axes.named import normal_axes
from ....ir.ops.parameters import read_parameter
from ....ir.ops.traits import attribute, traits_of
from .site import Array, FixedSizeError, SizedSite

_MOST = 8  # elements of a list of numbers, such as (W, H, W, H)
_MANY = 16  # elements, below which a number is one of its own
_FEWEST_SUMMED = 4
_STRIDES = 32  # up to which 1 / 2^n scales boxes and scores
_BYTE = 255  # the largest, which pictures of 256 are divided by


def check_counts(site: SizedSite) -> None:
    """Raise FixedSizeError where a few numbers hold a size, of an input say, that changes."""
    traits = traits_of(site.node, site.after.opset)
    if not (traits.broadcasts or site.node.op == "Clip"):
        return
    for name, values in _numbers(site):
        for number in values.reshape(-1).tolist():
            reason = _meaning(site, number, values) if math.isfinite(number) else None
            if reason is not None:
                raise FixedSizeError(f"its operand '{name}' holds {number:g}, and {reason}")


def summed(site: SizedSite) -> frozenset[int]:
    """Return the sizes that change over which the result of `site`, or what it is of, is summed."""
    traits, pair = traits_of(site.node, site.after.opset), site.sizes()
    if pair is None:
        return frozenset()
    rank = len(pair[0])
    if traits.reduction or traits.arg_reduction:
        axes = _reduced(site, rank)
    elif traits.cumulative:
        axes = list(range(rank))
    elif site.node.op == "MatMul":
        axes = [rank - 1]
    else:
        return frozenset() if traits.weighted is not None else site.summed
    changed = [pair[0][axis] for axis in axes if pair[0][axis] != pair[1][axis]]
    return frozenset(changed) | ({math.prod(changed)} if changed else set())


def _reduced(site: SizedSite, rank: int) -> list[int]:
    if traits_of(site.node, site.after.opset).arg_reduction:
        return list(normal_axes([attribute(site.node, "axis", site.after.opset)], rank) or ())
    given = read_parameter(site.node, "axes", site.after, site.values_after).ints()
    return list(normal_axes(given or range(rank), rank) or ())


def _numbers(site: SizedSite) -> Iterator[tuple[str, Array]]:
    """Yield lists of a few numbers that no input decides, with names."""
    live = [t for t in site.node.inputs if not t.is_empty() and site.is_live(t)]
    for was, tensor in zip(site.was.inputs, site.node.inputs, strict=True):
        if not live or tensor.is_empty() or site.is_live(tensor):
            continue
        values, now = site.values_before(was), site.values_after(tensor)
        if values is None or values.dtype.kind not in "iuf" or not 0 < values.size <= _MOST:
            continue
        if now is not None and np.array_equal(values, now):  # not computed
            yield tensor.name, values
    for name in ("min", "max") if site.node.op == "Clip" else ():
        if name in site.node.attrs:
            yield name, np.array(site.node.attrs[name])


def _meaning(site: SizedSite, number: float, values: Array) -> str | None:
    """Return which size `number` may be, None where it is a number of its own."""
    scales, integer = site.node.op in ("Mul", "Div"), values.dtype.kind in "iu"
    counted = scales and 0 < abs(number) < 1
    count = 1 / abs(number) if counted else abs(number)
    near = 1e-6 if integer else max(1e-6, float(np.finfo(values.dtype).eps))

    def like(sizes: Iterable[int], fewest: int = _MANY, value: float = count) -> int:
        fitting = (n for n in sizes if n >= fewest and abs(value - n) <= near * n)
        return next(fitting, 0)

    whole = integer and (scales or site.node.op == "Mod")
    products = like(site.seen.products(1 if whole else 2), 2 if whole else _MANY)
    if size := products or like(site.summed, 1 if scales else _FEWEST_SUMMED):
        return f"{size} was a number of elements that changes"
    size = like(site.seen.given)
    if size and not (counted and values.size == 1 and size <= _STRIDES and _is_power(size)):
        return f"{size} was a size of an input that changes"
    # Powers of two scale boxes and scores in every network.
    own = [n for n in _own(site) if not _is_power(n)]
    if size := like(own) or (scales and like(own, _MANY, count * count)):
        return f"{size}, of which it is one or a root, was a size that changes"
    lasts = [*_lasts(site.seen.given), *(n for n in _lasts(_own(site)) if not _is_power(n))]
    if size := like(lasts, _MANY - 1) or like(_lasts(site.summed), _FEWEST_SUMMED):
        return f"{size + 1} was a size that changes"
    size = like(site.summed, _FEWEST_SUMMED, count * count) if scales else 0
    return f"{size} was a number of elements that changes, of which it is a root" if size else None


def _own(site: SizedSite) -> list[int]:
    """Return the sizes that change of what the inputs of `site` hold, beside their first."""
    pairs = [site.sizes(p) for p, t in enumerate(site.node.inputs) if site.is_live(t)]
    return [
        was
        for pair in pairs
        if pair is not None
        for was, now in zip(pair[0][1:], pair[1][1:], strict=True)
        if was != now
    ]


def _lasts(sizes: Iterable[int]) -> list[int]:
    """Return the last places of rows of these sizes."""
    return [size - 1 for size in sizes if size - 1 != _BYTE]


def _is_power(size: int) -> bool:
    return not size & (size - 1)
