"""What a reduction reduces, in every opset's spelling."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...graph.view import View
from ..parameters import ValuesOf
from .named import axes_of


@dataclass(frozen=True)
class Reduction:
    """The reduced axes, ascending, of a tensor of `rank` dimensions; none where it reduces none."""

    source: gs.Tensor
    axes: tuple[int, ...]
    rank: int
    keepdims: bool

    @property
    def is_spatial(self) -> bool:
        """Say whether all axes but batch and channels are reduced, and there are some."""
        return self.rank >= 3 and self.axes == tuple(range(2, self.rank))

    def axis_after(self, axis: int) -> int | None:
        """Return where `axis` of the source is in the result, None where it is reduced."""
        if axis in self.axes:
            return None
        return axis if self.keepdims else axis - sum(reduced < axis for reduced in self.axes)


def keeps_dims(node: gs.Node) -> bool:
    """Say whether a reduction, ArgMax or ArgMin leaves reduced axes with size 1.

    The attribute is 0 or 1; of another number runtimes keep none.
    """
    return bool(node.attrs.get("keepdims", 1) == 1)


def keeps_all_without_axes(node: gs.Node) -> bool:
    """Say whether a reduction of no axes reduces none, and not all. Other numbers than 1 are 0."""
    return bool(node.attrs.get("noop_with_empty_axes", 0) == 1)


def read_reduction(
    node: gs.Node, view: View, values_of: ValuesOf | None = None
) -> Reduction | None:
    """Return what a ReduceMean, ReduceMax or the like reduces, or None where that is not known.

    Without axes that is all of them, or none where `noop_with_empty_axes` says so.
    """
    x = node.inputs[0]
    rank = view.rank(x)
    if rank is None:
        return None
    named, known = axes_of(node, view, rank, values_of)
    if not known:
        return None
    if named is None:
        named = [] if keeps_all_without_axes(node) else list(range(rank))
    return Reduction(x, tuple(sorted(set(named))), rank, keeps_dims(node))
