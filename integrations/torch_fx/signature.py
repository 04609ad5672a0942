"""The signature of a module: a network of planish's that is called as another module is."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx.graph import _PyTreeCodeGen
from torch.utils import _pytree as pytree

from ...ir.core.errors import ConversionError
from ...ir.core.kind import kind_of
from .examples import NOTHING, noted_value, placeholders

_ABSENT = (
    "is it a number, whose value tracing takes in? torch.export.export(...).module() has it noted, "
    "or write the number into the module"
)


def with_signature_of(
    original: torch.fx.GraphModule, network: torch.fx.GraphModule
) -> torch.fx.GraphModule:
    """Return `network`, of `to_fx`, with the inputs and the structure of outputs of `original`.

    Tensors correspond in order; inputs that are none, and outputs such as None, stay as they are.
    Raises ConversionError where their numbers differ.
    """
    graph = torch.fx.Graph()
    own = iter(placeholders(network))
    made: dict[torch.fx.Node, Any] = {}
    for node in placeholders(original):
        copy = graph.placeholder(str(node.target), node.type, _default(node))
        copy.meta.update(node.meta)
        value = noted_value(node)
        if isinstance(value, torch.Tensor) or value is NOTHING:
            made[_next(own, f"input '{node.target}'", _ABSENT)] = copy
    _require_none_left(own, "inputs")
    found = graph.graph_copy(network.graph, made)
    results = iter(found if isinstance(found, tuple) else (found,))
    (output,) = (node for node in original.graph.nodes if node.op == "output")
    leaves, structure = pytree.tree_flatten(output.args[0])
    given = [_output(leaf, results) for leaf in leaves]
    _require_none_left(results, "outputs")
    graph.output(pytree.tree_unflatten(given, structure))
    codegen = original.graph._codegen
    if isinstance(codegen, _PyTreeCodeGen):
        graph.set_codegen(_PyTreeCodeGen(codegen.pytree_info))
    graph.lint()
    module = torch.fx.GraphModule(network, graph, class_name=type(original).__name__)
    return module.eval()


def _output(leaf: Any, results: Iterator[Any]) -> Any:
    if not isinstance(leaf, torch.fx.Node):
        return leaf
    value = noted_value(leaf)
    if not isinstance(value, torch.Tensor) and value is not NOTHING:
        raise ConversionError(
            f"output '{leaf.name}' of the module is {kind_of(value)} and no tensor; leave it out"
        )
    return _next(results, f"output '{leaf.name}'", "let each output be a tensor of its own")


def _next(own: Iterator[Any], what: str, advice: str) -> Any:
    found = next(own, None)
    if found is None:
        raise ConversionError(
            f"{what} of the module is not in the graph that it is traced to; {advice}"
        )
    return found


def _require_none_left(own: Iterator[Any], what: str) -> None:
    left = [getattr(node, "name", str(node)) for node in own]
    if left:
        raise ConversionError(
            f"the graph that the module is traced to has more {what}: {', '.join(left)}"
        )


def _default(node: torch.fx.Node) -> Any:
    return node.args[0] if node.args else inspect.Signature.empty
