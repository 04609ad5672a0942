"""Fused operators: local functions of the domain `planish`, whose bodies say what they compute."""

from __future__ import annotations

from typing import Any

import onnx
import onnx.inliner
import onnx_graphsurgeon as gs

from ..core.errors import GraphError
from ..core.variables import FUSED_DOMAIN, STANDARD_DOMAINS
from ..proto.to_proto import opset_imports
from .clone import clone_function


def ensure_function(graph: gs.Graph, function: gs.Function) -> None:
    """Add a copy of `function` to `graph` and import its domain, unless it is there already.

    Raises GraphError where the graph has another function of that name and domain.
    """
    for known in graph.functions:
        if known.unique_id == function.unique_id:
            if _body(known) != _body(function):
                raise GraphError(
                    f"the model has a function '{function.domain}.{function.name}' of its own that "
                    "computes something else; inline it (onnx.inliner) before fusing"
                )
            return
    graph.functions.append(clone_function(function))
    graph.import_domains = opset_imports(graph)


def _body(function: gs.Function) -> list[tuple[Any, ...]]:
    return [
        (n.op, n.domain or "", *(t.name for t in (*n.inputs, *n.outputs)), *n.attrs)
        for n in function.nodes
    ]


def inline_fused(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` with every fused operator replaced by its body and the domain gone.

    Functions of other domains stay. Uses ONNX's own inliner, which leaves an absent argument as an
    empty input at the end; ONNX Runtime lays a convolution out in blocks only without that one.
    """
    fused = [(f.domain, f.name) for f in model.functions if f.domain == FUSED_DOMAIN]
    if not fused:
        return model
    inlined = onnx.inliner.inline_selected_functions(model, fused, exclude=False)
    kept = [entry for entry in inlined.opset_import if entry.domain != FUSED_DOMAIN]
    del inlined.opset_import[:]
    inlined.opset_import.extend(kept)
    _drop_absent_inputs(inlined.graph)
    return inlined


def _drop_absent_inputs(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.domain in STANDARD_DOMAINS:
            while node.input and not node.input[-1]:
                node.input.pop()
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _drop_absent_inputs(attribute.g)
