"""Values of weights by the names of constants: read, set, and written back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.build import make_constant
from ....ir.core.variables import dense_values
from ....ir.graph.uses import scopes
from ...engine.context import Context

Array = np.ndarray[Any, Any]
Values = dict[str, Array]


def constants(graph: gs.Graph) -> dict[str, gs.Constant]:
    """Return the constants that nodes of `graph` and its bodies read, by name."""
    return {
        tensor.name: tensor
        for scope in scopes(graph)
        for node in scope.nodes
        for tensor in node.inputs
        if isinstance(tensor, gs.Constant)
    }


def set_values(part: gs.Graph, values: Mapping[str, Array]) -> None:
    """Put `values` into the constants of a part, which nobody else has; unknown names pass by."""
    for name, constant in constants(part).items():
        if name in values:
            constant._values = values[name]
    for node in part.nodes:
        if node.op == "Constant" and node.outputs and node.outputs[0].name in values:
            held = values[node.outputs[0].name]
            node.attrs = {"value": make_constant(node.outputs[0].name, held)}


def write_values(context: Context, values: Mapping[str, Array]) -> None:
    """Replace the constants called like `values` by fresh ones of the same name, one edit each.

    A value equal to the present one, bit by bit, makes no edit.
    """
    graph = context.graph
    present: dict[str, gs.Tensor] = dict(constants(graph))
    makers = {
        node.outputs[0].name: node for node in graph.nodes if node.op == "Constant" and node.outputs
    }
    with context.editing() as edit:
        for name, array in values.items():
            maker = makers.get(name)
            old = maker.outputs[0] if maker is not None else present.get(name)
            if old is None:
                continue
            held = dense_values(old)
            if held is not None and same_bits(held, array):
                continue
            if not edit.begin():
                break
            made = edit.constant(np.asarray(array, order="C"), name)
            edit.replace(old, made)
            if maker is not None:
                edit.remove(maker)
            edit.take_name(made, old)


def same_bits(a: Array, b: Array) -> bool:
    """Say whether two arrays are equal bit by bit."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
