"""Normalizations behind layers that folding would take in: as they are, they stay float.

DQ -> Conv -> BatchNormalization -> Q        Q and DQ around each, and integers in the Conv alone
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core.counted import counted
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context


def remark_unfolded(graph: gs.Graph, context: Context) -> None:
    """Say how many normalizations of `graph` stand behind layers, and what folds them."""
    view = context.view()
    count = sum(_is_unfolded(node, view) for node in graph.nodes)
    if count:
        stand = counted(count, "BatchNormalization stands", "BatchNormalizations stand")
        context.remark(
            f"{stand} behind layers and would stay float; run the preset exact before, which folds "
            "them into weights"
        )


def _is_unfolded(node: gs.Node, view: View) -> bool:
    if node.op != "BatchNormalization" or not is_standard(node):
        return False
    made_by = view.producer(node.inputs[0])
    layer = made_by is not None and made_by.op in LAYERS and is_standard(made_by)
    return layer and view.only_reader(node.inputs[0]) is node
