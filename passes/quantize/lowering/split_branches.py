"""Take a layer apart again whose branches need grids of their own.

    Split(W x + b)  ->  W_1 x + b_1, W_2 x + b_2, ...

All that a Split hands out shares the grid of what it splits. Boxes in pixels and scores from one
layer, as merging siblings or an exporter leaves them, have ranges that differ a hundredfold: on the
grid of the boxes the scores are zeros and ones. Taken apart the layer costs what its operators cost
more, and each branch has its range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard, node_key
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.linear.operators import MATRIX_OPS, bias_of, group_of, is_absent_bias, output_axis
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context
from ...engine.rewrite import Rewrite, drive
from ..qdq.units import BOUNDING

Array = np.ndarray[Any, Any]


def split_branches(graph: gs.Graph, context: Context, layers: Sequence[str]) -> None:
    """Take apart the layers of `graph` whose nodes are called `layers`."""
    drive(graph, (_TakeApart(layers),), context)


@dataclass(frozen=True, kw_only=True)
class BranchedLayer:
    """A layer, the Relu or Clip behind it, and the Split behind that with its sizes."""

    node: gs.Node
    bound: gs.Node | None
    split: gs.Node
    weight: Array
    bias: Array | None
    sizes: tuple[int, ...]
    types: tuple[TensorType | None, ...]

    @property
    def results(self) -> list[gs.Tensor]:
        """What the Split gives."""
        return list(self.split.outputs)


class _TakeApart(Rewrite[BranchedLayer]):
    ops = LAYERS

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers = frozenset(layers)

    def match(self, node: gs.Node, view: View) -> BranchedLayer | None:
        return read_branched(node, view) if node_key(node) in self._layers else None

    def rewrite(self, site: BranchedLayer, edit: Edit) -> None:
        node, bound = site.node, site.bound
        inputs, results = list(node.inputs), site.results
        for old in filter(None, (site.split, bound, node)):
            edit.remove(old)
        ends = np.cumsum(site.sizes)
        for result, kind, end, size in zip(results, site.types, ends, site.sizes, strict=True):
            rows = slice(end - size, end)
            given = [inputs[0], edit.constant(_rows(node, site.weight, rows), inputs[1].name)]
            if site.bias is not None:
                given.append(edit.constant(site.bias.reshape(-1)[rows], inputs[2].name))
            made = result if bound is None else edit.variable(f"{result.name}_unbounded", kind)
            edit.node(node.op, given, [made], dict(node.attrs), at=node)
            if bound is not None:
                limits = bound.inputs[1:]
                edit.node(bound.op, [made, *limits], [result], dict(bound.attrs), at=bound)


def _rows(node: gs.Node, weight: Array, rows: slice) -> Array:
    return weight[rows] if output_axis(node) == 0 else weight[:, rows]


def read_branched(node: gs.Node, view: View) -> BranchedLayer | None:
    """Return the layer at `node` whose result a Split alone reads; declines where it must stay."""
    if node.op not in LAYERS or not is_standard(node):
        return None
    bound, split = None, view.only_reader(node.outputs[0])
    if split is not None and split.op in BOUNDING and is_standard(split):
        bound, split = split, view.only_reader(split.outputs[0])
    if split is None or split.op != "Split" or not is_standard(split):
        return None
    weight = need(view.constant(node.inputs[1]), "its weight is no constant")
    need(group_of(node) == 1, "it has groups")
    need(node.op != "MatMul" or weight.ndim == 2, "it is a stack of matrices")
    rank = need(view.rank(split.inputs[0]), "its rank is not known")
    axis = rank - 1 if node.op in MATRIX_OPS else 1
    need(split.attrs.get("axis", 0) % rank == axis, "the Split does not part channels")
    shapes = [view.shape(tensor) for tensor in split.outputs]
    sizes = tuple(shape[axis] for shape in shapes if shape is not None)
    channels = weight.shape[output_axis(node)]
    known = len(sizes) == len(shapes) and all(isinstance(size, int) for size in sizes)
    need(known, "the sizes of its branches are not known")
    whole = tuple(size for size in sizes if isinstance(size, int))
    need(sum(whole) == channels and all(t.name for t in split.outputs), "a branch is not read")
    given = bias_of(node)
    bias = None if given is None else need(view.constant(given), "its bias is no constant")
    if bias is not None and is_absent_bias(node, bias):
        bias = None
    need(bias is None or bias.size == channels, "its bias differs from row to row")
    types = tuple(view.type(tensor) for tensor in split.outputs)
    return BranchedLayer(
        node=node,
        bound=bound,
        split=split,
        weight=weight,
        bias=bias,
        sizes=whole,
        types=types,
    )
