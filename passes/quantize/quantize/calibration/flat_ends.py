"""Where what reads a tensor is flat: values beyond are as good as the end.

    HardSigmoid(x; a, b) = 0 for x <= -b / a, 1 for x >= (1 - b) / a     x HardSigmoid(x) = 0 below

Of what a convolution hands to a HardSwish, all below -3 gives 0. A grid that has to tell these
values apart is coarser where they count. Pairs on the way to a reader change nothing of that: they
keep the order of values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx_graphsurgeon as gs

from .....ir.core.variables import is_standard
from .....ir.graph.view import View
from .....ir.ops.quantization.nodes import is_dequantizer, is_quantizer

Ends = tuple[float, float]

_ALL: Ends = (-math.inf, math.inf)
# x * clip(x / 6 + 1 / 2, 0, 1)
_HARD_SWISH: Ends = (-3.0, math.inf)


def flat_ends(tensor: gs.Tensor, view: View) -> Ends:
    """Return the interval of values that the readers of `tensor` tell apart; it contains 0."""
    low, high = 0.0, 0.0
    for reader in _readers(tensor, view):
        ends = _ALL if reader is None else _ends_for(reader, tensor, view)
        low, high = min(low, ends[0]), max(high, ends[1])
    return (low, high) if low < high else _ALL


def _readers(tensor: gs.Tensor, view: View) -> Iterator[gs.Node | None]:
    """Yield what reads `tensor`, past pairs; None for what is outside of the graph."""
    if view.is_output(tensor):
        yield None
    for reader in view.readers(tensor):
        if is_quantizer(reader) or is_dequantizer(reader):
            yield from _readers(reader.outputs[0], view)
        else:
            yield reader


def _source(tensor: gs.Tensor, view: View) -> gs.Tensor:
    """Return what `tensor` was before pairs."""
    while (node := view.producer(tensor)) is not None:
        if not (is_quantizer(node) or is_dequantizer(node)):
            break
        tensor = node.inputs[0]
    return tensor


def _ends_for(reader: gs.Node, tensor: gs.Tensor, view: View) -> Ends:
    if not is_standard(reader):
        return _ALL
    if reader.op == "HardSwish":
        return _HARD_SWISH
    if reader.op == "HardSigmoid":
        return _of_hard_sigmoid(reader)
    if reader.op == "Mul":
        others = [s for s in (_source(t, view) for t in reader.inputs) if s is not tensor]
        gate = view.producer(others[0]) if len(others) == 1 else None
        gates = gate is not None and gate.op == "HardSigmoid"
        if gate is not None and gates and _source(gate.inputs[0], view) is tensor:
            return _of_hard_sigmoid(gate)[0], math.inf
    return _ALL


def _of_hard_sigmoid(node: gs.Node) -> Ends:
    """Return between what the slope of a HardSigmoid is not 0 (ONNX: 0.2 x + 0.5 by default)."""
    slope, offset = float(node.attrs.get("alpha", 0.2)), float(node.attrs.get("beta", 0.5))
    if not slope > 0 or not 0 <= offset <= 1:
        return _ALL
    return -offset / slope, (1 - offset) / slope
