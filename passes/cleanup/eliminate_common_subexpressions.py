"""Compute equal things once.

f(x; a) = g(y; b)   where f = g, x = y and a = b
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.variables import FUSED_DOMAIN, dense_values, is_standard, subgraphs_of
from ...ir.graph.edit import Edit
from ...ir.graph.parts import is_spelled_out
from ...ir.graph.view import View
from ...ir.ops.purity import is_pure
from ..engine.context import Context
from ..engine.contract import Pass

# Small constants count as equal by value; telling large ones apart would read all weights.
_BY_VALUE = 4096


@dataclass(frozen=True)
class EliminateCommonSubexpressions(Pass):
    """Merge nodes with the same operator, attributes and inputs into the first of them.

    Random operators, operators with subgraphs and those of unknown domains are left alone. Where
    the results of both are graph outputs, whose names must stay, the second of two fused operators
    becomes an Identity, and other operators stay.
    """

    name: ClassVar[str] = "eliminate-common-subexpressions"

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Walk every scope in topological order with a table of what was computed already."""
        known: Known = {}
        with context.editing() as edit:
            for scope in edit.uses.scopes(graph):
                view = context.view(scope)
                table = _FirstNodes(view, known)
                for node in scope.nodes:
                    if not _may_merge(node, scope.opset):
                        continue
                    earlier = table.first_like(node)
                    if earlier is node:
                        continue
                    merge = _merge_of(earlier, node, view)
                    if merge is None:
                        context.decline(node, "its result is a graph output, whose name must stay")
                    elif edit.begin():
                        was = earlier.outputs[0]
                        merge(earlier, node, edit)
                        # Who read the one before is found by who reads the other after.
                        known[id(earlier.outputs[0])] = known.get(id(was), id(was))


class _FirstNodes:
    """The first node of each kind that was seen.

    Constants and attributes are read only of nodes that share operator and variable operands.
    """

    def __init__(self, view: View, known: Known) -> None:
        self._view, self._known = view, known
        self._alone: dict[tuple[Any, ...], gs.Node] = {}  # by what is quickly told
        self._first: dict[tuple[Any, ...], gs.Node] = {}

    def first_like(self, node: gs.Node) -> gs.Node:
        """Return the first node that computes what `node` does, itself where it is that."""
        quick = self._quick_key(node)
        met = self._alone.setdefault(quick, node)
        if met is node:
            return node
        self._first.setdefault(_key(met, self._view, self._known), met)
        return self._first.setdefault(_key(node, self._view, self._known), node)

    def _quick_key(self, node: gs.Node) -> tuple[Any, ...]:
        known, is_constant = self._known, self._view.is_constant
        operands = (0 if is_constant(t) else known.get(id(t), id(t)) for t in node.inputs if t.name)
        return (node.op, node.domain or "", *operands)


Known = dict[int, int]  # id of a tensor -> that of the one whose place it took
Merge = Callable[[gs.Node, gs.Node, Edit], None]


def _merge_of(earlier: gs.Node, node: gs.Node, view: View) -> Merge | None:
    """Return how `node` is left out, which computes what `earlier` does; None where it stays."""
    if not any(map(view.is_output, node.outputs)):
        return _replace
    if len(node.outputs) > 1:
        return None
    if not view.is_output(earlier.outputs[0]):
        return _take_name
    # Written out, their bodies would have parts in common.
    return _copy if node.domain == FUSED_DOMAIN else None


def _replace(earlier: gs.Node, node: gs.Node, edit: Edit) -> None:
    for old, new in zip(node.outputs, earlier.outputs, strict=True):
        edit.replace(old, new)
    edit.remove(node)


def _take_name(earlier: gs.Node, node: gs.Node, edit: Edit) -> None:
    result = node.outputs[0]
    edit.remove(node)
    edit.rename_output(earlier, earlier.outputs[0], result)


def _copy(earlier: gs.Node, node: gs.Node, edit: Edit) -> None:
    result = node.outputs[0]
    edit.remove(node)
    edit.node("Identity", [earlier.outputs[0]], [result], at=node)


def _may_merge(node: gs.Node, opset: int) -> bool:
    if is_spelled_out(node):  # shared, it would keep the others from being fused again
        return False
    pure = node.domain == FUSED_DOMAIN or (is_standard(node) and is_pure(node.op, opset))
    return pure and not subgraphs_of(node)


def _key(node: gs.Node, view: View, known: Known) -> tuple[Any, ...]:
    return (
        node.domain or "",
        node.op,
        tuple(_operand(tensor, view, known) for tensor in node.inputs),
        tuple(tensor.is_empty() for tensor in node.outputs),
        tuple((name, _attribute(value)) for name, value in sorted(node.attrs.items())),
    )


def _operand(tensor: gs.Tensor, view: View, known: Known) -> Any:
    if tensor.is_empty():
        return None
    values = view.constant(tensor)
    return known.get(id(tensor), id(tensor)) if values is None else _content(values, tensor)


def _content(values: np.ndarray[Any, Any], tensor: gs.Tensor) -> Any:
    if values.nbytes > _BY_VALUE:
        return id(tensor)
    data = tuple(values.flat) if values.dtype.kind == "O" else values.tobytes()
    return (dtypes.full_name(values.dtype), values.shape, data)


def _attribute(value: Any) -> Any:
    if isinstance(value, gs.Tensor):
        values = dense_values(value)
        return id(value) if values is None else _content(values, value)
    if isinstance(value, onnx.AttributeProto):
        return value.SerializeToString(deterministic=True)
    return (type(value).__name__, repr(value))
