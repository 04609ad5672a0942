"""What a reduction reduces, in every opset's spelling."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...graph.view import View

# Axes became an input with opset 18, but of ReduceSum with 13.
_AXES_AS_INPUT = 18


@dataclass(frozen=True)
class Reduction:
    """The reduced axes, ascending, of a tensor of `rank` dimensions."""

    source: gs.Tensor
    axes: tuple[int, ...]
    rank: int
    keepdims: bool

    @property
    def is_spatial(self) -> bool:
        """Say whether all axes but batch and channels are reduced, and there are some."""
        return self.rank >= 3 and self.axes == tuple(range(2, self.rank))


def read_reduction(node: gs.Node, view: View) -> Reduction | None:
    """Return what a ReduceMean, ReduceMax or the like reduces, or None where that is not known."""
    x = node.inputs[0]
    rank = view.rank(x)
    if rank is None:
        return None
    given = node.attrs.get("axes")
    if view.opset >= _AXES_AS_INPUT and len(node.inputs) > 1 and not node.inputs[1].is_empty():
        values = view.constant(node.inputs[1])
        if values is None:
            return None
        given = values.reshape(-1).tolist()
    if not isinstance(given, list) or not given:
        if node.attrs.get("noop_with_empty_axes", 0):
            return None
        given = list(range(rank))
    axes = tuple(sorted({int(axis) % rank for axis in given}))
    return Reduction(x, axes, rank, bool(node.attrs.get("keepdims", 1)))
