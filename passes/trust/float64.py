"""A graph with its floats in 64 bits, and what it computes: the last word where rounding decides.

float64 holds 29 more bits than float32, so that what cancels in float32 is still there, and two
spellings of one function agree to about 1e-13 where float32 leaves 1e-5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx.reference import ReferenceEvaluator

from ...ir.core import dtypes
from ...ir.core.build import make_constant, make_node, make_variable, put_input
from ...ir.core.errors import ExecutionError, PlanishError
from ...ir.core.variables import dense_values, is_standard
from ...ir.files.save import to_model
from ...ir.graph.types import Types
from ...ir.graph.uses import scopes
from ...ir.ops.inline_calls import written_out
from ...ir.ops.shapes.infer import infer_types
from ...ir.ops.traits import schema_of
from ...ir.run.reference import Arrays, Reference
from ..analysis.cost import cost
from .evaluator_kernels import ConvTranspose

Feed = Mapping[str, np.ndarray[Any, Any]]

_DOUBLE = onnx.TensorProto.DOUBLE
_NARROW = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})
# What ONNX's own evaluator, which is Python, computes in seconds.
_MOST_MACS = 3e8


def run_in_float64(
    graph: gs.Graph, feeds: Sequence[Feed], *, is_small: bool = False
) -> list[Arrays] | None:
    """Return what `graph` gives in float64 for each of `feeds`; None where nothing can run it.

    ONNX Runtime is asked first; where it has no kernels of 64 bits, as for convolutions, ONNX's
    reference evaluator, for graphs that are small enough; `is_small` says so of one that is much
    like another which was.
    """
    try:
        made = in_float64(graph)
        wide = [{name: _widened(array) for name, array in feed.items()} for feed in feeds]
        try:
            run = Reference(made)
            return [run(feed) for feed in wide]
        except ExecutionError:
            return _evaluated(made, wide) if is_small or _is_small(made) else None
    except Exception:  # of an evaluator that need not know every operator
        return None


def _is_small(graph: gs.Graph) -> bool:
    return cost(graph).macs <= _MOST_MACS


def _evaluated(graph: gs.Graph, feeds: Sequence[Feed]) -> list[Arrays]:
    evaluator = ReferenceEvaluator(to_model(graph), new_ops=[ConvTranspose])
    names = [tensor.name for tensor in graph.outputs]
    with np.errstate(all="ignore"):
        return [
            dict(zip(names, map(np.asarray, evaluator.run(names, dict(feed))), strict=True))
            for feed in feeds
        ]


def in_float64(graph: gs.Graph) -> gs.Graph:
    """Return a copy of `graph` whose floats have 64 bits, calls of local functions written out.

    Inputs and outputs of operators that take no such floats, such as the scales of Resize, keep
    their type behind a Cast. Raises PlanishError for operators of other domains and functions that
    cannot be written out, of which the types are not known.
    """
    copy = written_out(graph)
    if any(not is_standard(n) for s in scopes(copy) for n in s.nodes):
        raise PlanishError("custom operators have no form in float64")
    copy.functions = []
    _Widening(copy, infer_types(copy)).run()
    return copy


class _Widening:
    """One conversion of a graph, with the types that it had before."""

    def __init__(self, graph: gs.Graph, types: Types) -> None:
        self._graph = graph
        self._types = types
        self._made: dict[int, gs.Tensor] = {}
        self._count = 0

    def run(self) -> None:
        """Convert every scope in place."""
        found = list(scopes(self._graph))
        for scope in found:
            scope.nodes = [made for node in scope.nodes for made in self._node(node)]
        for scope in found:
            for tensor in (*scope.inputs, *scope.outputs):
                self._declare(tensor)
            for node in scope.nodes:
                for tensor in node.outputs:
                    tensor.shape = None
                    if node.op != "Cast" or not tensor.name.startswith("narrow_"):
                        self._declare(tensor)

    def _declare(self, tensor: gs.Tensor) -> None:
        if isinstance(tensor, gs.Variable) and self._narrow(tensor) is not None:
            tensor.dtype = np.dtype(np.float64)

    def _narrow(self, tensor: gs.Tensor) -> int | None:
        """Return the type that `tensor` had, where it is a float of less than 64 bits."""
        if not tensor.name:
            return None
        found = self._types.of(tensor)
        kind = None if found is None else dtypes.elem_type(found.dtype)
        return kind if kind in _NARROW else None

    def _node(self, node: gs.Node) -> list[gs.Node]:
        """Return `node`, with the Casts that it needs around it."""
        schema = schema_of(node.op, self._graph.opset)
        if schema is None:
            raise PlanishError(f"the opset has no operator '{node.op}'")
        before, after = [], []
        for position, tensor in enumerate(list(node.inputs)):
            kind = self._narrow(tensor)
            if kind is None:
                continue
            if _takes_double(schema.inputs, position):
                if isinstance(tensor, gs.Constant):
                    put_input(node, position, self._constant(tensor))
            elif not isinstance(tensor, gs.Constant):
                narrow = self._fresh(tensor)
                before.append(_cast(tensor, narrow, kind))
                put_input(node, position, narrow)
        for position, tensor in enumerate(list(node.outputs)):
            kind = self._narrow(tensor)
            if kind is not None and not _takes_double(schema.outputs, position):
                narrow = self._fresh(tensor)
                node.outputs[position] = narrow
                after.append(_cast(narrow, tensor, _DOUBLE))
        self._attributes(node)
        return [*before, node, *after]

    def _attributes(self, node: gs.Node) -> None:
        """Widen the types that attributes name, and the values they hold."""
        for name in ("to", "dtype"):
            kind = node.attrs.get(name)
            if kind is not None and dtypes.elem_type(kind) in _NARROW:
                node.attrs[name] = _DOUBLE
        schema = schema_of(node.op, self._graph.opset)
        if schema is not None and "stash_type" in schema.attributes:
            node.attrs["stash_type"] = _DOUBLE  # what normalizations compute in
        value = node.attrs.get("value")
        if isinstance(value, gs.Constant) and dtypes.elem_type(value.dtype) in _NARROW:
            node.attrs["value"] = self._constant(value)
        elif node.op == "ConstantOfShape" and value is None:
            node.attrs["value"] = make_constant("zero", np.zeros(1))

    def _constant(self, tensor: gs.Constant) -> gs.Tensor:
        if id(tensor) not in self._made:
            values = dense_values(tensor)
            if values is None:
                raise PlanishError("sparse constants have no form in float64")
            self._count += 1
            made = make_constant(f"wide_{self._count}_{tensor.name}", _widened(values))
            self._made[id(tensor)] = made
        return self._made[id(tensor)]

    def _fresh(self, tensor: gs.Tensor) -> gs.Variable:
        self._count += 1
        return make_variable(f"narrow_{self._count}_{tensor.name}")


def _cast(source: gs.Tensor, target: gs.Tensor, kind: int) -> gs.Node:
    return make_node("Cast", f"{target.name}_cast", {"to": kind}, [source], [target], None)


def _takes_double(formal: Any, position: int) -> bool:
    """Say whether a float of 64 bits may stand at `position` of the inputs or outputs."""
    parameter = formal[min(position, len(formal) - 1)]
    return "tensor(double)" in parameter.types


def _widened(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    narrow = array.dtype.kind not in "OUS" and dtypes.elem_type(array.dtype) in _NARROW
    return array.astype(np.float64) if narrow else array
