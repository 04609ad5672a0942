"""Shape and type inference, from the graph's inputs alone.

Types that a file declares for inner tensors are often wrong (a batch size left from export), so
they are never trusted: what this returns follows from the declared graph inputs and the ONNX
operator definitions. Beyond an operator of an unknown domain nothing is known.

ONNX's own inference does the work. Where it and the runtime count differently (`runtime`),
the node is hidden from it and its result declared, so that it goes on from the right sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core import dtypes
from ...core.variables import is_standard, subgraphs_of
from ...files.given import Model, as_graph
from ...graph.types import Dim, Shape, TensorType, Types, without_made_up
from ...graph.uses import Uses, scopes
from ...graph.view import View
from .calls import ValueOf, called, doubted_functions, standing_alone, written_out
from .elements import element_types
from .onnx_inference import infer_by_onnx
from .runtime import is_doubted, misleads_inference, runtime_shape

# Each round settles what follows from the one before; networks need two or three.
_MOST_ROUNDS = 8

Results = tuple[TensorType | None, ...]


def infer_types(graph: Model) -> Types:
    """Infer the types of all tensors of `graph` and its subgraphs, in linear time.

    The graph itself, and the types it declares, are left alone. An inconsistent graph yields what
    could be inferred, with the complaint in `problem`.
    """
    graph = as_graph(graph)
    return _infer(graph, {id(tensor) for tensor in graph.inputs})


def infer_cut(
    cut: gs.Graph, declared: Mapping[int, TensorType], defaults: AbstractSet[int]
) -> Types:
    """Infer the types in a part of a graph whose inputs are `declared`, by id.

    `defaults`: the inputs of the whole graph, by id, which may have a default value.
    """
    return _infer(cut, defaults, declared)


def _infer(
    graph: gs.Graph, defaults: AbstractSet[int], declared: Mapping[int, TensorType] | None = None
) -> Types:
    doubted = _doubted(graph, defaults)
    if not doubted:
        return infer_by_onnx(graph, {}, declared)
    return _Correction(graph, doubted, declared).run()


def infer_results(
    node: gs.Node, owner: gs.Graph, view: View, value_of: ValueOf = lambda tensor: None
) -> Results:
    """Infer the types of the results of `node` in `owner`, from those of its inputs alone.

    `value_of` tells the values of inputs that are no constants, None where they are not known.
    """
    alone = standing_alone(node, owner, view, value_of)
    types = infer_types(alone)
    found = [types.of(tensor) for tensor in alone.nodes[0].outputs]
    return tuple(None if each is None else declared_type(each) for each in found)


@dataclass(frozen=True)
class _Doubted:
    """A node whose results inference may have wrong; `function` is what it calls."""

    node: gs.Node
    scope: gs.Graph
    function: gs.Function | None = None


def _doubted(graph: gs.Graph, defaults: AbstractSet[int]) -> list[_Doubted]:
    functions = doubted_functions(graph) if graph.functions else {}
    found: list[_Doubted] = []
    for scope in scopes(graph):
        for node in scope.nodes:
            if called(node) in functions:
                found.append(_Doubted(node, scope, functions[called(node)]))
            elif is_standard(node) and is_doubted(node, scope.opset, defaults):
                found.append(_Doubted(node, scope))
    return found


def _doubted_inside(body: gs.Graph) -> list[_Doubted]:
    return _doubted(body, {id(tensor) for tensor in body.inputs})


class _Correction:
    """Infers, and again with what was wrong declared, until nothing more is."""

    def __init__(
        self,
        graph: gs.Graph,
        doubted: Sequence[_Doubted],
        declared: Mapping[int, TensorType] | None = None,
    ) -> None:
        self._graph = graph
        self._declared = declared
        self._doubted = doubted
        self._uses = Uses(graph)
        self._never_seen = {id(each.node) for each in doubted if self._crashes(each)}

    def run(self) -> Types:
        """Return the types, and what inference says by itself where that is something else."""
        hidden: Mapping[int, Results] = dict.fromkeys(self._never_seen, ())
        types = plain = infer_by_onnx(self._graph, hidden, self._declared)
        for rounds in range(_MOST_ROUNDS):
            wrong = self._wrong(types, hidden)
            if rounds == _MOST_ROUNDS - 1:  # what has not settled by then is not known
                wrong = {k: r if hidden.get(k) == r else _unknown(r) for k, r in wrong.items()}
            if wrong == hidden:
                break
            hidden, types = wrong, infer_by_onnx(self._graph, wrong, self._declared)
        return types if types is plain else replace(types, plain=plain)

    def _crashes(self, each: _Doubted) -> bool:
        view = View(each.scope, self._uses, lambda tensor: None)
        if each.function is None:
            return misleads_inference(each.node, view)
        body = written_out(each.node, each.function, self._graph, view)
        return bool(_Correction(body, _doubted_inside(body))._never_seen)

    def _wrong(self, types: Types, hidden: Mapping[int, Results]) -> Mapping[int, Results]:
        """Return the types of the results that inference has wrong, by node."""
        found: dict[int, Results] = {}
        elements = self._elements(types)
        for each in self._doubted:
            key = id(each.node)
            right = self._results(each, View(each.scope, self._uses, types.of))
            if right is None and key in self._never_seen:
                found[key] = tuple(map(elements, each.node.outputs))
            elif right is not None and (key in hidden or not _agree(right, each.node, types)):
                found[key] = right
        return found

    def _elements(self, types: Types) -> Callable[[gs.Tensor], TensorType | None]:
        """Return what tells the type of a result of unknown rank that inference does not see."""

        def known(tensor: gs.Tensor) -> np.dtype[Any] | None:
            found = types.of(tensor)
            return None if found is None else dtypes.numpy_dtype(found.dtype)

        told = element_types(self._graph, known) if self._never_seen else {}

        def told_of(tensor: gs.Tensor) -> TensorType | None:
            dtype = told.get(id(tensor)) or known(tensor)
            return None if dtype is None else TensorType(dtype, None)

        return told_of

    def _results(self, each: _Doubted, view: View) -> Results | None:
        """Return the types of the results of a node, None where inference is to be believed."""
        if each.function is not None:
            return self._of_call(each.node, each.function, view)
        right = runtime_shape(each.node, view)
        if right is None:
            return None
        dtypes = [view.dtype(tensor) for tensor in each.node.outputs]
        if not subgraphs_of(each.node):
            dtypes[0] = dtypes[0] or right.dtype or view.dtype(each.node.inputs[0])
        return tuple(
            None if t is None else declared_type(TensorType(t, right.shape)) for t in dtypes
        )

    def _of_call(self, call: gs.Node, function: gs.Function, view: View) -> Results | None:
        body = written_out(call, function, self._graph, view)
        doubted = _doubted_inside(body)
        if not doubted:
            return None
        types = _Correction(body, doubted).run()
        known = {tensor.name: types.of(tensor) for tensor in body.outputs}
        found = [known.get(tensor.name) for tensor in call.outputs]
        return tuple(None if each is None else declared_type(each) for each in found)


def _unknown(results: Results) -> Results:
    return tuple(None if each is None else replace(each, shape=None) for each in results)


def declared_type(found: TensorType) -> TensorType:
    """Return a type without the names that inference makes up, which differ from run to run."""
    shape = None if found.shape is None else tuple(map(without_made_up, found.shape))
    return TensorType(found.dtype, shape)


def _agree(right: Results, node: gs.Node, types: Types) -> bool:
    """Say whether inference found as much."""
    given = [types.of(tensor) for tensor in node.inputs if tensor.name]
    names = {size for found in given if found is not None for size in found.shape or ()}
    for tensor, wanted in zip(node.outputs, right, strict=False):
        found = types.of(tensor)
        if wanted is None:
            continue
        if node.op == "SequenceAt" and found is not None:
            names.update(found.shape or ())  # of all elements
        if found is None or found.dtype != wanted.dtype:
            return False
        if not _same_shape(wanted.shape, found.shape, names):
            return False
    return True


def _same_shape(right: Shape | None, inferred: Shape | None, names: AbstractSet[Dim]) -> bool:
    if right is None or inferred is None or len(right) != len(inferred):
        return right is inferred
    return all(
        a == b or not (isinstance(a, int) or isinstance(b, int) or b in names)
        for a, b in zip(right, inferred, strict=True)
    )
