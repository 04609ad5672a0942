"""The two graphs of a proof, written out, and what is known to be equal between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..core.disjoint_sets import DisjointSets
from ..graph.types import TensorType
from ..ops.shapes.infer import infer_types
from .digests import Digests
from .expressions import Expressions
from .written_out import written_out

# Sizes of a batch, and of other axes, that a graph leaves open.
_BATCHES = (2, 3)
_OTHERS = (64, 71)


@dataclass(frozen=True)
class Sizes:
    """One choice of the sizes that a graph leaves open, and the types that follow, by name."""

    chosen: Mapping[str, int]
    types: Mapping[str, TensorType]


class Side:
    """A graph with its fused operators written out."""

    def __init__(self, graph: gs.Graph, digests: Digests) -> None:
        self.graph = written_out(graph)
        self.tensors = {t.name: t for t in self.graph.inputs if t.name}
        for node in self.graph.nodes:
            self.tensors.update((t.name, t) for t in node.outputs if t.name)
        own = Expressions(self.graph, digests)
        self._references = {id(t): own.key(t) for t in self.tensors.values()}
        self._referred: dict[str, gs.Tensor] = {}
        for tensor in self.tensors.values():
            self._referred.setdefault(self._references[id(tensor)], tensor)
        self.digest = digests.interface(self.graph, map(own.key, self.graph.outputs))
        self.expressions = Expressions(self.graph, digests)
        self.inputs = {id(tensor) for tensor in self.graph.inputs}

    def reference(self, tensor: gs.Tensor) -> str:
        """Return what a tensor is called whatever its name is: what it computes."""
        return self._references[id(tensor)]

    def referred(self, reference: str) -> gs.Tensor | None:
        """Return the tensor with a reference, None where there is none."""
        return self._referred.get(reference)

    def producer(self, tensor: gs.Tensor) -> gs.Node | None:
        """Return the node that gives `tensor`, None for inputs and constants."""
        return self.expressions.producer.get(id(tensor))

    def sizes(self) -> list[Sizes]:
        """Return the types at each choice of open sizes; one where no size is open."""
        shapes = (t.shape for t in self.graph.inputs if not isinstance(t, gs.Constant))
        opened = any(not isinstance(size, int) for shape in shapes for size in shape or ())
        return [self._at(choice, opened) for choice in range(2 if opened else 1)]

    def _at(self, choice: int, opened: bool) -> Sizes:
        chosen: dict[str, int] = {}
        ports = (*self.graph.inputs, *self.graph.outputs)
        kept = [(t, t.shape) for t in ports if not isinstance(t, gs.Constant)]
        if opened:
            for tensor in self.graph.inputs:
                if tensor.shape is None or isinstance(tensor, gs.Constant):
                    continue
                tensor.shape = [
                    size if isinstance(size, int) else _size(size, axis, choice, chosen)
                    for axis, size in enumerate(tensor.shape)
                ]
            for tensor in self.graph.outputs:
                if id(tensor) not in self.inputs and not isinstance(tensor, gs.Constant):
                    tensor.shape = None
        types = infer_types(self.graph)
        found = {name: types.of(tensor) for name, tensor in self.tensors.items()}
        for tensor, shape in kept:
            tensor.shape = shape
        return Sizes(chosen, {name: each for name, each in found.items() if each is not None})


def _size(name: str | None, axis: int, choice: int, chosen: dict[str, int]) -> int:
    usual = (_OTHERS if axis else _BATCHES)[choice]
    return usual if name is None else chosen.setdefault(name, usual)


def paired_sizes(before: Side, after: Side) -> list[tuple[Sizes, Sizes]]:
    """Return the types of both sides at each choice of the sizes that are open."""
    return list(zip(before.sizes(), after.sizes(), strict=True))


class Equalities:
    """Which tensors of two sides are equal: those with one key, and what windows have shown."""

    def __init__(self, before: Side, after: Side) -> None:
        self._before, self._after = before, after
        keys = (before.expressions.key(tensor) for tensor in before.tensors.values())
        self._places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        self._classes = DisjointSets(len(self._places))

    def hold(self, before: gs.Tensor, after: gs.Tensor) -> bool:
        """Say whether a tensor before and one after are equal."""
        keys = self._keys(before, after)
        if keys[0] == keys[1]:
            return True
        places = [self._places[key] for key in keys if key in self._places]
        return len(places) == 2 and self._classes.find(places[0]) == self._classes.find(places[1])

    def enter(self, before: gs.Tensor, after: gs.Tensor) -> None:
        """Note that both are equal. What `after` was known to be equal to stays so."""
        early, late = self._keys(before, after)
        if late in self._places:
            self._classes.unite(self._places[early], self._places[late])
        else:
            self._after.expressions.set(after, early)

    def _keys(self, before: gs.Tensor, after: gs.Tensor) -> tuple[str, str]:
        return self._before.expressions.key(before), self._after.expressions.key(after)


def seed_of(before: Side, after: Side, place: int) -> tuple[int, ...]:
    """Return the seed of the points of a window, which follows from the two models.

    Whoever makes a model for such points changes its digest, and the points with it.
    """
    return (int(before.digest, 16), int(after.digest, 16), place)
