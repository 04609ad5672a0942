"""The two graphs of a proof, written out, and what is known to be equal between them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import onnx_graphsurgeon as gs

from ..core.build import put_input
from ..core.disjoint_sets import DisjointSets
from ..graph.types import TensorType
from ..graph.uses import scopes
from ..ops.inline_calls import written_out
from ..ops.shapes.infer import infer_types
from .digests import Digests
from .expressions import Expressions

# Sizes of a batch, and of other axes, that a graph leaves open: of each name another, in turn.
_BATCHES = ((2, 3, 5, 7), (3, 5, 7, 2), (1, 1, 1, 1))
_OTHERS = ((64, 96, 128, 160), (71, 105, 83, 118), (65, 97, 129, 161))
# An input with more elements than images have, where many axes are open, has these parts of them.
_MANY, _PART = 1 << 16, 8

Types = Mapping[str, TensorType]
Sizes = Mapping[tuple[str, int], int]  # of open axes of inputs


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
        _read_once(self.graph, self._referred, self._references)
        self.tensors = {n: self._referred[self._references[id(t)]] for n, t in self.tensors.items()}
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

    @property
    def is_open(self) -> bool:
        """Whether the graph leaves sizes of inputs open."""
        shapes = (t.shape for t in self.graph.inputs if not isinstance(t, gs.Constant))
        return any(not isinstance(size, int) for shape in shapes for size in shape or ())

    def outputs_inferred(self) -> list[TensorType | None]:
        """Return the types of the outputs as they follow from the graph, whatever they declare."""
        kept = [(t, t.shape) for t in self.graph.outputs if not isinstance(t, gs.Constant)]
        for tensor, _ in kept:
            if id(tensor) not in self.inputs:
                tensor.shape = None
        types = infer_types(self.graph)
        found = [types.of(tensor) for tensor in self.graph.outputs]
        for tensor, shape in kept:
            tensor.shape = shape
        return found

    def types(self, chosen: Sizes | None) -> tuple[Types, bool]:
        """Return the types by name, and whether they fit together.

        `chosen`: open sizes, by input and axis; None leaves them open.
        """
        ports = (*self.graph.inputs, *self.graph.outputs)
        kept = [(t, t.shape) for t in ports if not isinstance(t, gs.Constant)]
        for tensor in self.graph.inputs if chosen is not None else ():
            if tensor.shape is not None and not isinstance(tensor, gs.Constant):
                tensor.shape = [
                    size if isinstance(size, int) else (chosen or {})[tensor.name, axis]
                    for axis, size in enumerate(tensor.shape)
                ]
        for tensor in self.graph.outputs if chosen is not None else ():
            if id(tensor) not in self.inputs and not isinstance(tensor, gs.Constant):
                tensor.shape = None
        types = infer_types(self.graph)
        found = {name: types.of(tensor) for name, tensor in self.tensors.items()}
        for tensor, shape in kept:
            tensor.shape = shape
        known = {name: each for name, each in found.items() if each is not None}
        return known, types.problem is None


def _read_once(
    graph: gs.Graph, referred: Mapping[str, gs.Tensor], references: Mapping[int, str]
) -> None:
    """Have nodes read one tensor of those that compute the same, so that windows begin at one."""

    def one(tensor: gs.Tensor) -> gs.Tensor:
        return referred[references[id(tensor)]] if id(tensor) in references else tensor

    for scope in scopes(graph):
        for node in scope.nodes:
            for at, tensor in enumerate(node.inputs):
                if one(tensor) is not tensor:
                    put_input(node, at, one(tensor))
        if scope is not graph:
            scope.outputs = [one(tensor) for tensor in scope.outputs]


class PairedSizes:
    """The types of both graphs at sizes that they leave open.

    - `opened`: whether there are such sizes; else the types are those of the sizes given.
    - `base`: at one choice of sizes, before and after; `named`: with names for the open ones.
    - `tried`: the choices so far, by input and axis.
    """

    def __init__(self, before: Side, after: Side) -> None:
        self._sides = before, after
        self.opened = before.is_open
        self.tried: list[dict[str, int]] = []
        self._choices: list[tuple[Types, Types]] = []
        inputs = before.graph.inputs
        self._left = list(_choices(inputs))
        self._instead: list[Sizes] = []
        if self._left and _elements(inputs, self._left[0]) > _MANY:
            self._left, self._instead = list(_choices(inputs, _PART)), self._left
        self.named = before.types(None)[0], after.types(None)[0]
        self.base = self.named
        if self.opened:
            self.base = next(self.choices(), self.named)

    def choices(self) -> Iterator[tuple[Types, Types]]:
        """Yield the types at each choice of sizes that the graph before can have."""
        yield from self._choices
        while self._left or (self._instead and not self._choices):
            chosen = (self._left or self._instead).pop(0)
            before, fits = self._sides[0].types(chosen)
            if fits:
                self.tried.append({f"{name}[{axis}]": n for (name, axis), n in chosen.items()})
                self._choices.append((before, self._sides[1].types(chosen)[0]))
                yield self._choices[-1]


def _elements(inputs: Iterable[gs.Tensor], chosen: Sizes) -> int:
    """Return how many elements the largest input has."""
    shaped = [tensor for tensor in inputs if tensor.shape is not None]
    counts = [
        math.prod(
            size if isinstance(size, int) else chosen[tensor.name, axis]
            for axis, size in enumerate(tensor.shape)
        )
        for tensor in shaped
    ]
    return max(counts, default=0)


def _choices(inputs: Iterable[gs.Tensor], part: int = 1) -> Iterator[Sizes]:
    """Yield sizes for the open axes of inputs, of each name one; then the same for all names.

    `part`: how much smaller they are than usual, but for batches.
    """
    opened = [
        (tensor.name, axis, size if isinstance(size, str) else f"{tensor.name}[{axis}]")
        for tensor in inputs
        if not isinstance(tensor, gs.Constant)
        for axis, size in enumerate(tensor.shape or ())
        if not isinstance(size, int)
    ]
    firsts = {name: axis for _, axis, name in reversed(opened)}
    seen: list[dict[str, int]] = []
    for alike in (False, True):
        for batches, others in zip(_BATCHES, _OTHERS, strict=True):
            counts = {False: 0, True: 0}
            sizes: dict[str, int] = {}
            for name, axis in firsts.items():
                row = batches if axis == 0 else [size // part for size in others]
                sizes[name] = row[0 if alike else counts[axis == 0] % len(row)]
                counts[axis == 0] += 1
            if sizes in seen:
                continue
            seen.append(sizes)
            yield {(tensor, axis): sizes[name] for tensor, axis, name in opened}


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
        if late.startswith("constant "):  # of which the graph before may have the same
            self._places.setdefault(late, len(self._classes))
            self._classes.add(len(self._places) - len(self._classes))
        if late in self._places:
            self._classes.unite(self._places[early], self._places[late])
        else:
            self._after.expressions.rename(late, early)

    def _keys(self, before: gs.Tensor, after: gs.Tensor) -> tuple[str, str]:
        return self._before.expressions.key(before), self._after.expressions.key(after)


def seed_of(before: Side, after: Side, place: int) -> tuple[int, ...]:
    """Return the seed of the points of a window, which follows from the two models.

    Whoever makes a model for such points changes its digest, and the points with it.
    """
    return (int(before.digest, 16), int(after.digest, 16), place)
