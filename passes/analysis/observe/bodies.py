"""Tensors inside bodies of If, Loop and Scan, as results that the graph itself shows.

    If      y, all(t) = [y, vec(t)]  in the branch that makes t,     [y, ()]  in the other one
    Loop    all(t) = concat([vec(t_1), ..., vec(t_T)])      a sequence, carried from step to step
    Scan    all(t) = vec([vec(t_1), ..., vec(t_T)])                  one more scan output

A body's tensor is no output of the graph: it has as many values as its body has runs, none where
that does not run. So it is shown as one row of all values that it had. Rows of a Scan have one
length at all steps, which what stands in a body within its body may not have: that is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ....ir.core.build import make_constant, make_node, make_variable
from ....ir.core.variables import is_standard, set_exotic_type, subgraphs_of
from ....ir.graph.uses import Uses, scopes

Rows = dict[str, gs.Tensor]

# Before, it had a batch, and its own place for the lengths of sequences.
_OPSET_OF_SCAN = 9
# From it on a Loop carries sequences.
_OPSET_OF_SEQUENCES = 13
_ROWS = onnx.helper.make_sequence_type_proto(
    onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [None])
)


def observable_bodies(node: gs.Node) -> list[gs.Graph]:
    """Return the bodies of an If, Loop or Scan, whose tensors can be shown; of no other node."""
    return subgraphs_of(node) if node.op in _WRITERS and is_standard(node) else []


def names_inside(graph: gs.Graph) -> set[str]:
    """Return the names of what bodies of `graph` are given and make."""
    return {
        tensor.name
        for scope in scopes(graph)
        if scope is not graph
        for tensor in _own_tensors(scope)
    }


def show_inner(graph: gs.Graph, names: Collection[str]) -> Rows:
    """Let nodes of `graph`, a copy of one's own, give all values of inner tensors, by their names.

    `names`: of float32 tensors that bodies, nested or not, are given or make; a name is that of one
    tensor alone. Each that can be shown becomes a tensor [values] of the top level of `graph`.
    """
    return _RowWriter(graph, names).scope(graph)


def _own_tensors(scope: gs.Graph) -> Iterator[gs.Tensor]:
    yield from scope.inputs
    for node in scope.nodes:
        yield from (tensor for tensor in node.outputs if tensor.name)


class _RowWriter:
    def __init__(self, graph: gs.Graph, names: Collection[str]) -> None:
        self._graph, self._names = graph, frozenset(names)
        self._taken = Uses(graph).tensor_names

    def scope(self, scope: gs.Graph) -> Rows:
        """Return the rows that `scope` and what is nested in it can show, as tensors of `scope`."""
        rows: Rows = {}
        for node in list(scope.nodes):
            if observable_bodies(node):
                rows |= _WRITERS[node.op](self, node, scope)
        return rows if scope is self._graph else rows | self._own(scope)

    def _own(self, scope: gs.Graph) -> Rows:
        own = [tensor for tensor in _own_tensors(scope) if tensor.name in self._names]
        return {tensor.name: self._flat(tensor, scope) for tensor in own}

    def branches(self, node: gs.Node, scope: gs.Graph) -> Rows:
        """Return what either branch of an If shows, empty where the other one runs."""
        bodies = observable_bodies(node)
        found = [self.scope(body) for body in bodies]
        shown: Rows = {}
        for name in dict.fromkeys(name for rows in found for name in rows):
            for body, rows in zip(bodies, found, strict=True):
                body.outputs.append(rows[name] if name in rows else self._nothing(body))
            shown[name] = self._row(name)
            node.outputs.append(shown[name])
        return shown

    def scanned(self, node: gs.Node, scope: gs.Graph) -> Rows:
        """Return what the body of a Scan itself shows, over all its steps."""
        (body,) = observable_bodies(node)
        shown: Rows = {}
        if self._graph.opset < _OPSET_OF_SCAN:
            return shown
        for name, row in self._own(body).items():
            body.outputs.append(row)
            steps = make_variable(self._fresh(name), np.dtype(np.float32), [None, None])
            node.outputs.append(steps)
            for attribute in ("scan_output_axes", "scan_output_directions"):
                if attribute in node.attrs:
                    node.attrs[attribute] = [*node.attrs[attribute], 0]
            shown[name] = self._flat(steps, scope)
        return shown

    def steps(self, node: gs.Node, scope: gs.Graph) -> Rows:
        """Return what the body of a Loop shows, over all its steps."""
        (body,) = observable_bodies(node)
        rows = self.scope(body)
        node.inputs.extend(gs.Variable.empty() for _ in range(2 - len(node.inputs)))
        shown, start = {}, self._start(node, scope) if rows else None
        for name, row in rows.items():
            carried = len(body.inputs) - 2
            before, after, steps = (self._gathered(name) for _ in range(3))
            if start is None:
                grown = make_node("Concat", "", {"axis": 0}, [before, row], [after], None)
                node.inputs.append(make_constant(self._fresh(name), np.zeros(0, np.float32)))
                shown[name] = steps
            else:
                grown = make_node("SequenceInsert", "", {}, [before, row], [after], None)
                node.inputs.append(start)
                shown[name] = self._made("ConcatFromSequence", [steps], scope, name, {"axis": 0})
            body.nodes.append(grown)
            body.inputs.append(before)
            body.outputs.insert(1 + carried, after)
            node.outputs.insert(carried, steps)
        return shown

    def _start(self, node: gs.Node, scope: gs.Graph) -> gs.Tensor | None:
        """Return the sequence of one empty row that a Loop starts with, None where it takes none.

        To a sequence a step adds its own values; a tensor it writes anew with all before.
        """
        if not self._has_sequences:
            return None
        empty = make_constant(self._fresh("empty"), np.zeros(0, np.float32))
        start = self._gathered("start")
        made = make_node("SequenceConstruct", "", {}, [empty], [start], None)
        place = next(i for i, each in enumerate(scope.nodes) if each is node)
        scope.nodes.insert(place, made)
        return start

    @property
    def _has_sequences(self) -> bool:
        return bool(self._graph.opset >= _OPSET_OF_SEQUENCES)

    def _gathered(self, name: str) -> gs.Variable:
        """Return a variable for the values of the steps so far."""
        made = self._row(name)
        if self._has_sequences:
            set_exotic_type(made, _ROWS)
        return made

    def _flat(self, tensor: gs.Tensor, scope: gs.Graph) -> gs.Tensor:
        whole = make_constant(self._fresh("whole"), np.array([-1]))
        return self._made("Reshape", [tensor, whole], scope, tensor.name)

    def _nothing(self, scope: gs.Graph) -> gs.Tensor:
        empty = make_constant(self._fresh("empty"), np.zeros(0, np.float32))
        return self._made("Identity", [empty], scope, "nothing")  # outputs are made by nodes

    def _made(
        self,
        op: str,
        inputs: list[gs.Tensor],
        scope: gs.Graph,
        name: str,
        attrs: dict[str, Any] | None = None,
    ) -> gs.Tensor:
        row = self._row(name)
        scope.nodes.append(make_node(op, "", dict(attrs or {}), inputs, [row], None))
        return row

    def _row(self, name: str) -> gs.Variable:
        return make_variable(self._fresh(name), np.dtype(np.float32), [None])

    def _fresh(self, name: str) -> str:
        hint = f"{name}_values"
        fresh = next(n for n in _numbered(hint) if n not in self._taken)
        self._taken.add(fresh)
        return fresh


def _numbered(hint: str) -> Iterator[str]:
    yield hint
    number = 0
    while True:
        number += 1
        yield f"{hint}_{number}"


_WRITERS: dict[str, Callable[[_RowWriter, gs.Node, gs.Graph], Rows]] = {
    "If": _RowWriter.branches,
    "Loop": _RowWriter.steps,
    "Scan": _RowWriter.scanned,
}
