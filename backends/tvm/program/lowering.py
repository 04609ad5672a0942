"""A graph of ONNX operators to a Relax program: planish's passes, groups, layouts, kernels.

Why the program is written here rather than imported whole: layout, fusion and loop nests decide the
speed, and all three belong to the network, not to single operators. What has a kernel of ours is
grouped with what follows it and called in the blocked layout; TVM's importer serves the rest one
operator at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import BackendError
from ....ir.core.variables import dense_values, is_standard, node_key
from ....ir.graph.view import View
from ....ir.proto.to_proto import to_proto
from ..graph.groups import Group, group_nodes
from ..graph.halos import wanted_halos
from ..graph.joins import plan_joins
from ..graph.prepare import typed_view
from ..graph.quantized import fold_integers
from ..kernels.settings import Settings
from ..spec.calls import Call
from ..spec.layout import Array
from ..spec.machine import Machine
from ..spec.scalars import SCALARS
from .emit_channels import (
    can_emit_concat,
    can_emit_pool,
    can_emit_resize,
    can_emit_scalar,
    emit_concat,
    emit_pool,
    emit_resize,
    emit_scalar,
)
from .emit_linear import can_emit_linear, emit_linear
from .emit_onnx import emit_onnx
from .emit_quantize import can_emit_quantize, emit_quantize
from .emit_views import view_of_blocks
from .program import Program

_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")

Can = Callable[[gs.Node, View], bool]
Emit = Callable[[Program, View, Group], Any]
KERNELS: dict[str, tuple[Can, Emit]] = {
    **dict.fromkeys(SCALARS, (can_emit_scalar, emit_scalar)),
    "QuantizeLinear": (can_emit_quantize, emit_quantize),
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), (can_emit_linear, emit_linear)),
    **dict.fromkeys(_POOLS, (can_emit_pool, emit_pool)),
    "Concat": (can_emit_concat, emit_concat),
    "Resize": (can_emit_resize, emit_resize),
}
_VIEWS = frozenset(
    {
        "DequantizeLinear",
        "Flatten",
        "Gather",
        "QuantizeLinear",
        "Reshape",
        "Split",
        "Squeeze",
    }
)


@dataclass(frozen=True)
class Lowered:
    """A Relax module whose `main` takes the graph's inputs, then the constants.

    `kernels`: the operators that have one, and its name. `calls`: who is called for which nodes.
    """

    module: Any
    constants: list[Array]
    kernels: dict[Any, str]
    calls: list[Call]


def lower_graph(graph: gs.Graph, machine: Machine, settings: Settings | None = None) -> Lowered:
    """Return the Relax program of a prepared `graph`."""
    from tvm import relax

    graph, integers = fold_integers(graph)
    view = typed_view(graph)
    model, _ = to_proto(graph, leave_out=lambda c: (v := dense_values(c)) is None or v.size > 64)
    protos = {id(n): p for n, p in zip(graph.nodes, model.graph.node, strict=True)}
    halos = wanted_halos(graph, view, lambda node: _can(node, view))
    joins = plan_joins(graph.nodes, view, machine.lanes, halos, lambda node: _can(node, view))
    program = Program(machine, settings or Settings(), halos, joins, integers)
    inputs = input_variables(graph)
    with program.builder.function("main"):
        with program.builder.dataflow():
            for tensor, variable in zip(graph.inputs, inputs, strict=True):
                program.define_plain(tensor, variable)
            for group in group_nodes(graph.nodes, view, lambda node: _can_lead(node, view)):
                _emit(program, view, group, protos)
            outputs = [program.builder.emit_output(program.plain(t)) for t in graph.outputs]
        program.builder.emit_func_output(
            relax.Tuple(outputs), params=[*inputs, *program.parameters]
        )
    module = program.builder.get()
    # Constants fit by construction: only inputs are checked at every call.
    module["main"] = module["main"].with_attr("num_input", len(inputs))
    return Lowered(module, program.constants, program.kernels, program.calls)


def _emit(program: Program, view: View, group: Group, protos: dict[int, onnx.NodeProto]) -> None:
    node = group.anchor
    program.nodes = tuple(node_key(each) for each in (node, *group.followers))
    if is_standard(node) and node.op in _VIEWS and view_of_blocks(program, view, node):
        return
    if _can(node, view) and KERNELS[node.op][1](program, view, group) is not False:
        return
    for each in (node, *group.followers):
        emit_onnx(program, each, protos[id(each)], view.opset)
        program.calls.append(Call("", (node_key(each),)))


def _can(node: gs.Node, view: View) -> bool:
    return is_standard(node) and node.op in KERNELS and KERNELS[node.op][0](node, view)


def _can_lead(node: gs.Node, view: View) -> bool:
    """Say whether others can follow `node`; what reads dequantized bytes does that itself."""
    return node.op != "DequantizeLinear" and _can(node, view)


def input_variables(graph: gs.Graph) -> list[Any]:
    """Return a Relax variable for each input, equal names of sizes being equal variables.

    Raises BackendError for an input whose rank or element type is not known.
    """
    from tvm import relax, tirx

    sizes: dict[str, Any] = {}
    found = []
    for index, tensor in enumerate(graph.inputs):
        dtype = dtypes.numpy_dtype(tensor.dtype)
        if tensor.shape is None or np.dtype(dtype).kind not in "fiub":
            raise BackendError(
                f"backend 'tvm' needs to know rank and element type of input '{tensor.name}'; "
                "declare its shape, unknown sizes as names"
            )
        shape = []
        for axis, size in enumerate(tensor.shape):
            if isinstance(size, int) and size >= 0:
                shape.append(size)
                continue
            name = size if isinstance(size, str) and size not in ("", "?") else f"{index}_{axis}"
            if name not in sizes:
                sizes[name] = tirx.Var(f"s{len(sizes)}", "int64")
            shape.append(sizes[name])
        found.append(relax.Var(f"x{index}", relax.TensorType(shape, str(np.dtype(dtype)))))
    return found
