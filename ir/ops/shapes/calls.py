"""The types that a call of a local function gives: those of its body, written out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core.build import make_constant, make_node, make_variable
from ...core.variables import is_standard
from ...graph.edit import Edit
from ...graph.inline import CallInliner
from ...graph.uses import scopes
from ...graph.view import View
from .runtime import is_doubted

ValueOf = Callable[[gs.Tensor], "np.ndarray[Any, Any] | None"]
Functions = Mapping[tuple[str, str], gs.Function]


def doubted_functions(graph: gs.Graph) -> Functions:
    """Return the functions, by domain and name, in which inference may count wrong somewhere.

    Not those that call themselves, which no runtime takes.
    """
    known = {(str(f.domain or ""), str(f.name)): f for f in graph.functions}
    decided: dict[tuple[str, str], bool] = {}

    def decide(key: tuple[str, str]) -> bool:
        if key not in decided:
            decided[key] = False  # stays for one that is reached again from itself
            decided[key] = any(
                is_doubted(node, known[key].opset) if is_standard(node) else decide(called(node))
                for node in _nodes(known[key])
                if is_standard(node) or called(node) in known
            )
        return decided[key]

    return {key: function for key, function in known.items() if decide(key)}


def called(node: gs.Node) -> tuple[str, str]:
    """Return domain and name of the function that `node` calls, if it calls one."""
    return str(node.domain or ""), str(node.op)


def written_out(call: gs.Node, function: gs.Function, owner: gs.Graph, view: View) -> gs.Graph:
    """Return a graph of what `call` computes, with inputs of the types they have in `owner`."""
    graph = standing_alone(call, owner, view)
    graph.opset, graph.import_domains = function.opset, list(function.import_domains or ())
    with Edit(graph) as edit:
        CallInliner(edit).inline(graph.nodes[0], function)
    return graph


def standing_alone(
    node: gs.Node, owner: gs.Graph, view: View, value_of: ValueOf = lambda tensor: None
) -> gs.Graph:
    """Return a graph of `node` alone, with inputs of the types, and values, they have in `owner`.

    `value_of` tells the values of inputs that are no constants, None where they are not known.
    """
    graph = gs.Graph(
        opset=owner.opset, import_domains=owner.import_domains, ir_version=owner.ir_version
    )
    known = {tensor.name: _stand_in(tensor, view, value_of) for tensor in node.inputs}
    inputs = [known[tensor.name] for tensor in node.inputs]
    outputs = [make_variable(tensor.name) for tensor in node.outputs]
    made = make_node(node.op, node.name, dict(node.attrs), inputs, outputs, node.domain)
    graph.nodes = [made]
    graph.functions = [] if is_standard(node) else list(owner.functions)
    graph.inputs = [t for t in known.values() if isinstance(t, gs.Variable) and t.name]
    graph.outputs = [t for t in outputs if t.name]
    return graph


def _stand_in(tensor: gs.Tensor, view: View, value_of: ValueOf) -> gs.Tensor:
    if isinstance(tensor, gs.Constant) and view.is_constant(tensor):
        return make_constant(tensor.name, tensor._values)
    values = value_of(tensor)
    if values is not None:
        return make_constant(tensor.name, values)
    found = view.type(tensor)
    if found is None:
        return make_variable(tensor.name)
    shape = None if found.shape is None else list(found.shape)
    return make_variable(tensor.name, found.dtype, shape)


def _nodes(owner: gs.Graph) -> Iterator[gs.Node]:
    return (node for scope in scopes(owner) for node in scope.nodes)
