"""Copies of a graph with inputs of given sizes, in which what follows from these is known."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import onnx_graphsurgeon as gs

from ....ir.core.build import make_constant
from ....ir.core.variables import subgraphs_of
from ....ir.graph.clone import clone
from ....ir.graph.types import Dim
from ....ir.graph.uses import Uses
from ....ir.graph.view import View
from ....ir.ops.shapes.infer import infer_results, infer_types
from ....ir.run.feeds import is_size
from ...analysis.constants.evaluation import ValuesInOrder, constant_values
from .mend import nodes_of
from .rules import RULES
from .seen import Sizes, known
from .site import Array

# Of spatial axes multiples of them, which strided layers halve.
_PRIMES = (1009, 1013, 1019, 1021, 1031, 1033, 1039, 1049, 1051, 1061)
LEAST_STAND_IN = min(_PRIMES)
_SPATIAL = 32
_MOST_ROUNDS = 8  # of lists in bodies, and of what is known from several nodes alone


def opened_shapes(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]]) -> dict[str, list[Dim]]:
    """Return the shapes of the inputs before, what has a name or none as the number it becomes."""
    primes = itertools.cycle(_PRIMES)
    named: dict[str, int] = {}
    found: dict[str, list[Dim]] = {}
    for tensor in graph.inputs:
        wanted = shapes.get(tensor.name, tensor.shape)
        if isinstance(tensor, gs.Constant) or wanted is None:
            continue
        sizes: list[Dim] = []
        for axis, (dim, now) in enumerate(zip(tensor.shape or wanted, wanted, strict=True)):
            prime = next(primes) * (_SPATIAL if axis > 1 else 1)
            if is_size(dim):
                size = int(dim)
            elif is_size(now):
                size = int(now)
            else:
                size = named.setdefault(dim, prime) if isinstance(dim, str) else prime
            sizes.append(size)
        found[tensor.name] = sizes
    return found


def stand_ins(graph: gs.Graph, shapes: Mapping[str, Sequence[Dim]]) -> dict[str, int]:
    """Return the numbers that sizes which stay open have in copies, by name or as `axis 2 of x`."""
    opened, found = opened_shapes(graph, shapes), dict[str, int]()
    for tensor in graph.inputs:
        wanted = shapes.get(tensor.name, tensor.shape) or ()
        pairs = zip(wanted, opened.get(tensor.name, ()), strict=False)
        for axis, (dim, size) in enumerate(pairs):
            if not is_size(dim) and isinstance(size, int) and size >= LEAST_STAND_IN:
                name = dim if isinstance(dim, str) else f"axis {axis} of '{tensor.name}'"
                found[name] = size
    return found


def tried_as(sizes: Mapping[str, int]) -> str:
    """Say which numbers stood for open sizes, which a message has though nobody gave them."""
    text = ", ".join(f"{name} = {size}" for name, size in sizes.items())
    return f" (tried with {text})" if text else ""


def sized_copy(
    graph: gs.Graph, opened: Mapping[str, list[Dim]], shapes: Mapping[str, Sequence[Dim]]
) -> gs.Graph:
    """Return a copy of `graph` with inputs of `shapes`, of `opened` where these say no number."""
    made = clone(graph)
    for tensor in made.inputs:
        if tensor.name in opened:
            wanted = shapes.get(tensor.name, opened[tensor.name])
            pairs = zip(wanted, opened[tensor.name], strict=True)
            tensor.shape = [now if is_size(now) else was for now, was in pairs]
    return made


class SizedCopy:
    """What is known of a copy of `graph`, in which lists of sizes are written out.

    Inference does not follow all arithmetic that exporters write; what it computes at given sizes
    is known.
    """

    def __init__(self, graph: gs.Graph) -> None:
        self.graph = clone(graph)
        self._sources: dict[int, gs.Tensor] = {}  # of lists that are written out
        self._know()
        for _ in range(_MOST_ROUNDS):
            written, inferred = self._write_lists()
            if inferred:
                self._types = infer_types(self.graph)
            if written:
                self._index()
            if not inferred:
                break

    def _know(self) -> None:
        self._types = infer_types(self.graph)
        self._index()

    def _index(self) -> None:
        self._uses = Uses(self.graph)
        self._views: dict[int, View] = {}
        self._values: dict[int, dict[int, Array | None]] = {}
        self._numbers: dict[tuple[str, float], list[Sizes]] | None = None

    def _write_lists(self) -> tuple[bool, bool]:
        """Write out the lists of nodes whose results are unknown; say whether there were any.

        What follows from one that is written is inferred on the way, node by node, so that lists
        that are computed from it follow in the same walk. Say, too, whether more may follow:
        whether any result is known now, or a list was written in a body.
        """
        written = inside = False
        fresh: set[int] = set()  # tensors whose sizes are known on the way
        values: dict[int, ValuesInOrder] = {}
        for scope, node in nodes_of(self.graph):
            if not node.outputs or self._knows(node.outputs[0], scope):
                continue
            changed = any(id(tensor) in fresh for tensor in node.inputs)
            if _has_lists(node):
                told = values.setdefault(id(scope), ValuesInOrder(self.view(scope)))
                if self._write_lists_of(node, scope, told):
                    written = changed = True
                    inside = inside or scope is not self.graph
            if changed and scope is self.graph and not subgraphs_of(node):
                fresh.update(self._learn_sizes(node))
        return written, inside or bool(fresh)

    def _write_lists_of(self, node: gs.Node, scope: gs.Graph, values: ValuesInOrder) -> bool:
        written = False
        for position in _lists_of(node):
            tensor = node.inputs[position]
            if self.view(scope).constant(tensor) is None:
                held = self.value(tensor, scope)  # without what is learned on the way
                held = values.of(tensor) if held is None else held
                if held is not None:
                    made = make_constant(f"{tensor.name}__written", held)
                    self._sources[id(made)] = tensor
                    list.__setitem__(node.inputs, position, made)
                    written = True
        return written

    def source(self, tensor: gs.Tensor) -> gs.Tensor:
        """Return what a list that is written out was computed as; any other tensor as it is."""
        return self._sources.get(id(tensor), tensor)

    def _knows(self, tensor: gs.Tensor, scope: gs.Graph) -> bool:
        return known(self.view(scope).shape(tensor)) is not None

    def _learn_sizes(self, node: gs.Node) -> Iterator[int]:
        """Infer the results of a node of the graph itself; yield those of known sizes, by id."""
        found = infer_results(node, self.graph, self.view(self.graph))
        for tensor, made in zip(node.outputs, found, strict=True):
            if made is not None and known(made.shape) is not None and not tensor.is_empty():
                self._types.learn(tensor, made)
                yield id(tensor)

    def view(self, scope: gs.Graph) -> View:
        """Return what is known of a scope of the copy."""
        if id(scope) not in self._views:
            self._views[id(scope)] = View(scope, self._uses, self._types.of)
        return self._views[id(scope)]

    def value(self, tensor: gs.Tensor, scope: gs.Graph) -> Array | None:
        """Return what a list of sizes, or an operand, holds where that follows without inputs."""
        if id(scope) not in self._values:
            # All at once: each walk back to what can be computed is as long as the graph.
            read = [tensor for node in scope.nodes for tensor in node.inputs if tensor.name]
            self._values[id(scope)] = dict.fromkeys(map(id, read)) | constant_values(
                read, self.view(scope)
            )
        held = self._values[id(scope)]
        if id(tensor) not in held:
            found = constant_values([tensor], self.view(scope))
            held[id(tensor)] = found.get(id(tensor))
        return held[id(tensor)]

    def learn_results(self, node: gs.Node, values: Callable[[gs.Tensor], Array | None]) -> bool:
        """Infer the results of a node of the graph itself anew; say whether they are known.

        `values`: those of lists. What else follows from the node is as it was.
        """
        found = infer_results(node, self.graph, self.view(self.graph), values)
        for tensor, made in zip(node.outputs, found, strict=True):
            if made is not None and not tensor.is_empty():
                self._types.learn(tensor, made)
        pairs = zip(node.outputs, found, strict=True)
        return all(made is not None or tensor.is_empty() for tensor, made in pairs)

    @functools.cached_property
    def rolls(self) -> bool:
        """Whether rows are rolled on anywhere: the end of them joined with the beginning."""
        return any(
            node.op == "Concat"
            and len(parts := [self.view(scope).producer(t) for t in node.inputs]) == 2
            and all(part is not None and part.op == "Slice" for part in parts)
            and len({id(part.inputs[0]) for part in parts if part is not None}) == 1
            for scope, node in nodes_of(self.graph)
        )

    def uses_elsewhere(self, op: str, number: float, size: int, rank: int) -> bool:
        """Say whether an `op` has `number`, with a tensor of `rank` without an axis of `size`."""
        if self._numbers is None:
            self._numbers = {}
            for scope, node in nodes_of(self.graph):
                for number_ in self._held(node, scope):
                    shapes = [known(self.view(scope).shape(t)) for t in node.inputs]
                    known_ = [shape for shape in shapes if shape is not None]
                    self._numbers.setdefault((node.op, number_), []).extend(known_)
        shapes_ = self._numbers.get((op, abs(number)), ())
        return any(len(shape) == rank and size not in shape for shape in shapes_)

    def uses(self, op: str, number: float) -> int:
        """Return how many inputs of nodes of type `op` are, all, `number`; see `uses_elsewhere`."""
        self.uses_elsewhere(op, number, 0, 0)
        assert self._numbers is not None
        return len(self._numbers.get((op, abs(number)), ()))

    def _held(self, node: gs.Node, scope: gs.Graph) -> list[float]:
        held = [self.view(scope).constant(tensor) for tensor in node.inputs]
        single = [v for v in held if v is not None and v.size == 1 and v.dtype.kind in "iuf"]
        return [abs(float(value.reshape(-1)[0])) for value in single]


def _has_lists(node: gs.Node) -> bool:
    return node.op in RULES or node.op == "Pad"


def _lists_of(node: gs.Node) -> range:
    """Return the positions of what may be lists of sizes."""
    return range(0 if len(node.inputs) == 1 else 1, len(node.inputs))
