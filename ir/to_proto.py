"""GraphSurgeon graph -> ModelProto, with the choice to leave weights out.

Every place that hands a graph to another program (a file, the reference runtime, shape inference)
goes through here. Weights left out keep their name, type and shape, so they can travel beside the
proto without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, TensorProto
from onnx_graphsurgeon.ir.tensor import SparseValues
from onnx_graphsurgeon.util.misc import convert_to_onnx_attr_type

from . import dtypes
from .errors import GraphError
from .metadata import model_metadata, node_metadata
from .variables import FUSED_DOMAIN, dense_values, exotic_type, label

# Local functions and float8 came with this IR version (ONNX 1.10).
_FIRST_IR_WITH_FUNCTIONS = 8
PROTOBUF_LIMIT = 2**31 - 1

Keep = Callable[[gs.Constant], bool]


def to_proto(
    graph: gs.Graph, *, leave_out: Keep | None = None
) -> tuple[onnx.ModelProto, list[gs.Constant]]:
    """Return the model of `graph` and the constants that were left out of it.

    A constant of the main graph for which `leave_out` is true becomes an initializer with
    `data_location` EXTERNAL and no data; constants inside subgraphs always go inside. The IR
    version is raised where local functions need it. Raises GraphError for a value that ONNX
    cannot express.
    """
    exporter = _Exporter(graph.opset, leave_out)
    metadata = model_metadata(graph)
    model = onnx.ModelProto(
        producer_name=graph.producer_name or "",
        producer_version=graph.producer_version or "",
        domain=metadata.domain,
        model_version=metadata.model_version,
        doc_string=metadata.doc_string,
    )
    exporter.graph(graph, model.graph, ())
    _add_properties(model.graph, metadata.graph_properties)
    _add_properties(model, metadata.properties)
    model.functions.extend(exporter.function(function) for function in graph.functions)
    model.opset_import.extend(opset_imports(graph))
    model.ir_version = ir_version(graph)
    return model, exporter.left_out


def opset_imports(graph: gs.Graph) -> list[onnx.OperatorSetIdProto]:
    """Return the opset imports of `graph`, with the domain of its fused operators where used."""
    imports = list(graph.import_domains or [onnx.helper.make_opsetid("", graph.opset)])
    known = {entry.domain for entry in imports}
    for function in graph.functions:
        if function.domain not in known:
            imports.append(onnx.helper.make_opsetid(function.domain, 1))
            known.add(function.domain)
    return imports


def ir_version(graph: gs.Graph) -> int:
    """Return the IR version to declare: the model's own, raised where functions need it."""
    own = graph.ir_version or onnx.helper.find_min_ir_version_for(opset_imports(graph), True)
    fused = any(function.domain == FUSED_DOMAIN for function in graph.functions)
    return max(own, _FIRST_IR_WITH_FUNCTIONS) if fused else int(own)


def value_info(tensor: gs.Tensor) -> onnx.ValueInfoProto:
    """Return name and type of `tensor`, as far as they are known."""
    info = onnx.ValueInfoProto(name=tensor.name)
    exotic = exotic_type(tensor)
    if exotic is not None:
        info.type.CopyFrom(exotic)
        return info
    if tensor.dtype is None:
        return info
    kind = info.type.tensor_type
    kind.elem_type = dtypes.elem_type(tensor.dtype)
    if tensor.shape is not None:
        kind.shape.SetInParent()
        for size in tensor.shape:
            dim = kind.shape.dim.add()
            if isinstance(size, str):
                dim.dim_param = size
            elif size is not None and size >= 0:
                dim.dim_value = int(size)
    return info


