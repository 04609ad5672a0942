"""Operators that hold their scales, as those between pairs of QuantizeLinear/DequantizeLinear.

    y_q = QLinearConv(x_q, s_x, z_x, w_q, s_w, z_w, s_y, z_y, b_q)
        = Q(Conv(DQ(x_q, s_x, z_x), DQ(w_q, s_w, z_w), DQ(b_q, s_x s_w)), s_y, z_y)

The same numbers, up to one step of the result where a sum lies between two.
Sources: ONNX operators QLinearConv and QLinearMatMul; ONNX Runtime's contributed operators, QGemm,
QLinearAdd and their like (docs/ContribOperators.md there).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import node_key
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import DEQUANTIZE, QUANTIZE
from ...engine.context import Context
from ...opset.convert_opset import ensure_opset

_OPSET = 13  # of scales along an axis
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """Integers at inputs `place`, `place` + 1 (scale) and `place` + 2 (zero point) of a node."""

    place: int
    axis: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """How an operator holds its scales: of what it reads, of its bias, and of its result.

    `result`: where the scale of the result stands, which is float where that is left out; `bias`:
    where int32 stand at the product of the first two scales.
    """

    op: str
    operands: Callable[[gs.Node], Sequence[_Stored]]
    result: int
    bias: int | None = None
    dropped: tuple[str, ...] = ()


def raise_operators(
    graph: gs.Graph, context: Context, only: Collection[str] | None = None
) -> dict[str, str]:
    """Write the operators of `graph` and its bodies that hold their scales as pairs.

    `only`: those of these names (see `node_key`); None for all. Those that cannot be are declined.
    Returns what the operators are called that took their places, by the result of each.
    """
    found = [
        (node, scope)
        for scope in context.uses.scopes(graph)
        for node in scope.nodes
        if node.op in _SHAPES and (only is None or node_key(node) in only)
    ]
    if not found or not ensure_opset(graph, context, _OPSET):
        return {}
    raised: dict[str, str] = {}
    with context.editing() as edit:
        for node, scope in found:
            view, shape = context.view(scope), _SHAPES[node.op]
            try:
                _check(node, shape, view)
            except DeclinedError as reason:
                context.decline(node, str(reason))
                continue
            if edit.begin():
                raised[node.outputs[0].name] = _Raised(edit, view, node, shape).write()
    return raised


def _check(node: gs.Node, shape: _Shape, view: View) -> None:
    need(not node.attrs.get("channels_last"), "its channels come last")
    need(node.attrs.get("alpha", 1.0) == 1.0 or shape.bias is None, "its alpha is not 1")
    for each in shape.operands(node):
        need(view.constant(node.inputs[each.place + 1]) is not None, "a scale is computed")


class _Raised:
    """The nodes that stand for one node."""

    def __init__(self, edit: Edit, view: View, node: gs.Node, shape: _Shape) -> None:
        self._edit, self._view, self._node, self._shape = edit, view, node, shape

    def write(self) -> str:
        """Replace the node; return its name, which the operator has that stands for it."""
        edit, node, shape = self._edit, self._node, self._shape
        edit.remove(node)
        operands = shape.operands(node)
        inputs = [self._real(each) for each in operands]
        if shape.bias is not None and self._has(shape.bias):
            inputs.append(self._bias(operands))
        attrs = {key: value for key, value in node.attrs.items() if key not in shape.dropped}
        result = node.outputs[0]
        quantizes = self._has(shape.result)
        kind = self._float(result)
        made = edit.variable(f"{result.name}_real", kind) if quantizes else result
        operator = edit.node(shape.op, inputs, [made], attrs, at=node)
        if quantizes:
            scale, zero = (self._parameter(shape.result + n) for n in range(2))
            held = [made, scale] if zero is None else [made, scale, zero]
            edit.node(QUANTIZE, held, [result], at=node)
        edit.rename(operator, node_key(node))
        return node_key(operator)

    def _has(self, place: int) -> bool:
        return place < len(self._node.inputs) and bool(self._node.inputs[place].name)

    def _float(self, like: gs.Tensor) -> TensorType:
        return TensorType(np.dtype(np.float32), self._view.shape(like))

    def _real(self, stored: _Stored) -> gs.Tensor:
        tensor = self._node.inputs[stored.place]
        scale, zero = (self._parameter(stored.place + n) for n in (1, 2))
        assert scale is not None
        held = [tensor, scale] if zero is None else [tensor, scale, zero]
        made = self._edit.variable(f"{tensor.name}_real", self._float(tensor))
        along = stored.axis is not None and bool(scale.shape)
        self._dequantize(held, made, {"axis": stored.axis} if along else {})
        return made

    def _bias(self, operands: Sequence[_Stored]) -> gs.Tensor:
        assert self._shape.bias is not None
        tensor = self._node.inputs[self._shape.bias]
        first, second = (
            self._view.constant(self._node.inputs[each.place + 1]) for each in operands[:2]
        )
        assert first is not None
        assert second is not None
        product = np.asarray(first.reshape(()) * second, np.float32)
        scale = self._edit.constant(_plain(product), f"{tensor.name}_scale")
        made = self._edit.variable(f"{tensor.name}_real", self._float(tensor))
        attrs = {"axis": 0} if scale.shape else {}
        self._dequantize([tensor, scale], made, attrs)
        return made

    def _dequantize(
        self, held: Sequence[gs.Tensor], made: gs.Variable, attrs: dict[str, Any]
    ) -> None:
        node = self._edit.node(DEQUANTIZE, held, [made], attrs, at=self._node)
        self._edit.rename(node, made.name)  # the operator's is its own

    def _parameter(self, place: int) -> gs.Tensor | None:
        """Return a scale or zero point; one of a single value has no axis."""
        if not self._has(place):
            return None
        tensor = self._node.inputs[place]
        values = self._view.constant(tensor)
        if values is None or values.ndim == 0 or values.size != 1:
            return tensor
        return self._edit.constant(_plain(values), tensor.name)


def _plain(values: Array) -> Array:
    return values.reshape(()) if values.size == 1 else values.reshape(-1)


def _fixed(*stored: _Stored) -> Callable[[gs.Node], Sequence[_Stored]]:
    return lambda node: stored


def _joined(node: gs.Node) -> Sequence[_Stored]:
    return [_Stored(place=place) for place in range(2, len(node.inputs), 3)]


def _gemm(node: gs.Node) -> Sequence[_Stored]:
    columns = 0 if node.attrs.get("transB", 0) else 1
    return (_Stored(place=0), _Stored(place=3, axis=columns))


_ONE = _fixed(_Stored(place=0))
_TWO = _fixed(_Stored(place=0), _Stored(place=3))
_SHAPES: dict[str, _Shape] = {
    "QGemm": _Shape(op="Gemm", operands=_gemm, result=7, bias=6),
    "QLinearAdd": _Shape(op="Add", operands=_TWO, result=6),
    "QLinearAveragePool": _Shape(
        op="AveragePool", operands=_ONE, result=3, dropped=("channels_last",)
    ),
    "QLinearConcat": _Shape(op="Concat", operands=_joined, result=0),
    "QLinearConv": _Shape(
        op="Conv", operands=_fixed(_Stored(place=0), _Stored(place=3, axis=0)), result=6, bias=8
    ),
    "QLinearGlobalAveragePool": _Shape(
        op="GlobalAveragePool", operands=_ONE, result=3, dropped=("channels_last",)
    ),
    "QLinearLeakyRelu": _Shape(op="LeakyRelu", operands=_ONE, result=3),
    "QLinearMatMul": _Shape(
        op="MatMul", operands=_fixed(_Stored(place=0, axis=-2), _Stored(place=3, axis=-1)), result=6
    ),
    "QLinearMul": _Shape(op="Mul", operands=_TWO, result=6),
    "QLinearSigmoid": _Shape(op="Sigmoid", operands=_ONE, result=3),
    "QLinearSoftmax": _Shape(op="Softmax", operands=_ONE, result=3, dropped=("opset",)),
}
