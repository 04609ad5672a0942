"""Recognize global pooling that is spelled as a reduction or as a window over everything.

mean of x over all spatial axes = GlobalAveragePool(x)
mean over one axis of the mean over another = mean over both
AveragePool and MaxPool of a window over all of x = GlobalAveragePool and GlobalMaxPool

ONNX Runtime keeps what a convolution gives in blocks of channels; global pooling reads these, a
reduction has all of them reordered first. Reductions that drop the axes get a Flatten, a view.

ReduceMax stays: in ONNX Runtime it passes NaN on or not by its place, GlobalMaxPool never does, and
it is no faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.variables import is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.types import TensorType
from ...ir.graph.view import View
from ...ir.ops.axes.reductions import Reduction, read_reduction
from ...ir.ops.windows.attributes import read_window
from ...ir.ops.windows.elements import has_elements
from ..engine.rewrite import Rewrite, RewritePass
from .expressions import need_private, producer_of

_MOST_AXES = 5
_EMPTY = "its input may have no elements, of which pooling has no mean"


@dataclass(frozen=True)
class RecognizePooling(RewritePass):
    """Write global pooling for means and windows over all positions.

    A window must cover its whole input, without padding, at a static size.
    """

    name: ClassVar[str] = "recognize-pooling"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites for reductions and for windows."""
        return (_ReducedMean(), _GlobalWindow())


@dataclass(frozen=True)
class _GlobalPooling:
    nodes: tuple[gs.Node, ...]  # the one that gives the result first
    op: str
    source: gs.Tensor
    pooled: TensorType | None = None  # set where the reduced axes are dropped afterwards


class _Write(Rewrite[_GlobalPooling]):
    def rewrite(self, site: _GlobalPooling, edit: Edit) -> None:
        root = site.nodes[0]
        result = root.outputs[0]
        for node in site.nodes:
            edit.remove(node)
        if site.pooled is None:
            edit.node(site.op, [site.source], [result], at=root)
            return
        pooled = edit.variable(f"{result.name}_pooled", site.pooled)
        edit.node(site.op, [site.source], [pooled], at=root)
        edit.node("Flatten", [pooled], [result], {"axis": 1}, at=root)


class _ReducedMean(_Write):
    ops = frozenset({"ReduceMean"})

    def match(self, node: gs.Node, view: View) -> _GlobalPooling | None:
        found = read_reduction(node, view)
        if found is None:
            return None
        nodes = (node,)
        below = producer_of(found.source, view, node.op, "Reshape", "Flatten")
        whole = None if below is None else _reduced_below(found, node, below, view)
        if whole is not None and below is not None:
            found = whole
            nodes = need_private((below,), node, view)
        # Of three axes the last is as often that of features, and no runtime keeps it in blocks.
        if not found.is_spatial or found.rank < 4 or not _is_pooled_type(found.source, view):
            return None
        need(found.rank <= _MOST_AXES, "ONNX Runtime pools up to three axes")
        need(has_elements(found.source, view), _EMPTY)
        op = "GlobalAveragePool"
        if found.keepdims:
            return _GlobalPooling(nodes, op, found.source)
        shape = need(view.shape(found.source), "the shape of its input is not known")
        dtype = need(view.dtype(found.source), "the type of its input is not known")
        pooled = (*shape[:2], *[1] * (found.rank - 2))
        return _GlobalPooling(nodes, op, found.source, TensorType(dtype, pooled))


def _reduced_below(outer: Reduction, node: gs.Node, below: gs.Node, view: View) -> Reduction | None:
    """Return what two reductions in a row reduce, or one of positions that a Reshape joined."""
    if below.op == node.op:
        inner = read_reduction(below, view)
        if inner is None or inner.keepdims != outer.keepdims:
            return None
        left = [axis for axis in range(inner.rank) if inner.keepdims or axis not in inner.axes]
        axes = {*inner.axes, *(left[axis] for axis in outer.axes)}
        return Reduction(inner.source, tuple(sorted(axes)), inner.rank, outer.keepdims)
    x = below.inputs[0]
    before, after = view.shape(x), view.shape(outer.source)
    if before is None or after is None or len(before) < 4 or len(after) != 3:
        return None
    # As many positions and as many channels leave the batch what it was.
    positions = [size for size in before[2:] if isinstance(size, int)]
    same = before[:2] == after[:2] and None not in before[:2]
    same = same or (
        isinstance(before[1], int)
        and before[1] == after[1]
        and len(positions) == len(before) - 2
        and math.prod(positions) == after[2]
    )
    if not same or outer.axes != (2,) or outer.keepdims:
        return None
    return Reduction(x, tuple(range(2, len(before))), len(before), False)


class _GlobalWindow(_Write):
    ops = frozenset({"AveragePool", "MaxPool"})

    def match(self, node: gs.Node, view: View) -> _GlobalPooling | None:
        if not is_standard(node) or not _is_pooled_type(node.inputs[0], view):
            return None
        shape = view.shape(node.inputs[0])
        kernel = node.attrs.get("kernel_shape")
        if shape is None or len(shape) < 3 or not isinstance(kernel, list):
            return None
        if tuple(kernel) != tuple(shape[2:]):
            return None
        window = read_window(node, view)
        need(not window.is_padded, "its window covers all of its input, but padding too")
        # A second window would start beyond the input whatever the strides are.
        need(len(node.outputs) == 1, "its indices are asked for")
        need(all(step == 1 for step in window.dilations), "its window is dilated")
        return _GlobalPooling((node,), f"Global{node.op}", node.inputs[0])


def _is_pooled_type(x: gs.Tensor, view: View) -> bool:
    """Say whether `x` is float16 or float32: ONNX Runtime pools no float64 globally."""
    dtype = view.dtype(x)
    return dtype is not None and dtype.kind == "f" and dtype.itemsize <= 4