class _Exporter:
    def __init__(self, opset: int, leave_out: Keep | None) -> None:
        self._opset = opset
        self._leave_out = leave_out
        self.left_out: list[gs.Constant] = []

    def graph(
        self, graph: gs.Graph, proto: onnx.GraphProto, outer: Iterable[frozenset[int]]
    ) -> None:
        proto.name = graph.name or "graph"
        proto.doc_string = graph.doc_string or ""
        interface = {id(t) for t in graph.inputs} | {id(t) for t in graph.outputs}
        seen: set[int] = set(interface)
        constants = [t for t in (*graph.inputs, *graph.outputs) if isinstance(t, gs.Constant)]
        constants = list({id(t): t for t in constants}.values())
        inherited = [t for t in outer]
        variables: list[gs.Tensor] = []
        for node in graph.nodes:
            for tensor in (*node.inputs, *node.outputs):
                key = id(tensor)
                if key in seen or not tensor.name:
                    continue
                seen.add(key)
                if isinstance(tensor, gs.Constant):
                    if not any(key in scope for scope in inherited):
                        constants.append(tensor)
                elif tensor.inputs and (tensor.dtype is not None or exotic_type(tensor)):
                    variables.append(tensor)
        scopes = (*inherited, frozenset(id(t) for t in constants))
        own = {id(node) for node in graph.nodes}
        for node in graph.nodes:
            self.node(node, proto.node.add(), scopes)
        proto.input.extend(value_info(t) for t in graph.inputs)
        proto.output.extend(value_info(t) for t in graph.outputs)
        for constant in constants:
            self._constant(constant, proto, nested=bool(inherited))
        proto.value_info.extend(
            value_info(t) for t in variables if id(t.inputs[0]) in own
        )

    def function(self, function: gs.Function) -> onnx.FunctionProto:
        proto = onnx.FunctionProto(
            name=function.name, domain=function.domain or "", doc_string=function.doc_string or ""
        )
        proto.input.extend(t.name for t in function.inputs)
        proto.output.extend(t.name for t in function.outputs)
        constants: dict[int, gs.Constant] = {}
        for node in function.nodes:
            for tensor in node.inputs:
                if isinstance(tensor, gs.Constant):
                    constants[id(tensor)] = tensor
        for constant in constants.values():
            node = proto.node.add(op_type="Constant", output=[constant.name])
            attribute = node.attribute.add(name="value", type=AttributeProto.TENSOR)
            attribute.t.CopyFrom(tensor_proto(constant))
        for node in function.nodes:
            self.node(node, proto.node.add(), (frozenset(constants),))
        for name, default in function.attrs.items():
            if default is None:
                proto.attribute.append(name)
            else:
                self.attribute(name, default, proto.attribute_proto.add(), "", ())
        proto.opset_import.extend(opset_imports(function))
        metadata = node_metadata(function)
        if metadata is not None:
            proto.overload = metadata.overload
            _add_properties(proto, metadata.properties)
        return proto

    def node(
        self, node: gs.Node, proto: onnx.NodeProto, scopes: Iterable[frozenset[int]]
    ) -> None:
        proto.op_type = node.op
        if node.name:
            proto.name = node.name
        if node.domain:
            proto.domain = node.domain
        proto.input.extend([tensor.name for tensor in node.inputs])
        proto.output.extend([tensor.name for tensor in node.outputs])
        for name, value in node.attrs.items():
            self.attribute(name, value, proto.attribute.add(), node, scopes)
        metadata = node_metadata(node)
        if metadata is not None:
            proto.doc_string = metadata.doc_string
            proto.overload = metadata.overload
            _add_properties(proto, metadata.properties)

    def attribute(
        self,
        name: str,
        value: Any,
        proto: AttributeProto,
        node: gs.Node | str,
        scopes: Iterable[frozenset[int]],
    ) -> None:
        proto.name = name
        if type(value) is int:
            proto.type, proto.i = AttributeProto.INT, value
        elif isinstance(value, AttributeProto):
            proto.CopyFrom(value)
        elif isinstance(value, gs.Graph):
            proto.type = AttributeProto.GRAPH
            self.graph(value, proto.g, scopes)
        elif isinstance(value, gs.Tensor):
            proto.type = AttributeProto.TENSOR
            proto.t.CopyFrom(tensor_proto(value))
        elif isinstance(value, gs.Node.AttributeRef):
            proto.type = convert_to_onnx_attr_type(value.type)
            proto.ref_attr_name = value.name
        else:
            try:
                kind = self._empty_kind(node, name) if _is_empty_list(value) else None
                made = onnx.helper.make_attribute(name, _plain(value), attr_type=kind)
            except (TypeError, ValueError) as error:
                where = label(node) if isinstance(node, gs.Node) else "a function"
                raise GraphError(
                    f"attribute '{name}' of node {where} is {value!r}, which ONNX cannot hold: "
                    f"{error}"
                ) from error
            proto.CopyFrom(made)

    def _empty_kind(self, node: gs.Node | str, name: str) -> int:
        """Return the declared kind of an empty list attribute; ONNX cannot tell it otherwise."""
        if isinstance(node, gs.Node) and onnx.defs.has(node.op, node.domain or ""):
            declared = onnx.defs.get_schema(node.op, self._opset, node.domain or "").attributes
            if name in declared:
                return int(declared[name].type.value)
        return int(AttributeProto.INTS)

    def _constant(self, constant: gs.Constant, proto: onnx.GraphProto, nested: bool) -> None:
        if isinstance(constant._values, SparseValues):
            proto.sparse_initializer.add().CopyFrom(constant._values.tensor)
        elif self._leave_out is not None and not nested and self._leave_out(constant):
            placeholder = proto.initializer.add(
                name=constant.name,
                data_type=dtypes.elem_type(constant.dtype),
                dims=constant.shape,
                data_location=TensorProto.EXTERNAL,
            )
            placeholder.external_data.add(key="location", value="left-out")
            self.left_out.append(constant)
        else:
            proto.initializer.add().CopyFrom(tensor_proto(constant))


def tensor_proto(constant: gs.Constant) -> TensorProto:
    """Return the values of a dense `constant` as a proto; strings and sub-byte types included."""
    values = dense_values(constant)
    if values is None:
        raise GraphError(f"constant '{constant.name}' holds {type(constant._values).__name__}")
    if values.dtype.kind in "fiub" and values.dtype.itemsize * values.size < PROTOBUF_LIMIT:
        return TensorProto(
            name=constant.name,
            data_type=dtypes.elem_type(values.dtype),
            dims=values.shape,
            raw_data=values.tobytes(),
        )
    proto = onnx.numpy_helper.from_array(values, constant.name)
    return proto


def stored_bytes(constant: gs.Constant) -> int:
    """Return how many bytes the values of `constant` take in a file."""
    return -(-math.prod(constant.shape) * dtypes.bits(constant.dtype) // 8)


def _is_empty_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and not value


def _plain(value: Any) -> Any:
    """Return numpy scalars and arrays, which scripts like to set, as plain Python values."""
    return value.tolist() if hasattr(value, "tolist") else value


def _add_properties(proto: Any, pairs: tuple[tuple[str, str], ...]) -> None:
    for key, value in pairs:
        proto.metadata_props.add(key=key, value=value)
