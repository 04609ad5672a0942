"""A prepared graph to a Relax program in one layout: channels last, whatever the element type.

Half precision needs it, since tensor cores take matrices whose depth, here the channels, is
innermost. Single precision profits too: a thread reads four channels at once, a warp 128
neighbouring ones, at any stride and any size of image; and nothing is transposed between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from .....ir.core.variables import dense_values, is_standard
from .....ir.graph.view import View
from .....ir.proto.to_proto import to_proto
from ...graph.prepare import typed_view
from ...program.emit_onnx import emit_onnx
from ...program.lowering import Lowered, input_variables
from .elementwise import can_emit_elementwise, emit_elementwise
from .emit_channels import (
    can_emit_concat,
    can_emit_flatten,
    can_emit_pool,
    emit_concat,
    emit_flatten,
    emit_pool,
)
from .emit_linear import can_emit_linear, emit_linear
from .tensors import Tensors

Can = Callable[[gs.Node, View], bool]
Emit = Callable[[Tensors, View, gs.Node], Any]
OPERATORS: dict[str, tuple[Can, Emit]] = {
    **dict.fromkeys(("Conv", "Gemm", "MatMul"), (can_emit_linear, emit_linear)),
    **dict.fromkeys(("MaxPool", "GlobalAveragePool"), (can_emit_pool, emit_pool)),
    "Concat": (can_emit_concat, emit_concat),
    "Flatten": (can_emit_flatten, emit_flatten),
}


def lower_graph(graph: gs.Graph) -> Lowered:
    """Return the Relax program of a prepared `graph`."""
    from tvm import relax

    view = typed_view(graph)
    model, _ = to_proto(graph, leave_out=lambda c: (v := dense_values(c)) is None or v.size > 64)
    tensors = Tensors()
    inputs = input_variables(graph)
    with tensors.builder.function("main"):
        with tensors.builder.dataflow():
            for tensor, variable in zip(graph.inputs, inputs, strict=True):
                tensors.define_plain(tensor, variable)
            for node, proto in zip(graph.nodes, model.graph.node, strict=True):
                _emit(tensors, view, node, proto)
            outputs = [tensors.builder.emit_output(tensors.plain(t)) for t in graph.outputs]
        tensors.builder.emit_func_output(relax.Tuple(outputs), [*inputs, *tensors.parameters])
    module = tensors.builder.get()
    # Constants fit by construction: only inputs are checked at every call.
    module["main"] = module["main"].with_attr("num_input", len(inputs))
    return Lowered(module, tensors.constants, {}, [])


def _emit(tensors: Tensors, view: View, node: gs.Node, proto: onnx.NodeProto) -> None:
    if is_standard(node) and node.op in OPERATORS:
        can, emit = OPERATORS[node.op]
        if can(node, view):
            emit(tensors, view, node)
            return
    if is_standard(node) and can_emit_elementwise(tensors, view, node):
        emit_elementwise(tensors, view, node, proto)
        return
    program: Any = tensors  # as much of a Program as the converters ask for
    emit_onnx(program, node, proto, view.opset)
