"""ONNX's own shape inference over a graph, with some nodes hidden from it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import onnx
import onnx_graphsurgeon as gs

from ...core.variables import dense_values, is_standard
from ...graph.types import TensorType, Types
from ...graph.uses import scopes
from ...proto.to_proto import to_proto
from ...proto.write_values import write_type
from .followed import reads_values
from .moved_constants import write_moved_constants

# Elements of a Range that inference would write out.
_LONG = 1024
# Inference takes the results of nodes of a domain that it does not know as they are declared.
_HIDDEN = "planish.hidden"

Declared = Mapping[int, Sequence[TensorType | None]]


def infer_by_onnx(
    graph: gs.Graph, hidden: Declared, given: Mapping[int, TensorType] | None = None
) -> Types:
    """Return what ONNX's inference says of `graph` and its subgraphs, from the inputs' types alone.

    `hidden`: nodes, by id, that it is not to look at, and the types of their results. `given`: the
    types of the inputs, by id, where they are not what the graph declares.
    """
    model, _ = to_proto(
        graph,
        leave_out=lambda constant: not reads_values(constant),
        everywhere=True,
        bare=True,
    )
    if given is not None:
        for tensor, declared in zip(graph.inputs, model.graph.input, strict=True):
            _declare(given[id(tensor)], declared.type)
    held = list(scopes(graph))
    _forget_types(model.graph, nested=len(held) > 1)
    _forget_placeholders(model.graph)
    _forget_defaults(model.graph)
    _declare_passed(model.graph)
    if hidden:
        model.opset_import.add(domain=_HIDDEN, version=1)
        _hide(graph, model.graph, hidden)
    write_moved_constants(model.graph, nested=len(held) > 1)
    propagate = not (_has_long_range(held) or _repeats_names(held))
    problem, inferred = _inferred(model, propagate)
    if problem is not None and propagate:
        # Sums of sizes that overflow and nobody reads are no problem of the graph.
        plain, without = _inferred(model, False)
        if plain is None:
            problem, inferred, propagate = None, without, False
    functions = {(function.domain, function.name) for function in graph.functions}
    unknown = bool(hidden) or any(
        not is_standard(node) and (node.domain, node.op) not in functions
        for scope in held
        for node in scope.nodes
    )
    types = Types(problem=problem, propagated=propagate, complains=not unknown)
    _collect(graph, inferred.graph, types)
    return types


def _hide(graph: gs.Graph, proto: onnx.GraphProto, hidden: Declared) -> None:
    outputs = {output.name: output for output in proto.output}
    for node, written in zip(graph.nodes, proto.node, strict=True):
        if id(node) in hidden:
            written.domain = _HIDDEN
            for tensor, declared in zip(node.outputs, hidden[id(node)], strict=False):
                if declared is None:
                    continue
                if tensor.name in outputs:
                    _declare(declared, outputs[tensor.name].type)
                elif tensor.name:
                    _declare(declared, proto.value_info.add(name=tensor.name).type)
        for name, value in node.attrs.items():
            if isinstance(value, gs.Graph):
                _hide(value, next(a.g for a in written.attribute if a.name == name), hidden)


def _declare(found: TensorType, proto: onnx.TypeProto) -> None:
    proto.Clear()
    write_type(found.dtype, found.shape, proto)


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


def _has_long_range(held: Sequence[gs.Graph]) -> bool:
    """Say whether inference would write many elements of a Range out as dimensions."""
    return any(node.op == "Range" and _is_long(node) for scope in held for node in scope.nodes)


def _repeats_names(held: Sequence[gs.Graph]) -> bool:
    """Say whether two subgraphs use one name: inference keeps values by name, for all of them."""
    if len(held) < 3:
        return False
    names = [t.name for scope in held for node in scope.nodes for t in node.outputs if t.name]
    return len(set(names)) < len(names)


def _is_long(node: gs.Node) -> bool:
    if len(node.inputs) != 3:
        return False
    held = [dense_values(tensor) for tensor in node.inputs]
    bounds = [float(v.flat[0]) for v in held if v is not None and v.size and v.dtype.kind in "fiu"]
    if len(bounds) < 3 or bounds[2] == 0:
        return False
    return not (bounds[1] - bounds[0]) / bounds[2] <= _LONG


def _forget_types(proto: onnx.GraphProto, *, nested: bool) -> None:
    del proto.value_info[:]
    for output in proto.output:
        # Without its shape the output's type is still needed: strict inference compares it.
        if output.type.WhichOneof("value") == "tensor_type":
            output.type.tensor_type.ClearField("shape")
    for node in proto.node if nested else ():
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _forget_types(attribute.g, nested=True)


def _forget_placeholders(proto: onnx.GraphProto) -> None:
    """Forget -1 and "?", which some exporters write for every unknown size of an input.

    The first is no size to compute with, and two of the second need not be equal.
    """
    for tensor in proto.input:
        for dim in tensor.type.tensor_type.shape.dim:
            if dim.dim_value < 0 or dim.dim_param == "?":
                dim.Clear()


def _forget_defaults(proto: onnx.GraphProto) -> None:
    """Forget the values of inputs that have a default: inference would compute with them."""
    given = {tensor.name for tensor in proto.input}
    kept = [tensor for tensor in proto.initializer if tensor.name not in given]
    if len(kept) < len(proto.initializer):
        del proto.initializer[:]
        proto.initializer.extend(kept)


def _declare_passed(proto: onnx.GraphProto) -> None:
    """Give inputs and constants that are outputs their type: inference takes the output's."""
    make = onnx.helper.make_tensor_type_proto
    wanted = {output.name for output in proto.output}
    held = [tensor for tensor in proto.initializer if tensor.name in wanted]
    given = {tensor.name: make(tensor.data_type, tensor.dims) for tensor in held}
    given |= {tensor.name: tensor.type for tensor in proto.input}
    for output in proto.output:
        if output.name in given:
            output.type.CopyFrom(given[output.name])


def _collect(graph: gs.Graph, proto: onnx.GraphProto, types: Types) -> None:
    infos = {
        info.name: info for info in itertools.chain(proto.value_info, proto.output, proto.input)
    }
    made = (tensor for node in graph.nodes for tensor in node.outputs)
    types.learn_inferred(itertools.chain(graph.inputs, made), infos)
    for position, node in enumerate(graph.nodes):
        for name, value in node.attrs.items():
            if isinstance(value, gs.Graph):
                attributes = proto.node[position].attribute
                _collect(value, next(a.g for a in attributes if a.name == name), types)
