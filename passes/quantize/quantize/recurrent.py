"""Recurrent layers, which stay float: ONNX has no operator that computes them on integers.

Runtimes have their own (ONNX Runtime's DynamicQuantizeLSTM), which no other one reads.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_graphsurgeon as gs

from ....ir.core.counted import counted
from ....ir.core.variables import is_standard, node_key
from ....ir.graph.uses import scopes
from ....ir.ops.traits.groups import RECURRENT
from ...engine.context import Context


def remark_recurrent(graph: gs.Graph, context: Context, left_out: Collection[str] = ()) -> None:
    """Name the recurrent layers of `graph` and its bodies, and what makes them smaller."""
    nodes = [node for scope in scopes(graph) for node in scope.nodes]
    found = [node for node in nodes if node.op in RECURRENT and is_standard(node)]
    names = [f"{node.op} '{node_key(node)}'" for node in found if node_key(node) not in left_out]
    if names:
        layers = counted(len(names), "recurrent layer stays", "recurrent layers stay")
        context.remark(
            f"{layers} float, as ONNX has no integer operator for them; quantize-weights stores "
            f"their weights as integers ({', '.join(names)})"
        )
