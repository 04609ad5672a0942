"""What is known of the values of a tensor from the operator that makes it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.graph.view import View
from ...ir.ops.clips import Range, clip_bounds, limits
from ...ir.ops.traits import NOTHING, Traits, traits_of
from ...ir.ops.windows.seen import sees_input

_ALL: Range = (-math.inf, math.inf)
_FARTHEST = 8
_MOST_PRODUCERS = 16


def value_range(tensor: gs.Tensor, view: View) -> Range:
    """Return bounds of the elements of `tensor`; NaN is never excluded."""
    dtype = view.dtype(tensor)
    low, high = _made_range(tensor, view)
    if dtype is not None and dtype.kind in "iu":
        least, largest = limits(dtype)
        return max(low, least), min(high, largest)
    return low, high


def is_nonnegative(tensor: gs.Tensor, view: View) -> bool:
    """Say whether no element of `tensor` can be negative, as far as a few producers show.

    Where zeros have signs that is not known: -0.0 is what a range that begins at zero has too.
    """
    if view.signed_zeros and dtypes.is_float(view.dtype(tensor)):
        return False
    pending, looked_at = [tensor], 0
    while pending:
        current = pending.pop()
        looked_at += 1
        if looked_at > _MOST_PRODUCERS:
            return False
        if value_range(current, view)[0] >= 0:
            continue
        node = view.producer(current)
        traits = _traits_of(node, current, view)
        if node is None or not traits.keeps_nonnegative:
            return False
        pending.extend(node.inputs[position] for position in traits.data_of(len(node.inputs)))
    return True


def _traits_of(node: gs.Node | None, tensor: gs.Tensor, view: View) -> Traits:
    """Return what is known of the producer that says something about the values of `tensor`.

    That is nothing of integers that may have wrapped around, of further outputs, and of what may
    be infinite for a window without an element.
    """
    if node is None:
        return NOTHING
    traits = traits_of(node, view.opset)
    if traits.integers.may_overflow and not dtypes.is_float(view.dtype(tensor)):
        return NOTHING
    if tensor is not node.outputs[0] and traits.moved_outputs is not None:
        return NOTHING  # the indices of a MaxPool
    if traits.of_nothing is not None and math.isinf(traits.of_nothing):
        return traits if sees_input(node, view) else NOTHING
    return traits


def _made_range(tensor: gs.Tensor, view: View) -> Range:
    """Return the range that an operator gives, through others that move or keep the sign of it.

    A mean lies between the least and the largest element only up to rounding, and Dropout in
    training scales: their sign is sure.
    """
    whole, sure = True, [True, True]  # whether its signs are, of either kind
    for _ in range(_FARTHEST):
        node = view.producer(tensor)
        traits = _traits_of(node, tensor, view)
        if node is None:
            return _ALL
        found: Range = (traits.low, traits.high)
        if traits.op == "Clip":
            found = clip_bounds(node, view) or _ALL
            found = found if found[0] <= found[1] else _ALL
        if found != _ALL:
            return found if whole else _signs(found, sure)
        data = traits.data_of(len(node.inputs))
        if len(data) != 1:
            return _ALL
        if not traits.selects:
            whole = False
            sure[0] &= traits.keeps_nonnegative
            sure[1] &= traits.keeps_nonpositive
        if not any(sure):
            return _ALL
        tensor = node.inputs[data[0]]
    return _ALL


def _signs(found: Range, sure: Sequence[bool]) -> Range:
    """Return what is left of a range where only the sign of its elements is sure."""
    low, high = found
    return (
        0.0 if sure[0] and low >= 0 else -math.inf,
        0.0 if sure[1] and high <= 0 else math.inf,
    )
