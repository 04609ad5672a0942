"""Shape and type inference, from the graph's inputs alone.

Types that a file declares for inner tensors are often wrong (a batch size left from export), so
they are never trusted: what this returns follows from the declared graph inputs and the ONNX
operator definitions. Beyond an operator of an unknown domain nothing is known.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.variables import dense_values
from ..proto.to_proto import to_proto
from ..proto.values import variable
from .uses import scopes

# Shape arithmetic reads constants of a few elements; larger ones only cost time here.
_READ_BY_INFERENCE = 1024
_FEW = 8

Dim = int | str | None
Shape = tuple[Dim, ...]


@dataclass(frozen=True)
class TensorType:
    """Element type (numpy) and shape of a tensor; `shape` is None where the rank is unknown."""

    dtype: np.dtype[np.generic]
    shape: Shape | None


@dataclass(frozen=True)
class Types:
    """The inferred types of one graph, by tensor identity, and what inference complained of."""

    problem: str | None = None
    _known: dict[int, TensorType | None] = field(default_factory=dict, repr=False)
    # Most tensors are never asked about, so what inference said of them is read on demand.
    _unread: dict[int, onnx.ValueInfoProto] = field(default_factory=dict, repr=False)
    # Tensors compare by name and are looked up by id, so their ids must stay taken.
    _alive: list[gs.Tensor] = field(default_factory=list, repr=False)

    def learn(self, tensor: gs.Tensor, found: TensorType | onnx.ValueInfoProto) -> None:
        """Record the type of `tensor`."""
        if isinstance(found, TensorType):
            self._known[id(tensor)] = found
        else:
            self._unread[id(tensor)] = found
        self._alive.append(tensor)

    def of(self, tensor: gs.Tensor) -> TensorType | None:
        """Return the type of `tensor`, or None where it is unknown."""
        key = id(tensor)
        if key in self._known:
            return self._known[key]
        if key in self._unread:
            found = self._known[key] = _read(self._unread.pop(key))
            return found
        if isinstance(tensor, gs.Constant):
            return TensorType(dtypes.numpy_dtype(tensor.dtype), tuple(tensor.shape))
        return None


def infer_types(graph: gs.Graph) -> Types:
    """Infer the types of all tensors of `graph` and its subgraphs, in linear time.

    The graph itself, and the types it declares, are left alone. An inconsistent graph yields what
    could be inferred, with the complaint in `problem`.
    """
    model, _ = to_proto(
        graph,
        leave_out=lambda c: (
            (v := dense_values(c)) is not None
            and v.size > (_READ_BY_INFERENCE if v.dtype.kind in "iu" else _FEW)
        ),
        bare=True,
    )
    _forget_types(model.graph)
    _forget_placeholders(model.graph)
    propagate = not (_has_long_range(graph) or _repeats_names(graph))
    problem, inferred = _inferred(model, propagate)
    if problem is not None and propagate:
        # Sums of sizes that overflow and nobody reads are no problem of the graph.
        plain, without = _inferred(model, False)
        if plain is None:
            problem, inferred = None, without
    types = Types(problem=problem)
    _collect(graph, inferred.graph, types)
    return types


def _inferred(model: onnx.ModelProto, propagate: bool) -> tuple[str | None, onnx.ModelProto]:
    """Return what inference complains of, and the model with the types it found."""
    infer = onnx.shape_inference.infer_shapes
    try:
        return None, infer(model, check_type=False, strict_mode=True, data_prop=propagate)
    except Exception as error:  # the binding raises several unrelated classes
        problem = " ".join(str(error).split())
    try:
        return problem, infer(model, data_prop=propagate)
    except Exception:
        return problem, model


def _has_long_range(graph: gs.Graph) -> bool:
    """Say whether inference would write many elements of a Range out as dimensions."""
    return any(_is_long_range(node) for scope in scopes(graph) for node in scope.nodes)


def _repeats_names(graph: gs.Graph) -> bool:
    """Say whether two subgraphs use one name: inference keeps values by name, for all of them."""
    found = list(scopes(graph))
    if len(found) < 3:
        return False
    names = [t.name for scope in found for node in scope.nodes for t in node.outputs if t.name]
    return len(set(names)) < len(names)


def _is_long_range(node: gs.Node) -> bool:
    if node.op != "Range" or len(node.inputs) != 3:
        return False
    held = [dense_values(tensor) for tensor in node.inputs]
    bounds = [float(v.flat[0]) for v in held if v is not None and v.size and v.dtype.kind in "fiu"]
    if len(bounds) < 3 or bounds[2] == 0:
        return False
    return not (bounds[1] - bounds[0]) / bounds[2] <= _READ_BY_INFERENCE


def _forget_types(proto: onnx.GraphProto) -> None:
    del proto.value_info[:]
    for output in proto.output:
        # Without its shape the output's type is still needed: strict inference compares it.
        if output.type.WhichOneof("value") == "tensor_type":
            output.type.tensor_type.ClearField("shape")
    for node in proto.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _forget_types(attribute.g)


def _forget_placeholders(proto: onnx.GraphProto) -> None:
    """Forget -1 and "?", which some exporters write for every unknown size of an input.

    The first is no size to compute with, and two of the second need not be equal.
    """
    for tensor in proto.input:
        for dim in tensor.type.tensor_type.shape.dim:
            if dim.dim_value < 0 or dim.dim_param == "?":
                dim.Clear()


def _collect(graph: gs.Graph, proto: onnx.GraphProto, types: Types) -> None:
    infos = {
        info.name: info for info in itertools.chain(proto.value_info, proto.output, proto.input)
    }
    made = (tensor for node in graph.nodes for tensor in node.outputs)
    for tensor in itertools.chain(graph.inputs, made):
        info = infos.get(tensor.name)
        if info is not None:
            types.learn(tensor, info)
    for position, node in enumerate(graph.nodes):
        for name, value in node.attrs.items():
            if isinstance(value, gs.Graph):
                attributes = proto.node[position].attribute
                _collect(value, next(a.g for a in attributes if a.name == name), types)


def _read(info: onnx.ValueInfoProto) -> TensorType | None:
    if info.type.WhichOneof("value") != "tensor_type":
        return None
    found = variable(info)
    if found.dtype is None:
        return None
    return TensorType(found.dtype, None if found.shape is None else tuple(found.shape))
