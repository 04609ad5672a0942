"""By how much folding makes a model larger, and what of it is left out for that.

The results that stay are stored, and the constants that only they were made of go. Nodes that share
a constant or a result of some size are judged together, since one alone frees nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core.disjoint_sets import DisjointSets
from ....ir.graph.uses import Uses

# About what a node takes in a file: a constant of so many bytes in its place is no growth.
_FREE = 128
SizeOf = Callable[[gs.Tensor], int | None]


@dataclass(frozen=True)
class Together:
    """Nodes that are folded together or not at all, and the bytes that the model grows by then."""

    nodes: tuple[gs.Node, ...]
    growth: int


def growing(nodes: Sequence[gs.Node], size_of: SizeOf, uses: Uses) -> list[Together]:
    """Return those parts of `nodes`, which can all be computed, that make the model larger.

    `size_of`: bytes of a constant or of a result of the nodes, None of any other tensor.
    """
    parts = (Together(part, _growth(part, size_of, uses)) for part in _parts(nodes, size_of))
    return [part for part in parts if part.growth > _FREE]


def _parts(nodes: Sequence[gs.Node], size_of: SizeOf) -> Iterable[tuple[gs.Node, ...]]:
    sets = DisjointSets(len(nodes))
    first: dict[int, int] = {}
    for at, node in enumerate(nodes):
        for tensor in (*node.inputs, *node.outputs):
            if (size_of(tensor) or 0) > _FREE:
                sets.unite(first.setdefault(id(tensor), at), at)
    parts: dict[int, list[gs.Node]] = {}
    for at, node in enumerate(nodes):
        parts.setdefault(sets.find(at), []).append(node)
    return map(tuple, parts.values())


def _growth(part: Sequence[gs.Node], size_of: SizeOf, uses: Uses) -> int:
    inside = {id(node) for node in part}

    def leaves(tensor: gs.Tensor) -> bool:
        """Say whether anything else reads or shows a tensor."""
        shown = id(tensor) in uses.pinned or id(tensor) in uses.interface_inputs
        return shown or any(id(reader) not in inside for reader in uses.readers(tensor))

    made = {id(t): t for node in part for t in node.outputs if t.name}
    read = {id(t): t for node in part for t in node.inputs if t.name and id(t) not in made}
    stored = sum(size_of(t) or 0 for t in made.values() if leaves(t))
    return stored - sum(size_of(t) or 0 for t in read.values() if not leaves(t))
