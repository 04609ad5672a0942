"""Layers inside If, Loop and Scan: which of them can be quantized, and what is said of the others.

A body's tensors have a range where a sample ran it, those of a body within a Scan in no case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import onnx_graphsurgeon as gs

from ....ir.core.counted import counted
from ....ir.core.variables import is_standard, node_key
from ....ir.ops.linear.operators import bias_of
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context
from ..qdq.units import Unit
from .calibration.observers import Range

_UNSEEN = "no sample shows what it works on, in a body that was not run or that stands in a Scan"


def tell_bodies_apart(graph: gs.Graph, context: Context) -> None:
    """Give tensors and nodes of bodies names that no other scope has: they are known by these.

    The branches of an If may call theirs alike.
    """
    scopes = list(context.uses.scopes(graph))
    if len(scopes) == 1:
        return
    again = _named_again(scopes)
    keys = {node_key(node) for node in graph.nodes}
    nodes = [node for scope in scopes[1:] for node in scope.nodes]
    if not again and len(keys | {node_key(n) for n in nodes}) == len(keys) + len(nodes):
        return
    with context.editing() as edit:
        for tensor in again:
            edit.tell_apart(tensor, tensor.name)
        for node in nodes:
            key = node_key(node)
            if key in keys:
                edit.tell_apart(node, key)
            keys.add(node_key(node))


def without_unseen(
    units: Sequence[Unit], ranges: Mapping[str, Range], context: Context
) -> list[Unit]:
    """Return the units whose tensors all have a range; the others are declined."""
    seen = []
    for unit in units:
        if all(tensor.name in ranges for tensor in (*unit.inputs, *unit.outputs)):
            seen.append(unit)
        elif not unit.is_follower:
            context.decline(unit.node, _UNSEEN)
    return seen


def remark_bodies(
    graph: gs.Graph, context: Context, units: Sequence[Unit], left_out: Collection[str] = ()
) -> None:
    """Name the layers in bodies that are none of `units`, and what makes them smaller."""
    taken = {id(unit.node) for unit in units}
    names = [
        f"{node.op} '{node_key(node)}'"
        for scope in context.uses.scopes(graph)
        for node in scope.nodes
        if scope is not graph and id(node) not in taken and node_key(node) not in left_out
        if node.op in LAYERS and is_standard(node)
        if context.view(scope).constant(node.inputs[1]) is not None
    ]
    if names:
        layers = counted(len(names), "layer of a body stays", "layers of bodies stay")
        context.remark(
            f"{layers} float: ranges are observed in bodies that samples run, and not in those "
            f"within a Scan; quantize-weights stores their weights as integers ({', '.join(names)})"
        )


def remark_uncorrected(graph: gs.Graph, context: Context, chosen: Collection[str]) -> None:
    """Name the layers in bodies of `graph`, quantized, whose biases no mean of theirs corrects."""
    names = [
        node_key(node)
        for scope in context.uses.scopes(graph)
        for node in scope.nodes
        if scope is not graph and node_key(node) in chosen and is_standard(node)
        if node.op in LAYERS and bias_of(node) is not None
    ]
    if names:
        biases = counted(len(names), "bias in a body is", "biases in bodies are")
        context.remark(f"{biases} not corrected: means are taken outside ({', '.join(names)})")


def _named_again(scopes: Iterable[gs.Graph]) -> list[gs.Tensor]:
    """Return the tensors that have the name of another one that came before, each once."""
    first: dict[str, int] = {}
    again = {
        id(tensor): tensor
        for scope in scopes
        for tensor in _tensors_of(scope)
        if tensor.name and first.setdefault(tensor.name, id(tensor)) != id(tensor)
    }
    return list(again.values())


def _tensors_of(scope: gs.Graph) -> Iterator[gs.Tensor]:
    yield from scope.inputs
    for node in scope.nodes:
        yield from node.inputs
        yield from node.outputs
