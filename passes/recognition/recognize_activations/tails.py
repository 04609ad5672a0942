"""Whether a graph tells small results from 0, which is what ONNX Runtime's Sigmoid gives for them.

1 / (1 + exp(-x)) has all its digits however small it is. The kernel of Sigmoid is right to a unit
in the last place of 1: below -18, in float64 below -37, it gives 0. Beside 1 that is rounding. A
logarithm, a root or a quotient makes more of it: log(0) is no -30. So does what scales by the
statistics of its data, and what says which of them is largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.clips import clip_bounds
from ....ir.ops.traits import Homogeneous, Movement, function_of, traits_of
from ....ir.ops.traits.groups import LAYERS

Array = np.ndarray[Any, Any]

# Half a unit in the last place of 1, in float32.
_SMALL = 2.0**-24
# More units than that behind a function of one number, and it is no longer rounding beside 1.
_MOST_UNITS = 100.0
_MOST_NODES = 32


def need_tails_unread(op: str, result: gs.Tensor, view: View) -> None:
    """Decline `op` as what gives `result` where the small ones among its values count.

    They do in float64, which is chosen for its digits, and for readers that make much of them.
    """
    dtype = view.dtype(result)
    need(dtype != np.float64, f"ONNX Runtime's {op} of float64 gives 0 for what is small beside 1")
    for tensor, reader in _readers(result, view):
        need(
            not _magnifies(reader, tensor, view),
            f"{reader.op} tells small values from 0, and ONNX Runtime's {op} gives 0 for them",
        )


def _readers(result: gs.Tensor, view: View) -> Iterator[tuple[gs.Tensor, gs.Node]]:
    """Yield what reads `result`, also moved, scaled by constants, or with what is small added."""
    waiting, seen = [result], 0
    while waiting and seen < _MOST_NODES:
        tensor = waiting.pop()
        for reader in view.readers(tensor):
            seen += 1
            yield tensor, reader
            if _passes_on(reader, tensor, view):
                waiting += [each for each in reader.outputs if each.name]


def _passes_on(reader: gs.Node, tensor: gs.Tensor, view: View) -> bool:
    traits = traits_of(reader, view.opset)
    function = function_of(reader, view.opset)
    if function is not None and _is_small(function(np.zeros(1))):
        return True
    if reader.op in LAYERS and is_standard(reader):
        return _is_linear(reader, tensor, view)
    if reader.op == "Clip" and is_standard(reader):
        bounds = clip_bounds(reader, view)
        return bounds is None or bounds[0] < _MOST_UNITS * _SMALL
    if not traits.broadcasts:
        return traits.moves or traits.homogeneous is not Homogeneous.UNKNOWN
    others = [view.constant(each) for each in reader.inputs if each is not tensor]
    if reader.op == "Mul":  # x * f(x), as an activation is spelled out, is a function of x
        return all(_is_of(each, tensor, view) for each in reader.inputs)
    if reader.op == "Div":
        return all(values is not None for values in others)
    if reader.op == "Min":
        return all(values is not None and bool((values > 0).all()) for values in others)
    return all(values is not None and _is_small(values) for values in others)


def _is_of(value: gs.Tensor, tensor: gs.Tensor, view: View) -> bool:
    """Say whether `value` is computed from `tensor` and constants alone, element by element."""
    waiting, seen = [value], {id(tensor)}
    while waiting:
        each = waiting.pop()
        if id(each) in seen or view.is_constant(each):
            continue
        seen.add(id(each))
        node = view.producer(each)
        known = node is not None and traits_of(node, view.opset).elementwise
        if node is None or not known or len(seen) > _MOST_NODES:
            return False
        waiting += [operand for operand in node.inputs if operand.name]
    return True


def _is_linear(layer: gs.Node, tensor: gs.Tensor, view: View) -> bool:
    """Say whether a layer weighs `tensor` by constants and adds nothing, or what is small."""
    if layer.inputs[0] is not tensor and layer.op != "MatMul":
        return False
    others = (each for each in layer.inputs if each is not tensor and not each.is_empty())
    held = [view.constant(each) for each in others]
    known = [values for values in held if values is not None]
    return len(known) == len(held) and all(map(_is_small, known[1:]))


def _magnifies(reader: gs.Node, tensor: gs.Tensor, view: View) -> bool:
    function = function_of(reader, view.opset)
    if function is not None:
        with np.errstate(all="ignore"):
            moved = np.abs(function(np.array([-_SMALL, _SMALL])) - function(np.zeros(2)))
        return not bool((moved <= _MOST_UNITS * _SMALL).any())
    traits = traits_of(reader, view.opset)
    orders = traits.movement == Movement.SELECT and any(each.name for each in reader.outputs[1:])
    if orders or traits.arg_reduction or traits.normalization:
        return True
    if reader.op == "Cast" and is_standard(reader):
        return bool(reader.attrs.get("to") == onnx.TensorProto.BOOL)
    if not is_standard(reader) or len(reader.inputs) != 2:
        return False
    first, second = reader.inputs
    if reader.op == "Div":
        return second is tensor or _is_tiny(view.constant(second))
    if reader.op == "Pow":
        exponent = view.constant(second)
        return first is tensor and (exponent is None or bool((exponent < 1).any()))
    other = view.constant(second if first is tensor else first)
    if reader.op == "Mul":
        return other is not None and bool((np.abs(other) * _MOST_UNITS * _SMALL > 1).any())
    return traits.comparison and other is not None and _is_small(other)


def _is_tiny(divisor: Array | None) -> bool:
    return divisor is not None and bool((np.abs(divisor) < _MOST_UNITS * _SMALL).any())


def _is_small(values: Array) -> bool:
    return bool((np.abs(values.astype(np.float64)) < _SMALL).all())
