"""Shape and type inference, from the graph's inputs alone.

Types that a file declares for inner tensors are often wrong (a batch size left from export), so
they are never trusted: what this returns follows from the declared graph inputs and the ONNX
operator definitions. Beyond an operator of an unknown domain nothing is known.

ONNX's own inference does the work. Where it and the runtime count differently (`runtime_shapes`),
the node is hidden from it and its result declared, so that it goes on from the right sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from ...core.variables import is_standard
from ...graph.types import Dim, Shape, TensorType, Types
from ...graph.uses import Uses, scopes
from ...graph.view import View
from .calls import Functions, called, doubted_functions, written_out
from .onnx_inference import infer_by_onnx
from .runtime_shapes import crashes_inference, is_doubted, runtime_shape

# Each round settles what follows from the one before; networks need two or three.
_MOST_ROUNDS = 8
_GENERATED = "unk__"  # how the names begin that inference makes up

Results = tuple[TensorType, ...]


def infer_types(graph: gs.Graph) -> Types:
    """Infer the types of all tensors of `graph` and its subgraphs, in linear time.

    The graph itself, and the types it declares, are left alone. An inconsistent graph yields what
    could be inferred, with the complaint in `problem`.
    """
    doubted = _doubted(graph, doubted_functions(graph) if graph.functions else {})
    return _infer_corrected(graph, doubted) if doubted else infer_by_onnx(graph, {})


@dataclass(frozen=True)
class _Doubted:
    """A node whose results inference may have wrong; `function` is what it calls."""

    node: gs.Node
    scope: gs.Graph
    function: gs.Function | None = None


def _doubted(graph: gs.Graph, functions: Functions) -> list[_Doubted]:
    found: list[_Doubted] = []
    for scope in scopes(graph):
        for node in scope.nodes:
            if called(node) in functions:
                found.append(_Doubted(node, scope, functions[called(node)]))
            elif is_standard(node) and is_doubted(node, scope.opset):
                found.append(_Doubted(node, scope))
    return found


def _infer_corrected(graph: gs.Graph, doubted: Sequence[_Doubted]) -> Types:
    """Infer, and again with what was wrong declared, until nothing more is."""
    uses = Uses(graph)
    hidden: Mapping[int, Results] = {id(each.node): () for each in doubted if _crashes(each, uses)}
    never_seen = set(hidden)
    types = plain = infer_by_onnx(graph, hidden)
    for rounds in range(_MOST_ROUNDS):
        found: dict[int, Results] = {}
        for each in doubted:
            key = id(each.node)
            right = _results(each, graph, View(each.scope, uses, types.of))
            if right is None:
                right = () if key in never_seen else None
            if right is None or (key not in hidden and _agree(right, each.node, types)):
                continue
            # What has not settled by then is not known.
            settled = rounds < _MOST_ROUNDS - 1 or hidden.get(key) == right
            found[key] = right if settled else tuple(replace(t, shape=None) for t in right)
        if found == hidden:
            break
        hidden = found
        types = infer_by_onnx(graph, hidden)
    return types if types is plain else replace(types, plain=plain)


def _crashes(each: _Doubted, uses: Uses) -> bool:
    if each.function is not None:
        return True
    return crashes_inference(each.node, View(each.scope, uses, lambda tensor: None))


def _results(each: _Doubted, graph: gs.Graph, view: View) -> Results | None:
    """Return the types of the results of a node, None where inference is to be believed."""
    node = each.node
    if each.function is not None:
        body = written_out(node, each.function, view)
        body.functions = list(graph.functions)
        types = infer_types(body)
        known = [types.of(tensor) for tensor in body.outputs]
        return tuple(map(_declared, (t for t in known if t is not None)))
    right = runtime_shape(node, view)
    if right is None:
        return None
    dtypes = [view.dtype(tensor) for tensor in node.outputs]
    dtypes[0] = dtypes[0] or view.dtype(node.inputs[0])
    return tuple(_declared(TensorType(t, right.shape)) for t in dtypes if t is not None)


def _declared(found: TensorType) -> TensorType:
    """Return a type without the names that inference makes up, which differ from run to run."""
    shape = None if found.shape is None else tuple(map(_without_generated, found.shape))
    return TensorType(found.dtype, shape)


def _without_generated(size: Dim) -> Dim:
    return None if isinstance(size, str) and size.startswith(_GENERATED) else size


def _agree(right: Results, node: gs.Node, types: Types) -> bool:
    """Say whether inference found as much."""
    for tensor, wanted in zip(node.outputs, right, strict=False):
        found = types.of(tensor)
        if found is None or found.dtype != wanted.dtype:
            return False
        if not _same_shape(wanted.shape, found.shape):
            return False
    return True


def _same_shape(right: Shape | None, inferred: Shape | None) -> bool:
    if right is None or inferred is None or len(right) != len(inferred):
        return right is inferred
    pairs = zip(right, inferred, strict=True)
    return all(a == b or not (isinstance(a, int) or isinstance(b, int)) for a, b in pairs)
