"""Types of a graph after edits: what was edited is inferred again, and what follows from it.

A type follows from the operator, the types of what it reads and, where that is a list of sizes, its
values. So a cut of the graph is enough: the nodes that were edited, those behind them that read a
list of sizes, and in front of them the nodes that make such lists, whose values inference computes.
Where the cut begins, types are as they were. Where a result has another type than before, what
reads it is inferred next.

What holds of whole graphs alone is left to `infer_types`: bodies, complaints, corrected sizes, and
values of unknown type.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace

import onnx_graphsurgeon as gs

from ...core.variables import is_standard
from ...graph.types import MADE_UP, Dim, TensorType, Types, without_made_up
from ...graph.uses import Uses
from .followed import holds_sizes
from .infer import infer_cut
from .known_results import KnownResults, Results, key_of

Nodes = dict[int, gs.Node]  # by id

# So many times, what reads a result whose type has changed is inferred; then all that is behind it.
_WAVES = 8
# With more of its nodes to infer, a graph is inferred as a whole.
_WORTH = 0.7
# Names that are made up here have higher numbers than those that inference makes up.
_FIRST_NAME = 1 << 20


def updated_types(
    graph: gs.Graph,
    types: Types,
    edited: Mapping[int, gs.Node],
    uses: Uses,
    known: KnownResults | None = None,
) -> Types | None:
    """Return the types of `graph`, where `types` are those from before `edited`, by id, were.

    `uses` is the index of the graph as it is; `known`: what was inferred of its nodes before, which
    is added to. None where all must be inferred.
    """
    if types.problem is not None or types.plain is not None or not types.propagated or uses.nests:
        return None
    update = _Update(graph, types.copy(), uses, known or KnownResults())
    nodes = {key: node for key, node in edited.items() if uses.scope(node) is graph}
    for wave in range(_WAVES + 1):
        nodes = update.behind(nodes, all_the_way=wave == _WAVES)
        changed = update.infer(nodes)
        if not changed:
            break
        nodes = {id(node): node for tensor in changed for node in uses.readers(tensor)}
    return None if changed is None else update.types


class _Update:
    """Brings `types` up to date, a set of nodes at a time."""

    def __init__(self, graph: gs.Graph, types: Types, uses: Uses, known: KnownResults) -> None:
        self.types = types
        self._graph = graph
        self._uses = uses
        self._known = known

    def behind(self, nodes: Nodes, *, all_the_way: bool) -> Nodes:
        """Return `nodes` and those behind them, as far as lists of sizes go, or to the outputs."""
        found, pending = dict(nodes), list(nodes.values())
        while pending:
            for tensor in pending.pop().outputs:
                if not (all_the_way or holds_sizes(self.types.of(tensor))):
                    continue
                for reader in self._uses.readers(tensor):
                    if id(reader) not in found:
                        found[id(reader)] = reader
                        pending.append(reader)
        return found

    def infer(self, nodes: Nodes) -> list[gs.Tensor] | None:
        """Find the types of the results of `nodes`, and return those whose types have changed.

        None where that takes the whole graph.
        """
        unknown, alike = Nodes(), list[tuple[gs.Node, Hashable]]()
        seen, inputs = set[Hashable](), self._uses.interface_inputs
        for node in [node for node in self._graph.nodes if id(node) in nodes]:
            key = key_of(node, self.types, inputs)
            if key is None or not (key in seen or self._known.of(key) is not None):
                unknown[id(node)] = node
            else:
                alike.append((node, key))
            seen.add(key)
        changed = self._infer(unknown) if unknown else []
        if changed is None:
            return None
        left = [node for node, key in alike if self._known.of(key) is None]
        if left:  # sizes that have no name yet are one another's in one cut alone
            unknown.update({id(node): node for node in left})
            inferred = self._infer(unknown)
            if inferred is None:
                return None
            changed += inferred
        for node, key in alike:
            changed += self._learn(node, self._known.of(key))
        return changed

    def _learn(self, node: gs.Node, results: Results | None) -> list[gs.Tensor]:
        """Take in the types of the results of `node`, and return those whose types have changed."""
        pairs = [(t, kind) for t, kind in zip(node.outputs, results or (), strict=False) if t.name]
        changed = [tensor for tensor, kind in pairs if self.types.of(tensor) != kind]
        for tensor, kind in pairs if changed else ():
            self.types.learn(tensor, kind)
        return changed

    def _infer(self, nodes: Nodes) -> list[gs.Tensor] | None:
        """Have the results of `nodes` inferred, and return those whose types have changed."""
        if len(nodes) > _WORTH * len(self._graph.nodes):
            return None
        cut, given = dict(nodes), dict[int, tuple[gs.Tensor, TensorType]]()
        pending = list(nodes.values())
        while pending:
            for tensor in pending.pop().inputs:
                producer = self._uses.producer(tensor)
                if not tensor.name or id(tensor) in given or id(producer) in cut:
                    continue
                if (
                    isinstance(tensor, gs.Constant)
                    and id(tensor) not in self._uses.interface_inputs
                ):
                    continue
                kind = self.types.of(tensor)
                if producer is not None and (producer.op == "Constant" or holds_sizes(kind)):
                    cut[id(producer)] = producer
                    pending.append(producer)
                elif kind is None:
                    return None
                else:
                    given[id(tensor)] = (tensor, kind)
        ordered = [node for node in self._graph.nodes if id(node) in cut]
        found = self._of_cut(ordered, given)
        if found.problem is not None or found.plain is not None or not found.propagated:
            return None
        results = [t for node in ordered if id(node) in nodes for t in node.outputs if t.name]
        changed = self._take_in(results, found, [kind for _, kind in given.values()])
        self._known.learn(nodes.values(), self.types, self._uses.interface_inputs)
        return changed

    def _of_cut(
        self, cut: list[gs.Node], given: Mapping[int, tuple[gs.Tensor, TensorType]]
    ) -> Types:
        whole, inside = self._graph, {id(tensor) for node in cut for tensor in node.outputs}
        part = gs.Graph(
            opset=whole.opset, import_domains=whole.import_domains, ir_version=whole.ir_version
        )
        part.nodes = cut
        part.inputs = [tensor for tensor, _ in given.values()]
        part.outputs = [tensor for tensor in whole.outputs if id(tensor) in inside]
        part.functions = [] if all(map(is_standard, cut)) else whole.functions
        declared = {key: kind for key, (_, kind) in given.items()}
        return infer_cut(part, declared, self._uses.interface_inputs)

    def _take_in(
        self, results: Iterable[gs.Tensor], found: Types, given: Iterable[TensorType]
    ) -> list[gs.Tensor]:
        """Learn the types of `results`, in order; return those whose types have changed."""
        names = _Names(given, self._first_called, self.types.names)
        changed = []
        for tensor in results:
            old, new = self.types.of(tensor), found.of(tensor)
            if not names.agree(tensor, old, new):
                self.types.learn(tensor, None if new is None else names.named(new))
                changed.append(tensor)
        self.types = replace(self.types, names=names.made)
        return changed

    def _first_called(self) -> Mapping[Dim, int]:
        """Return, by each name that was made up, the id of the first tensor with such a size."""
        found = dict[Dim, int]()
        made = (tensor for node in self._graph.nodes for tensor in node.outputs)
        for tensor in itertools.chain(self._graph.inputs, made):
            kind = self.types.of(tensor)
            for size in (kind.shape or ()) if kind is not None else ():
                if without_made_up(size) != size:
                    found.setdefault(size, id(tensor))
        return found


class _Names:
    """What inference called sizes that it does not know, in the whole graph and in a cut of it.

    `given`: the types where the cut begins, whose names are those of the whole graph; `firsts`:
    tells the first tensor of the graph with a name; `made`: how many names were made up here.
    """

    def __init__(
        self, given: Iterable[TensorType], firsts: Callable[[], Mapping[Dim, int]], made: int
    ) -> None:
        self.made = made
        self._given = {size for kind in given for size in kind.shape or ()}
        self._firsts = firsts
        self._known_firsts: Mapping[Dim, int] | None = None
        self._whole: dict[Dim, Dim] = {}  # by the name in the cut

    def agree(self, tensor: gs.Tensor, old: TensorType | None, new: TensorType | None) -> bool:
        """Say whether `new`, of the cut, says of `tensor` what `old`, of the whole graph, does.

        A size without a name of its own may be called otherwise: where no tensor before had it, it
        is no other's in the graph either.
        """
        if old is None or new is None or old.shape is None or new.shape is None:
            return old == new
        if old.dtype != new.dtype or len(old.shape) != len(new.shape):
            return False
        met = dict[Dim, Dim]()
        for was, size in zip(old.shape, new.shape, strict=True):
            made_up = self._is_made_up(size)
            known = self._whole.get(size, met.get(size)) if made_up else size
            if made_up and known is None and was not in met.values() and self._starts(tensor, was):
                met[size] = was
            elif known != was:
                return False
        self._whole.update(met)
        return True

    def named(self, new: TensorType) -> TensorType:
        """Return a type of the cut with the names of the whole graph."""
        return TensorType(new.dtype, new.shape and tuple(map(self._name, new.shape)))

    def _name(self, size: Dim) -> Dim:
        if not self._is_made_up(size):
            return size
        if size not in self._whole:
            self._whole[size] = f"{MADE_UP}{_FIRST_NAME + self.made}"
            self.made += 1
        return self._whole[size]

    def _is_made_up(self, size: Dim) -> bool:
        return without_made_up(size) != size and size not in self._given

    def _starts(self, tensor: gs.Tensor, was: Dim) -> bool:
        """Say whether `was` is a name that was made up for a size of `tensor`."""
        if without_made_up(was) == was:
            return False
        if self._known_firsts is None:
            self._known_firsts = self._firsts()
        return self._known_firsts.get(was) == id(tensor)
