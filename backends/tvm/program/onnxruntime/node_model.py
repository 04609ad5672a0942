"""The model of one node, and of what untold steps before it give it: inputs, constants, bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs

from .....ir.core import dtypes
from .....ir.core.variables import is_standard, subgraphs_of
from .....ir.graph.order import reads
from .....ir.ops.traits import traits_of
from .....ir.proto.versions import opset_imports
from ...runtime.onnx_node import NEEDS_ELEMENTS
from ..program import Program, Step
from ..value import dtype_of, is_held, shape_of

# Parameters of few elements are part of the model: some operators want them constant.
_PART_OF_MODEL = 64
_IR_VERSION = 10


def operands_of(program: Program, steps: Sequence[Step]) -> tuple[list[gs.Tensor], list[gs.Tensor]]:
    """Return what `steps` read, each once: what the call is given, and what is in its model.

    What a branch or a loop's body reads of the graph is given to it, but for its own constants.
    """
    given: list[gs.Tensor] = []
    constants: list[gs.Tensor] = []
    seen = {tensor.name for node, _ in steps for tensor in node.outputs}
    for node, proto in steps:
        held = _held_inside(proto)
        for tensor in reads(node):
            if tensor.name in seen or tensor.name in held:
                continue
            seen.add(tensor.name)
            values = program.view.constant(tensor)
            few = values is not None and values.size <= _PART_OF_MODEL
            if few or not is_held(tensor.dtype):
                constants.append(tensor)
            else:
                given.append(tensor)
    return given, constants


def _held_inside(proto: onnx.NodeProto) -> set[str]:
    """Return the names of the constants that lie in the subgraphs of a node."""
    graphs = [attr.g for attr in proto.attribute if attr.HasField("g")]
    graphs += [graph for attr in proto.attribute for graph in attr.graphs]
    found = {held.name for graph in graphs for held in graph.initializer}
    found.update(held.values.name for graph in graphs for held in graph.sparse_initializer)
    return found.union(*(_held_inside(inner) for graph in graphs for inner in graph.node))


def model_of(
    program: Program,
    steps: Sequence[Step],
    given: list[tuple[gs.Tensor, Any]],
    constants: list[gs.Tensor],
) -> bytes:
    """Return the bytes of the model of `steps`, with `given` as inputs and `constants` inside."""
    inputs = [
        onnx.helper.make_tensor_value_info(
            tensor.name,
            dtypes.elem_type(_numpy_type(expr)),
            [size if isinstance(size, int) else None for size in shape_of(expr) or ()],
        )
        for tensor, expr in given
    ]
    results = results_of(steps[-1][0])
    outputs = [onnx.helper.make_empty_tensor_value_info(tensor.name) for tensor in results]
    held = [
        onnx.numpy_helper.from_array(_without_bfloat16(program.view.constant(c)), c.name)
        for c in constants
    ]
    protos = [proto for _, proto in steps]
    graph = onnx.helper.make_graph(protos, "node", inputs, outputs, held)
    model = onnx.helper.make_model(graph, ir_version=_IR_VERSION)
    recurrent = _recurrent([node for node, _ in steps], program.view.opset)
    if recurrent:
        onnx.helper.set_model_props(model, {NEEDS_ELEMENTS: recurrent})
    del model.opset_import[:]
    model.opset_import.extend(opset_imports(program.view.scope))
    return bytes(model.SerializeToString(deterministic=True))


def _recurrent(nodes: Sequence[gs.Node], opset: int) -> str:
    """Return the operator of a recurrent layer among `nodes` and in their bodies, else ""."""
    for node in nodes:
        if is_standard(node) and traits_of(node, opset).recurrent:
            return str(node.op)
        inner = [_recurrent(body.nodes, opset) for body in subgraphs_of(node)]
        if any(inner):
            return next(filter(None, inner))
    return ""


def results_of(node: gs.Node) -> list[gs.Tensor]:
    """Return the outputs of `node` that have a name."""
    return [tensor for tensor in node.outputs if not tensor.is_empty()]


def _without_bfloat16(values: Any) -> np.ndarray[Any, Any]:
    return np.asarray(values, np.float32 if values.dtype == ml_dtypes.bfloat16 else None)


def _numpy_type(expr: Any) -> np.dtype[Any]:
    name = dtype_of(expr)
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
