"""Fused operators: local functions of the domain `planish`, whose bodies say what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_graphsurgeon as gs

from ..core.variables import FUSED_DOMAIN
from ..proto.metadata import NodeMetadata, node_metadata, set_node_metadata
from ..proto.versions import opset_imports
from .clone import clone_function
from .edit import Edit
from .meaning import same_meaning
from .parts import is_written_out, parts_of, set_restored
from .uses import scopes


def ensure_function(graph: gs.Graph, function: gs.Function) -> str:
    """Add a copy of `function` to `graph` and import its domain; return what it is called there.

    Nothing is added where the graph has one of its domain that means the same, under its name or
    its name and a number. The number is added where another function has the name.
    """
    taken = {f.name: f for f in graph.functions if f.domain == function.domain}
    name, number = str(function.name), 0
    while name in taken and not same_meaning(taken[name], function):
        number += 1
        name = f"{function.name}_{number}"
    if name not in taken:
        made = clone_function(function)
        made.name = name
        graph.functions.append(made)
        graph.import_domains = opset_imports(graph)
    return name


def call_function(
    edit: Edit,
    function: gs.Function,
    inputs: Sequence[gs.Tensor],
    output: gs.Tensor,
    attrs: Mapping[str, Any],
    *,
    of: Sequence[gs.Node],
    at: gs.Node,
) -> gs.Node:
    """Add a call of `function` in the place of `at`, which stands for the removed nodes `of`.

    What these were called is kept with the call, so that they have their names and documentation
    again where the function is written out.
    """
    known_functions = len(edit.graph.functions)
    name = edit.function_name(function, ensure_function)
    if len(edit.graph.functions) > known_functions and all(map(is_written_out, of)):
        set_restored(edit.graph.functions[-1])
    made = edit.node(name, inputs, [output], dict(attrs), at=at, domain=function.domain)
    known = node_metadata(made) or NodeMetadata()
    set_node_metadata(made, replace(known, parts=parts_of(of)))
    return made


def rename_function(graph: gs.Graph, function: gs.Function) -> None:
    """Give `function` and its calls a name that no function of its domain has."""
    old = (function.domain, function.name)
    taken = {f.name for f in graph.functions if f.domain == function.domain}
    number = 1
    while f"{function.name}_{number}" in taken:
        number += 1
    function.name = f"{function.name}_{number}"
    for owner in (graph, *graph.functions):
        for scope in scopes(owner):
            for node in scope.nodes:
                if (node.domain, node.op) == old:
                    node.op = function.name


def fused_functions(graph: gs.Graph) -> list[gs.Function]:
    """Return the functions of the domain `planish`."""
    return [function for function in graph.functions if function.domain == FUSED_DOMAIN]
