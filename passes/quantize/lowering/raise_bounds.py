"""Move a Relu or Clip up through what only moves data, to the operator that makes the values.

    Relu(move(x)) = move(Relu(x))        Relu(Concat(x, y)) = Concat(Relu(x), Relu(y))

There it costs nothing on integers: a quantized result saturates by itself where its range ends at
the bounds. Behind a Concat or a shuffle it would requantize every value instead, because the grid
before it reaches below zero and the one after it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.clips import clip_bounds
from ....ir.ops.traits import traits_of
from ....ir.ops.traits.groups import LAYERS
from ...engine.rewrite import Rewrite, RewritePass
from ..qdq.units import ARITHMETIC, BOUNDING

_MAKING = LAYERS | ARITHMETIC


@dataclass(frozen=True)
class RaiseBounds(RewritePass):
    """Move Relu and Clip up through movements and Concat to where values are made."""

    name: ClassVar[str] = "raise-bounds"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_Raise(),)


@dataclass(frozen=True)
class _BoundBelowMove:
    bound: gs.Node
    mover: gs.Node
    types: tuple[TensorType | None, ...]  # of what is moved


class _Raise(Rewrite[_BoundBelowMove]):
    ops = BOUNDING

    def match(self, node: gs.Node, view: View) -> _BoundBelowMove | None:
        mover = view.producer(node.inputs[0])
        if mover is None or not _moves(mover, view):
            return None
        need(view.read_only_by(mover.outputs[0], node), f"the result of {mover.op} is read as well")
        if node.op == "Clip":
            need(clip_bounds(node, view) is not None, "its bounds are no constants")
        for tensor in _moved(mover):
            _need_maker(tensor, mover, view)
        return _BoundBelowMove(node, mover, tuple(view.type(tensor) for tensor in _moved(mover)))

    def rewrite(self, site: _BoundBelowMove, edit: Edit) -> None:
        bound, mover = site.bound, site.mover
        inputs = list(mover.inputs)
        edit.remove(bound)
        edit.remove(mover)
        for position, tensor in enumerate(_moved(mover)):
            inputs[position] = edit.variable(f"{tensor.name}_bounded", site.types[position])
            limits = bound.inputs[1:]
            attrs = dict(bound.attrs)
            edit.node(bound.op, [tensor, *limits], [inputs[position]], attrs, at=bound)
        edit.node(mover.op, inputs, [bound.outputs[0]], dict(mover.attrs), at=mover)


def _moves(node: gs.Node, view: View) -> bool:
    """Say whether the one result has elements of the data, whatever their values: all of them."""
    traits = traits_of(node, view.opset)
    single = traits.data == (0,) and traits.moved_outputs == 1
    return is_standard(node) and ((traits.moves and single) or node.op == "Concat")


def _moved(node: gs.Node) -> list[gs.Tensor]:
    return list(node.inputs if node.op == "Concat" else node.inputs[:1])


def _need_maker(tensor: gs.Tensor, reader: gs.Node, view: View) -> None:
    """Decline unless `reader` alone reads `tensor`, down to where its values are made."""
    while True:
        need(view.read_only_by(tensor, reader), f"an input of {reader.op} is read by others too")
        maker = need(view.producer(tensor), f"{reader.op} moves what no operator made")
        if is_standard(maker) and maker.op in _MAKING | BOUNDING:
            return
        need(
            _moves(maker, view), f"{reader.op} moves what {maker.op} made, which does not saturate"
        )
        if maker.op == "Concat":
            return
        tensor, reader = maker.inputs[0], maker
