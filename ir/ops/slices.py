"""What a Slice takes, in every opset's spelling.

    y = x[..., start : end : step, ...]      as Python slices, for constant bounds

ONNX counts starts and ends as Python does, but has no way to leave one out: an end far beyond the
axis, or far before its begin for a negative step, is "to the end". A start before the begin is the
begin for a negative step too, where Python takes nothing (ONNX operator Slice).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from ..graph.types import Dim
from ..graph.view import View
from .axes.named import normal_axes
from .parameters import ValuesOf, read_parameter

# Ends from here on mean "to the end", whatever the size (INT_MAX for a size that is unknown).
FARTHEST = (1 << 31) - 1
TO_THE_END = (1 << 63) - 1


@dataclass(frozen=True)
class AxisBounds:
    """What a Slice names for one axis, as it is written."""

    axis: int
    start: int
    end: int
    step: int

    def part(self, size: Dim) -> slice | None:
        """Return the slice of an axis of `size`, None where it depends on one that is not known.

        Also where it goes backwards to INT_MAX, which ONNX Runtime takes for the begin.
        """
        start = self.start
        if self.step > 0:
            return slice(start, self.end, self.step)
        if self._has_farthest_end:
            return None
        if start < -1:
            if not isinstance(size, int):
                return None
            start = max(start + size, 0)
        return slice(start, None if self.end < -FARTHEST else self.end, self.step)

    def taken(self, size: Dim) -> Dim:
        """Return how many elements of an axis of `size` it takes, None where that is not known.

        As ONNX Runtime counts them: of an end that is INT_MAX no axis is left out, backwards too.
        """
        to_begin = self.step < 0 and self._has_farthest_end
        part = (replace(self, end=-TO_THE_END) if to_begin else self).part(size)
        if part is None or not isinstance(size, int):
            return size if part is not None and takes_all(part, size) else None
        return len(range(*part.indices(size)))

    @property
    def _has_farthest_end(self) -> bool:
        return self.end in (FARTHEST, TO_THE_END)


def read_bounds(
    node: gs.Node, view: View, values_of: ValuesOf | None = None
) -> tuple[AxisBounds, ...] | None:
    """Return the bounds of each axis that `node` names, None where they are not known.

    Without axes it means the first as many as it has starts. For `values_of` see `read_parameter`.
    """
    rank = view.rank(node.inputs[0])
    found = [
        read_parameter(node, name, view, values_of) for name in ("starts", "ends", "axes", "steps")
    ]
    if rank is None or not all(parameter.known for parameter in found):
        return None
    starts, ends, axes, steps = (parameter.ints() for parameter in found)
    if starts is None or ends is None:
        return None
    named = normal_axes(range(len(starts)) if axes is None else axes, rank)
    steps = [1] * len(starts) if steps is None else steps
    if named is None or not len(named) == len(starts) == len(ends) == len(steps) or 0 in steps:
        return None
    return tuple(map(AxisBounds, named, starts, ends, steps))


def read_slice(
    node: gs.Node, view: View, values_of: ValuesOf | None = None
) -> Mapping[int, slice] | None:
    """Return the slice of each axis that `node` names, None where bounds or axes are not known.

    Without axes it means the first as many as it has starts. One that takes an axis backwards to
    its begin stops at None. For `values_of` see `read_parameter`.
    """
    shape, bounds = view.shape(node.inputs[0]), read_bounds(node, view, values_of)
    if shape is None or bounds is None:
        return None
    parts = {each.axis: each.part(shape[each.axis]) for each in bounds}
    known = {axis: part for axis, part in parts.items() if part is not None}
    return known if len(known) == len(parts) else None


def takes_all(part: slice, size: Dim) -> bool:
    """Say whether a slice takes an axis of this size as it is; an unknown size may be any."""
    if part.step != 1:
        return False
    if isinstance(size, int):
        return len(range(*part.indices(size))) == size
    return bool((part.start == 0 or part.start < -FARTHEST) and part.stop >= FARTHEST)
