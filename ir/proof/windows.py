"""Windows: what computes a tensor from others that are known to be equal, in both graphs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..core.variables import is_standard, subgraphs_of
from .expressions import captured
from .sides import Side

# A window with more nodes is not looked at.
MOST_NODES = 400


@dataclass(frozen=True)
class ProofWindow:
    """Nodes before and after, in order, that compute `output` from `inputs`.

    Pairs are of a tensor before and the one after that is equal to it, or is to be shown so.
    """

    before: Sequence[gs.Node]
    after: Sequence[gs.Node]
    inputs: Sequence[tuple[gs.Tensor, gs.Tensor]]
    output: tuple[gs.Tensor, gs.Tensor]


@dataclass(frozen=True)
class Cone:
    """The nodes, in order, that compute a tensor, and the tensors at which they begin, by name.

    Tensors of which nothing but the shape is read are not among these.
    """

    nodes: Sequence[gs.Node]
    begins: dict[str, gs.Tensor]


def cone(side: Side, output: gs.Tensor, stops: Collection[str]) -> Cone | None:
    """Return what computes `output` from tensors called `stops` and inputs of the graph.

    None where that are too many nodes. `output` itself is no stop.
    """
    begins: dict[str, gs.Tensor] = {}
    nodes: list[gs.Node] = []
    entered: set[int] = set()
    first = side.producer(output)
    if first is None:
        return Cone((), {output.name: output})
    pending = [(first, False)]
    while pending:
        node, done = pending.pop()
        if done:
            nodes.append(node)
            continue
        if id(node) in entered:
            continue
        entered.add(id(node))
        if len(entered) > MOST_NODES:
            return None
        pending.append((node, True))
        read = [] if reads_shape(node) else list(node.inputs)
        for body in subgraphs_of(node):
            read += captured(body)
        for tensor in read:
            if not tensor.name or side.expressions.is_constant(tensor):
                continue
            made = side.producer(tensor)
            if made is None or tensor.name in stops:
                begins[tensor.name] = tensor
            else:
                pending.append((made, False))
    return Cone(nodes, begins)


def reads_shape(node: gs.Node) -> bool:
    """Say whether `node` reads the shape of a tensor and none of its elements."""
    return node.op in ("Shape", "Size") and is_standard(node)
