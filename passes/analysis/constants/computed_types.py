"""Types where sizes are computed in ways that inference does not follow, such as by way of floats.

Exporters write Floor(Cast(Shape(x)) * 2) for the sizes of a Resize. Once the inputs have sizes,
such arithmetic is constant, and is computed.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.build import make_constant, put_input
from ....ir.core.errors import ExecutionError
from ....ir.graph.clone import clone
from ....ir.graph.types import Types
from ....ir.graph.uses import Uses
from ....ir.graph.view import View
from ....ir.ops.shapes.infer import infer_types
from .evaluation import constant_values
from .static_values import is_static

# Each makes known what sizes behind it are computed from.
_MOST_ROUNDS = 64
_MOST_ELEMENTS = 64


def with_computed_sizes(graph: gs.Graph, types: Types) -> Types:
    """Return `types` of `graph`, and those of results whose sizes follow from computed values.

    `graph` is left untouched.
    """
    if not _computed(graph, types)[1]:
        return types
    filled, rounds = clone(graph), 0
    known = infer_types(filled)
    while rounds < _MOST_ROUNDS and _fill(filled, known, rounds):
        known, rounds = infer_types(filled), rounds + 1
    if rounds:
        for node, twin in zip(graph.nodes, filled.nodes, strict=True):
            for tensor, found in zip(node.outputs, map(known.of, twin.outputs), strict=True):
                if found is not None and not _is_known(tensor, types):
                    types.learn(tensor, found)
    return types


def _fill(graph: gs.Graph, types: Types, round_: int) -> bool:
    """Put constants in the place of what sizes are computed from; say whether there were any."""
    places, values = _computed(graph, types)
    made: dict[int, gs.Constant] = {}
    for node, place in places:
        tensor = node.inputs[place]
        if id(tensor) in values:
            name = f"{tensor.name}_computed_{round_}"
            made.setdefault(id(tensor), make_constant(name, values[id(tensor)]))
            put_input(node, place, made[id(tensor)])
    return bool(made)


def _computed(
    graph: gs.Graph, types: Types
) -> tuple[list[tuple[gs.Node, int]], dict[int, np.ndarray[Any, Any]]]:
    """Return where nodes of unknown results read small tensors, and values of these by identity."""
    view = View(graph, Uses(graph), types.of)
    places = [
        (node, place)
        for node in _unknown(graph, types)
        for place, tensor in enumerate(node.inputs)
        if _holds_sizes(tensor, view)
    ]
    with contextlib.suppress(ExecutionError):
        return places, constant_values([node.inputs[place] for node, place in places], view)
    return places, {}


def _holds_sizes(tensor: gs.Tensor, view: View) -> bool:
    if isinstance(tensor, gs.Constant) or view.producer(tensor) is None:
        return False
    shape = view.shape(tensor)
    return shape is not None and len(shape) < 2 and is_static(shape) and shape < (_MOST_ELEMENTS,)


def _unknown(graph: gs.Graph, types: Types) -> list[gs.Node]:
    """Return the nodes of the main graph that have a result of unknown sizes."""
    return [n for n in graph.nodes if not all(_is_known(t, types) for t in n.outputs if t.name)]


def _is_known(tensor: gs.Tensor, types: Types) -> bool:
    found = types.of(tensor)
    return found is not None and found.shape is not None and is_static(found.shape)
