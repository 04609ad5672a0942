"""Which operators always give the same tensors for the same inputs, and which outputs they do."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ..core.variables import dense_values, is_standard, subgraphs_of
from ..graph.order import reads
from .traits import operators_with, traits_of

_RANDOM = operators_with(lambda traits: traits.random)


def draws(node: gs.Node) -> bool:
    """Say whether `node`, or one in its subgraphs, draws random numbers, with a seed or without."""
    inner = (n for subgraph in subgraphs_of(node) for n in subgraph.nodes)
    training = node.op == "Dropout" and len(node.inputs) > 2 and not node.inputs[2].is_empty()
    return (is_standard(node) and (node.op in _RANDOM or training)) or any(map(draws, inner))


def is_pure(op: str, opset: int) -> bool:
    """Say whether the standard operator is deterministic and gives tensors from tensors."""
    return traits_of(op, opset).pure


def random_outputs(graph: gs.Graph) -> set[str]:
    """Return the outputs of `graph`, sorted, that depend on a random operator without a seed."""
    random: set[int] = set()
    for node in graph.nodes:
        if _is_random(node) or (random and any(id(t) in random for t in reads(node))):
            random.update(id(t) for t in node.outputs if not t.is_empty())
    return {t.name for t in graph.outputs if id(t) in random}


def _is_random(node: gs.Node) -> bool:
    if any(_is_random(inner) for subgraph in subgraphs_of(node) for inner in subgraph.nodes):
        return True
    if not is_standard(node) or "seed" in node.attrs:
        return False
    if node.op == "Dropout" and len(node.inputs) > 2 and not node.inputs[2].is_empty():
        training = dense_values(node.inputs[2])
        return training is None or bool(np.any(training))
    return node.op in _RANDOM
