"""What is known of a graph as it is, computed when it is asked for and kept until it changes."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Collection

import onnx_graphsurgeon as gs

from ...ir.core.variables import node_key
from ...ir.graph.edit import Edit
from ...ir.graph.types import Types
from ...ir.graph.uses import Uses
from ...ir.ops.shapes.infer import infer_types
from ...ir.ops.shapes.known_results import KnownResults
from ...ir.ops.shapes.update import updated_types

ByOp = dict[str, list[tuple[int, gs.Node]]]
_PLACE = operator.itemgetter(0)


class Analyses:
    """The types of `graph`, who makes and reads its tensors, and its nodes by operator.

    They follow the changes that are made through an `Edit`: types are inferred again for what was
    edited. A graph that was changed by hand needs other analyses.
    """

    def __init__(self, graph: gs.Graph, types: Types | None = None) -> None:
        self.graph = graph
        self._types = types
        self._results = KnownResults()  # of operators, as inferred so far
        self._uses: Uses | None = None
        self._edited: dict[int, gs.Node] = {}  # since the types were inferred
        self._by_op: ByOp | None = None
        self._names: frozenset[str] | None = None

    @property
    def types(self) -> Types:
        """The types of `graph`, inferred where they are not known."""
        if self._types is None or self._edited:
            if self._types is not None:
                self._types = updated_types(
                    self.graph, self._types, self._edited, self.uses, self._results
                )
            if self._types is None:
                self._types, self._results = infer_types(self.graph), KnownResults()
            self._edited.clear()
        return self._types

    @property
    def uses(self) -> Uses:
        """The index of `graph`."""
        if self._uses is None:
            self._uses = Uses(self.graph)
        return self._uses

    @property
    def by_op(self) -> ByOp:
        """The nodes of all scopes by operator, in order, each with its place among all."""
        if self._by_op is None:
            self._by_op = {}
            nodes = (node for scope in self.uses.scopes(self.graph) for node in scope.nodes)
            for place, node in enumerate(nodes):
                self._by_op.setdefault(node.op, []).append((place, node))
        return self._by_op

    def nodes_with(self, ops: Collection[str]) -> list[gs.Node]:
        """Return the nodes of all scopes whose operator is one of `ops`, in order."""
        found = [self.by_op[op] for op in self.by_op.keys() & ops]
        if len(found) == 1:
            return [node for _, node in found[0]]
        return [node for _, node in sorted(itertools.chain(*found), key=_PLACE)]

    @property
    def names(self) -> frozenset[str]:
        """What the nodes of all scopes are called."""
        if self._names is None:
            nodes = (node for scope in self.uses.scopes(self.graph) for node in scope.nodes)
            self._names = frozenset(map(node_key, nodes))
        return self._names

    def follow(self, edit: Edit) -> None:
        """Take in what `edit` has changed."""
        self._by_op = self._names = None
        if edit.everywhere:
            self._types = None
        else:
            self._edited.update(edit.edited)
