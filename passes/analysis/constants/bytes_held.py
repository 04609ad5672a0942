"""How many bytes the constants of a model take."""

from __future__ import annotations

import math

import onnx_graphsurgeon as gs

from ....ir.core.dtypes import byte_size
from ....ir.graph.uses import scopes


def constant_bytes(graph: gs.Graph) -> int:
    """Return the bytes of all constants of `graph`, those in attributes included."""
    found: dict[int, int] = {}
    for scope in scopes(graph):
        for node in scope.nodes:
            for value in (*node.inputs, *node.attrs.values()):
                if isinstance(value, gs.Constant) and id(value) not in found:
                    found[id(value)] = byte_size(math.prod(value.shape), value.dtype)
    return sum(found.values())
