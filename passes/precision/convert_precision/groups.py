"""Whether a group of nodes saves more as narrow floats than the Casts around it take.

On a CPU that is bytes; elsewhere, where narrow floats are computed faster, a product suffices.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import onnx_graphsurgeon as gs

from ....ir.core.disjoint_sets import DisjointSets
from ....ir.graph.view import View
from .narrow import Array
from .slots import Slots

# Operators that give the same for a value in either type: they read the tensor that is there.
AGNOSTIC = frozenset({"Cast", "IsInf", "IsNaN", "Shape", "Size"})
# Bytes that a Cast takes in a file, its result's names included.
CAST = 100

Entry = tuple[gs.Node, Slots]


def groups_worth(
    nodes: Sequence[Entry],
    constants: Mapping[int, Array],
    view: View,
    faster: Collection[str] = (),
) -> list[bool]:
    """Say of each of `nodes` whether its group is worth it; tensors between nodes join them.

    A group with one of the operators `faster` is.
    """
    groups = DisjointSets(len(nodes))
    reads: dict[int, int] = {}
    made: set[int] = set()
    first: dict[int, int] = {}
    for index, (node, slots) in enumerate(nodes):
        made.update(id(node.outputs[p]) for p in slots.outputs)
        for position in slots.inputs:
            key = id(node.inputs[position])
            reads[key] = reads.get(key, 0) + 1
        for tensor in slot_tensors(node, slots):
            if id(tensor) not in constants:
                groups.unite(index, first.setdefault(id(tensor), index))
    saved = [0] * len(nodes)
    seen: set[int] = set()
    for index, (node, slots) in enumerate(nodes):
        for tensor in slot_tensors(node, slots):
            key = id(tensor)
            if key in seen:
                continue
            seen.add(key)
            if key in constants:
                alone = view.reads(tensor) == reads[key]
                saved[groups.find(index)] += constants[key].nbytes * (1 if alone else -1)
            elif key not in made or read_outside(tensor, reads.get(key, 0), view):
                saved[groups.find(index)] -= CAST
    for index, (node, _) in enumerate(nodes):
        if node.op in faster:
            saved[groups.find(index)] = max(saved[groups.find(index)], 1)
    return [saved[groups.find(index)] > 0 for index in range(len(nodes))]


def slot_tensors(node: gs.Node, slots: Slots) -> Iterator[gs.Tensor]:
    """Yield the tensors in the slots of `node`, inputs first."""
    for position in slots.inputs:
        yield node.inputs[position]
    for position in slots.outputs:
        yield node.outputs[position]


def read_outside(tensor: gs.Tensor, inside: int, view: View) -> bool:
    """Say whether anything needs the float32 values of `tensor`, which a group makes."""
    if view.is_output(tensor):
        return True
    if view.reads(tensor) == inside:
        return False
    return view.reads(tensor) > inside + sum(n.op in AGNOSTIC for n in view.readers(tensor))
