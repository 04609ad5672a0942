"""Operators on each element alone, in the layout of their operands.

A NaN passes through `Relu` and `Clip`, as in ONNX; CUDA's `max` and `min` would drop it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs

from .....ir.graph.types import Shape
from ...program.emit_onnx import emit_onnx
from ...program.single import single_of
from ...spec.scalars import SCALARS
from .channels_last import ChannelsLastProgram

# What TVM's own converters compute on each element besides: a list of theirs.
_MORE = ("Cast", "Erf", "Exp", "Gelu", "Identity", "Log", "Max", "Min", "Mish", "Pow")
# And these.
_LAST = ("Round", "Sign", "Softplus", "Softsign", "ThresholdedRelu")
ELEMENTWISE = frozenset({*SCALARS, *_MORE, *_LAST})


def can_emit_elementwise(program: ChannelsLastProgram, node: gs.Node) -> bool:
    """Say whether `node` works on each element alone, and an input of its shape is channels last.

    Every other input must broadcast to that one: it may have fewer axes, never more.
    """
    if node.op not in ELEMENTWISE:
        return False
    rank = program.view.rank(node.outputs[0])
    given = [tensor for tensor in node.inputs if not tensor.is_empty()]
    ranks = [program.view.rank(tensor) for tensor in given]
    if rank is None or rank < 3 or any(r is None for r in ranks):
        return False
    return any(program.is_last(t) for t, r in zip(given, ranks, strict=True) if r == rank)


def emit_elementwise(program: ChannelsLastProgram, node: gs.Node, proto: onnx.NodeProto) -> None:
    """Emit `node`, channels last."""
    rank = program.view.rank(node.outputs[0])
    assert rank is not None
    own = _OWN.get(node.op)
    if own is not None:
        operands = [None if t.is_empty() else program.operand(t, rank) for t in node.inputs]
        program.define_last(node.outputs[0], program.builder.emit(own(operands, node.attrs)))
        program.singles.append(single_of(node, program.view))
        return
    emit_onnx(program, node, proto, _LastTensors(program, rank))


class _LastTensors:
    """What the converters of single operators see: tensors that are channels last."""

    def __init__(self, program: ChannelsLastProgram, rank: int) -> None:
        self.builder = program.builder
        self._program = program
        self._rank = rank

    def plain(self, tensor: gs.Tensor) -> Any:
        return self._program.operand(tensor, self._rank)

    def define_plain(self, tensor: gs.Tensor, expr: Any) -> None:
        self._program.define_last(tensor, expr)

    def sizes_here(self, shape: Shape) -> Shape:
        return (shape[0], *shape[2:], shape[1]) if len(shape) > 2 else shape


def _clipped(x: Any, low: Any, high: Any) -> Any:
    from tvm.relax import op

    if low is not None:
        x = op.where(op.less(x, low), low, x)
    return x if high is None else op.where(op.greater(x, high), high, x)


def _relu(operands: list[Any], attrs: dict[str, Any]) -> Any:
    return _clipped(operands[0], _like(operands[0], 0), None)


def _clip(operands: list[Any], attrs: dict[str, Any]) -> Any:
    x, *bounds = operands
    given = [*bounds, None, None][:2]
    ends = ml_dtypes.finfo(str(x.ty.dtype))  # an absent bound is the last finite number
    for index, (name, end) in enumerate((("min", ends.min), ("max", ends.max))):
        if given[index] is None:
            given[index] = _like(x, attrs.get(name, end))
    return _clipped(x, *given)


def _prelu(operands: list[Any], attrs: dict[str, Any]) -> Any:
    from tvm.relax import op

    x, slope = operands
    return op.where(op.less(x, _like(x, 0)), op.multiply(x, slope), x)


def _like(x: Any, value: float) -> Any:
    from tvm import relax

    return relax.const(np.asarray(value, str(x.ty.dtype)))


_OWN: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    "Clip": _clip,
    "PRelu": _prelu,
    "Relu": _relu,
}
