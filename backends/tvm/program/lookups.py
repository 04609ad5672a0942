"""Element-wise operators from bytes to bytes as a table: x * sigmoid(x) between two grids.

    y = Quantize(f(Dequantize(x))) = table[x]

Whatever f is, and however many nodes, it has one result for each of 256 bytes: that of the
reference runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import ExecutionError
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_quantizer, quantizes_or_back
from ....ir.run.reference import evaluate
from ..graph.quantized import quantization_of
from ..spec.layout import Array


@dataclass(frozen=True, eq=False)
class ByteFunction:
    """What `nodes` make of bytes: 256 `values`, in the order of the bytes' bits."""

    nodes: Sequence[gs.Node]
    values: Array


def byte_function(row: Sequence[gs.Node], view: View) -> ByteFunction | None:
    """Return what the nodes behind the QuantizeLinear that begins `row` do to its bytes alone.

    It ends with the last QuantizeLinear before which nothing else is read, and of which nothing
    but the last result is read later. None where there is no such row, or only a change of grids.
    """
    source = row[0].outputs[0]
    inside, found = {id(source)}, 0
    for index, node in enumerate(row[1:], start=1):
        if not all(id(t) in inside or _is_number(t, view) for t in node.inputs if not t.is_empty()):
            break
        inside.add(id(node.outputs[0]))
        later = {id(t) for other in row[index + 1 :] for t in other.inputs}
        closed = not (inside - {id(node.outputs[0])}) & later
        if is_quantizer(node) and quantization_of(node, view) is not None and closed:
            found = index
    nodes = row[1 : found + 1]
    if all(map(quantizes_or_back, nodes)):
        return None
    values = _evaluated(source, nodes, view)
    return None if values is None else ByteFunction(nodes, values)


def _is_number(tensor: gs.Tensor, view: View) -> bool:
    values = view.constant(tensor)
    return values is not None and values.size == 1


def _evaluated(source: gs.Tensor, nodes: Sequence[gs.Node], view: View) -> Array | None:
    """Return what `nodes` give for every byte."""
    dtype = view.dtype(source)
    assert dtype is not None
    every = np.arange(256, dtype=np.uint8).view(dtype)
    held: dict[int, gs.Tensor] = {id(source): gs.Constant("every_byte", every)}
    copies = []
    for node in nodes:
        inputs = [_copy(t, held, view) for t in node.inputs]
        (output,) = node.outputs
        held[id(output)] = gs.Variable(output.name, output.dtype)
        copies.append(
            gs.Node(
                node.op, node.name, dict(node.attrs), inputs, [held[id(output)]], domain=node.domain
            )
        )
    result = held[id(nodes[-1].outputs[0])]
    result.dtype = view.dtype(nodes[-1].outputs[0])
    try:
        (values,) = evaluate(view.scope, copies, [result])
    except ExecutionError:
        return None
    return values.reshape(-1) if values.size == every.size and values.itemsize == 1 else None


def _copy(tensor: gs.Tensor, held: dict[int, gs.Tensor], view: View) -> gs.Tensor:
    if tensor.is_empty():
        return gs.Variable.empty()
    if id(tensor) not in held:
        values = view.constant(tensor)
        assert values is not None
        held[id(tensor)] = gs.Constant(tensor.name, values)
    return held[id(tensor)]
