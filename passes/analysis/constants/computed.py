"""Which tensors are computed from constants alone, however large they are."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from .evaluation import may_fold
from .static_values import static_value


def computed_from_constants(tensor: gs.Tensor, view: View, known: dict[int, bool]) -> bool:
    """Say whether `tensor` follows from constants, so that folding would make a constant of it.

    `known` keeps the answers by id, so that each node is looked at once for many tensors.
    """
    pending = [tensor]
    while pending:
        current = pending[-1]
        if id(current) in known:
            pending.pop()
            continue
        node = view.producer(current)
        if view.is_constant(current) or not current.name:
            known[id(current)] = True
        elif node is None or not (is_standard(node) and may_fold(node, view.opset)):
            known[id(current)] = False
        elif static_value(node, view) is not None:
            known[id(current)] = True
        else:
            operands = node.inputs[:1] if node.op == "CastLike" else node.inputs
            waiting = [t for t in operands if id(t) not in known]
            if waiting:
                pending += waiting
                continue
            known[id(current)] = all(known[id(t)] for t in operands)
        pending.pop()
    return known[id(tensor)]
