"""Pairs of quantizing and dequantizing between products of rows, written as floats.

    DQ(Q(x)) = (clip(round(x / s) + z) - z) * s        in the same order, so to the same bits

Products of rows multiply floats: bytes between them would be stored in blocks and read back.
Source: ONNX operators QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.clone import clone
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.build import build_clip
from ....ir.ops.quantization.nodes import is_dequantizer, is_quantizer
from ...contract.prepare import typed_view
from .quantized import TensorQuantization, quantization_of


def fold_row_grids(graph: gs.Graph, multiplies_rows: Callable[[gs.Node, View], bool]) -> gs.Graph:
    """Return `graph` without the pairs that only nodes read that `multiplies_rows` says it of.

    `graph` itself is left as it is.
    """
    if not any(map(is_quantizer, graph.nodes)):
        return graph
    graph = clone(graph)
    view = typed_view(graph)
    with Edit(graph) as edit:
        for node in list(filter(is_quantizer, graph.nodes)):
            last = view.only_reader(node.outputs[0])
            grid = quantization_of(node, view)
            if grid is None or last is None or not is_dequantizer(last):
                continue
            result = last.outputs[0]
            readers = view.readers(result)
            if quantization_of(last, view) != grid or view.is_output(result) or not readers:
                continue
            if all(multiplies_rows(reader, view) for reader in readers):
                _write(node, last, grid, view, edit)
    return graph


def _write(first: gs.Node, last: gs.Node, grid: TensorQuantization, view: View, edit: Edit) -> None:
    x, result = first.inputs[0], last.outputs[0]
    kind = TensorType(np.dtype(np.float32), view.shape(x))
    scale = edit.constant(np.asarray(grid.scale, np.float32), f"{result.name}_scale")
    zero = edit.constant(np.asarray(grid.zero, np.float32), f"{result.name}_zero")
    edit.remove(last)
    edit.remove(first)

    def step(op: str, *given: gs.Tensor, to: gs.Tensor | None = None) -> gs.Tensor:
        made = edit.variable(f"{result.name}_{op.lower()}", kind) if to is None else to
        edit.node(op, list(given), [made], at=first)
        return made

    whole = step("Add", step("Round", step("Div", x, scale)), zero)
    ends = np.iinfo(grid.dtype)
    bounded = edit.variable(f"{result.name}_bounded", kind)
    build_clip(edit, whole, bounded, float(ends.min), float(ends.max), np.float32, at=first)
    step("Mul", step("Sub", bounded, zero), scale, to=result)
