"""Average before a 1x1 convolution instead of after it.

    mean(W x + b) = W mean(x) + b           W acts on channels, the mean on positions

A convolution after a pool of stride s has 1/s^2 of the work. Where padding counts as zeros in the
mean, the weights of a window at the border do not add up to one, and this needs b = 0.
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
from ...ir.graph.types import Shape, TensorType
from ...ir.graph.view import View
from ...ir.ops.axes.reductions import read_reduction
from ...ir.ops.traits.groups import MEAN_POOLS
from ...ir.ops.windows.attributes import averages_pads, pool_window, read_window
from ...ir.ops.windows.elements import has_elements
from ...ir.ops.windows.seen import sees_input
from ..engine.rewrite import Rewrite, RewritePass


@dataclass(frozen=True)
class PoolBeforePointwise(RewritePass):
    """Move AveragePool, GlobalAveragePool or a spatial ReduceMean before the 1x1 Conv it reads.

    Done where the pool leaves fewer positions and no more values pass between the two than before:
    DenseNet's transitions, with twice the channels before the convolution, need a quarter of their
    multiplications.
    """

    name: ClassVar[str] = "pool-before-pointwise"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_Swap(),)


@dataclass(frozen=True)
class _PooledPointwise:
    pool: gs.Node
    conv: gs.Node
    type: TensorType | None  # of the pooled input


class _Swap(Rewrite[_PooledPointwise]):
    ops = MEAN_POOLS | {"ReduceMean"}

    def match(self, node: gs.Node, view: View) -> _PooledPointwise | None:
        conv = view.producer(node.inputs[0])
        if conv is None or conv.op != "Conv" or not is_standard(conv):
            return None
        if not read_window(conv, view).is_pointwise or not _averages_positions(node, view):
            return None
        need(view.read_only_by(conv.outputs[0], node), "the result of Conv has other readers")
        need(node.op == "ReduceMean" or sees_input(node, view), "a window may hold no element")
        need(has_elements(node.outputs[0], view), "the pool may leave nothing, which Conv refuses")
        has_bias = len(conv.inputs) > 2 and not conv.inputs[2].is_empty()
        need(
            not (has_bias and averages_pads(node, view)),
            "padding counts in the mean, and Conv has a bias",
        )
        before, after = view.shape(node.inputs[0]), view.shape(node.outputs[0])
        fraction = need(_kept(node, before, after), "how much the pool leaves is not known")
        if fraction >= 1:
            return None
        weight = need(view.shape(conv.inputs[1]), "the shape of the weight of Conv is unknown")
        outputs, per_group = weight[:2]
        need(isinstance(outputs, int) and isinstance(per_group, int), "the weight is not static")
        need(per_group != 0, "it reads no channels, which a pool refuses")
        inputs = int(per_group or 0) * int(conv.attrs.get("group", 1))
        need(
            inputs * fraction <= int(outputs or 0),
            "pooling all channels before Conv would move more than its result",
        )
        return _PooledPointwise(node, conv, _pooled(view.type(conv.inputs[0]), after))

    def rewrite(self, site: _PooledPointwise, edit: Edit) -> None:
        pool, conv = site.pool, site.conv
        edit.remove(pool)
        edit.remove(conv)
        pooled = edit.variable(f"{conv.inputs[0].name}_pooled", site.type)
        edit.node(pool.op, [conv.inputs[0], *pool.inputs[1:]], [pooled], pool.attrs, at=pool)
        edit.node("Conv", [pooled, *conv.inputs[1:]], pool.outputs, conv.attrs, at=pool)


def _averages_positions(node: gs.Node, view: View) -> bool:
    if node.op != "ReduceMean":
        return True
    found = read_reduction(node, view)
    return found is not None and found.is_spatial and found.keepdims


def _kept(node: gs.Node, before: Shape | None, after: Shape | None) -> float | None:
    """Return the fraction of positions that `node` leaves, or None where it is unknown."""
    if before is not None and after is not None:
        sizes = [*before[2:], *after[2:]]
        if all(isinstance(size, int) and size > 0 for size in sizes):
            old, new = (math.prod(int(s or 0) for s in part[2:]) for part in (before, after))
            return new / old
    if node.op != "AveragePool":
        return None
    window = pool_window(node)
    grows = sum((*window.begins, *window.ends)) > sum(window.kernel) - window.rank
    return None if grows or window.ceil else 1 / math.prod(window.strides)


def _pooled(kind: TensorType | None, after: Shape | None) -> TensorType | None:
    """Return the type of the pooled input: channels of `kind`, positions of `after`."""
    if kind is None or kind.shape is None or after is None:
        return None
    return TensorType(kind.dtype, (*kind.shape[:2], *after[2:]))
