"""A part of a graph as a graph of its own, and values of weights by the names of constants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.build import make_constant
from ...ir.core.variables import dense_values
from ...ir.graph.clone import Copier
from ...ir.graph.types import Types
from ...ir.graph.uses import scopes
from ..analysis.observe.tap import nodes_reaching
from ..engine.context import Context

Array = np.ndarray[Any, Any]
Values = dict[str, Array]


def part_of(
    graph: gs.Graph, inputs: Sequence[str], outputs: Sequence[str], types: Types
) -> gs.Graph:
    """Return the nodes that make the tensors `outputs` from `inputs`, with a free batch size.

    Weights are shared with `graph`; constants are objects of the part's own.
    """
    nodes = nodes_reaching(graph, outputs, frozenset(inputs))
    tensors: dict[str, gs.Tensor] = {tensor.name: tensor for tensor in graph.inputs}
    tensors.update((t.name, t) for node in graph.nodes for t in node.outputs if t.name)
    shell = gs.Graph(
        nodes,
        opset=graph.opset,
        import_domains=graph.import_domains,
        name=graph.name,
        producer_name=graph.producer_name,
        ir_version=graph.ir_version,
    )
    copier = Copier()
    part = copier.graph(shell)
    part.functions = list(graph.functions)
    read = set(inputs)
    defaults = [t for t in graph.inputs if isinstance(t, gs.Constant) and t.name not in read]
    part.inputs = [_free_batch(copier, tensors[name], types) for name in inputs]
    part.inputs += [copier.tensor(tensor) for tensor in defaults]
    part.outputs = [copier.tensor(tensors[name]) for name in outputs]
    for tensor, name in zip(part.outputs, outputs, strict=True):
        known = types.of(tensors[name])
        if known is not None and isinstance(tensor, gs.Variable):
            tensor.dtype, tensor.shape = known.dtype, None
    return part


def _free_batch(copier: Copier, tensor: gs.Tensor, types: Types) -> gs.Tensor:
    copy = copier.tensor(tensor)
    known = types.of(tensor)
    if known is not None and isinstance(copy, gs.Variable):
        copy.dtype = known.dtype
        sizes = (
            None
            if known.shape is None
            else [d if isinstance(d, int) else None for d in known.shape]
        )
        copy.shape = sizes and [None, *sizes[1:]]
    return copy


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
            made = edit.constant(np.ascontiguousarray(array), name)
            edit.replace(old, made)
            if maker is not None:
                edit.remove(maker)
            edit.take_name(made, old)


def same_bits(a: Array, b: Array) -> bool:
    """Say whether two arrays are equal bit by bit."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def read_once(graph: gs.Graph, names: Iterable[str], nodes: Sequence[gs.Node]) -> set[str]:
    """Return those of `names` that are read by `nodes` of `graph` alone."""
    inside = {id(node) for node in nodes}
    outside = {
        tensor.name
        for scope in scopes(graph)
        for node in scope.nodes
        if id(node) not in inside
        for tensor in node.inputs
    }
    return set(names) - outside
