"""GraphSurgeon graph -> ModelProto, with the choice to leave weights out.

Every place that hands a graph to another program (a file, the reference runtime, shape inference)
goes through here. Weights left out keep their name, type and shape, so they can travel beside the
proto without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, TensorProto
from onnx_graphsurgeon.ir.tensor import SparseValues
from onnx_graphsurgeon.util.misc import convert_to_onnx_attr_type

from ..core import dtypes
from ..core.errors import GraphError
from ..core.variables import FUSED_DOMAIN, EmptyList, dense_values, exotic_type, label, subgraphs_of
from .metadata import (
    NodeMetadata,
    Pairs,
    ValueMetadata,
    model_metadata,
    node_metadata,
    quantization_of,
    tensor_metadata,
)

# Local functions and float8 came with this IR version (ONNX 1.10).
_FIRST_IR_WITH_FUNCTIONS = 8
PROTOBUF_LIMIT = 2**31 - 1

_NO_METADATA = ValueMetadata()

Keep = Callable[[gs.Constant], bool]


def to_proto(
    graph: gs.Graph, *, leave_out: Keep | None = None, bare: bool = False
) -> tuple[onnx.ModelProto, list[gs.Constant]]:
    """Return the model of `graph` and the constants that were left out of it.

    A constant of the main graph for which `leave_out` is true becomes an initializer with
    `data_location` EXTERNAL and no data; constants inside subgraphs always go inside. The IR
    version is raised where local functions need it. `bare` leaves out what nobody computes with:
    documentation, properties, annotations, and the types of inner values. Raises GraphError for a
    value that ONNX cannot express.
    """
    exporter = _Exporter(graph.opset, leave_out, bare)
    metadata = model_metadata(graph)
    model = onnx.ModelProto(
        producer_name=graph.producer_name or "",
        producer_version=graph.producer_version or "",
        domain=metadata.domain,
        model_version=metadata.model_version,
        doc_string=metadata.doc_string,
    )
    exporter.model_graph(graph, model.graph)
    _add_properties(model.graph, metadata.graph_properties)
    _add_properties(model, metadata.properties)
    for entry in metadata.configurations:
        model.configuration.add().ParseFromString(entry)
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


def value_info(tensor: gs.Tensor, *, output: bool = False) -> onnx.ValueInfoProto:
    """Return name, type and metadata of `tensor`, as far as they are known.

    `output`: the metadata that it has as an output of its graph, if that is another entry.
    """
    info = onnx.ValueInfoProto(name=tensor.name)
    _add_type(tensor, info)
    metadata = tensor_metadata(tensor)
    _add_metadata(metadata.output if output else metadata.value, info)
    return info


def _add_metadata(metadata: ValueMetadata, info: onnx.ValueInfoProto) -> None:
    if metadata.doc_string:
        info.doc_string = metadata.doc_string
    _add_properties(info, metadata.properties)
    if metadata.denotation:
        info.type.denotation = metadata.denotation
    dims = info.type.tensor_type.shape.dim if metadata.axes else ()
    for axis, text in metadata.axes:
        if axis < len(dims):
            dims[axis].denotation = text


def _add_type(tensor: gs.Tensor, info: onnx.ValueInfoProto) -> None:
    exotic = exotic_type(tensor)
    if exotic is not None:
        info.type.CopyFrom(exotic)
        return
    if tensor.dtype is None:
        return
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


def _is_described(tensor: gs.Tensor) -> bool:
    """Say whether there is anything to write about an inner value."""
    if not tensor.name:
        return False
    known = tensor.dtype is not None or exotic_type(tensor) is not None
    return known or tensor_metadata(tensor).value != _NO_METADATA


class _Exporter:
    def __init__(self, opset: int, leave_out: Keep | None, bare: bool) -> None:
        self._opset = opset
        self._leave_out = leave_out
        self._bare = bare
        self._homes: dict[int, list[gs.Constant]] = {}
        self._written: set[int] = set()  # tensors of the scopes so far, where one is annotated
        self.left_out: list[gs.Constant] = []

    def model_graph(self, graph: gs.Graph, proto: onnx.GraphProto) -> None:
        self._homes = _constants_by_scope(graph, annotated=not self._bare)
        self.graph(graph, proto, nested=False)

    def graph(self, graph: gs.Graph, proto: onnx.GraphProto, nested: bool = True) -> None:
        proto.name = graph.name or "graph"
        proto.doc_string = graph.doc_string or ""
        if nested:
            _add_properties(proto, model_metadata(graph).graph_properties)
        for node in graph.nodes:
            self.node(node, proto.node.add())
        if not self._bare:
            outputs = {id(t) for t in graph.outputs}
            made = (t for node in graph.nodes for t in node.outputs if id(t) not in outputs)
            proto.value_info.extend(value_info(t) for t in made if _is_described(t))
        proto.input.extend(value_info(t) for t in graph.inputs)
        proto.output.extend(value_info(t, output=True) for t in graph.outputs)
        constants = self._homes.get(id(graph), ())
        for constant in constants:
            self._constant(constant, proto, nested)
            if not self._bare and tensor_metadata(constant).value.listed:
                proto.value_info.append(value_info(constant))
        if not self._bare:
            self._annotations(graph, constants, proto)

    def _annotations(
        self, graph: gs.Graph, constants: Sequence[gs.Constant], proto: onnx.GraphProto
    ) -> None:
        """Write the quantization annotations whose tensors are still there."""
        made = (t for node in graph.nodes for t in node.outputs if t.name)
        tensors = {id(t): t for t in (*graph.inputs, *made, *constants)}
        self._written.update(tensors)
        for tensor in tensors.values():
            there = [(k, t) for k, t in quantization_of(tensor) if id(t) in self._written]
            if there:
                annotation = proto.quantization_annotation.add(tensor_name=tensor.name)
                for key, parameter in there:
                    annotation.quant_parameter_tensor_names.add(key=key, value=parameter.name)

    def function(self, function: gs.Function) -> onnx.FunctionProto:
        proto = onnx.FunctionProto(
            name=function.name, domain=function.domain or "", doc_string=function.doc_string or ""
        )
        proto.input.extend(t.name for t in function.inputs)
        proto.output.extend(t.name for t in function.outputs)
        # A function has no initializers: its own constants become Constant nodes at its top, those
        # of its subgraphs stay where they are.
        tensors = (*function.inputs, *(t for node in function.nodes for t in node.outputs))
        proto.value_info.extend(value_info(t) for t in tensors if _is_described(t))
        homes = _constants_by_scope(function, annotated=not self._bare)
        own = homes.pop(id(function), [])
        self._homes.update(homes)
        for constant in own:
            node = proto.node.add(op_type="Constant", output=[constant.name])
            attribute = node.attribute.add(name="value", type=AttributeProto.TENSOR)
            attribute.t.CopyFrom(tensor_proto(constant))
        for node in function.nodes:
            self.node(node, proto.node.add())
        for name, default in function.attrs.items():
            if default is None:
                proto.attribute.append(name)
            else:
                self.attribute(name, default, proto.attribute_proto.add(), None)
        proto.opset_import.extend(opset_imports(function))
        metadata = node_metadata(function)
        if metadata is not None:
            proto.overload = metadata.overload
            _add_properties(proto, metadata.properties)
        return proto

    def node(self, node: gs.Node, proto: onnx.NodeProto) -> None:
        proto.op_type = node.op
        if node.name:
            proto.name = node.name
        if node.domain:
            proto.domain = node.domain
        proto.input.extend([tensor.name for tensor in node.inputs])
        proto.output.extend([tensor.name for tensor in node.outputs])
        for name, value in node.attrs.items():
            self.attribute(name, value, proto.attribute.add(), node)
        metadata = node_metadata(node)
        if metadata is not None:
            if metadata.overload:
                proto.overload = metadata.overload
            for attribute, kind in metadata.empty:
                if attribute not in node.attrs and self._has_attribute(node, attribute):
                    proto.attribute.add(name=attribute, type=kind)
            if not self._bare:
                self._describe(metadata, proto)

    @staticmethod
    def _describe(metadata: NodeMetadata, proto: onnx.NodeProto) -> None:
        if metadata.doc_string:
            proto.doc_string = metadata.doc_string
        _add_properties(proto, metadata.properties)
        for entry in metadata.devices:
            proto.device_configurations.add().ParseFromString(entry)
        docs = dict(metadata.attribute_docs)
        for attribute in proto.attribute:
            if attribute.name in docs:
                attribute.doc_string = docs[attribute.name]

    def _has_attribute(self, node: gs.Node, name: str) -> bool:
        """Say whether the operator still has the attribute at this opset."""
        known = onnx.defs.has(node.op, self._opset, "")
        return known and name in onnx.defs.get_schema(node.op, self._opset, "").attributes

    def attribute(self, name: str, value: Any, proto: AttributeProto, node: gs.Node | None) -> None:
        proto.name = name
        if type(value) is int:
            proto.type, proto.i = AttributeProto.INT, value
        elif type(value) is float:
            proto.type, proto.f = AttributeProto.FLOAT, value
        elif type(value) is list and value and all(type(item) is int for item in value):
            proto.type = AttributeProto.INTS
            proto.ints.extend(value)
        elif isinstance(value, AttributeProto):
            proto.CopyFrom(value)
        elif isinstance(value, gs.Graph):
            proto.type = AttributeProto.GRAPH
            self.graph(value, proto.g)
        elif isinstance(value, gs.Tensor):
            proto.type = AttributeProto.TENSOR
            proto.t.CopyFrom(tensor_proto(value))
        elif isinstance(value, gs.Node.AttributeRef):
            proto.type = convert_to_onnx_attr_type(value.type)
            proto.ref_attr_name = value.name
        else:
            try:
                kind = self._empty_kind(node, name, value) if _is_empty_list(value) else None
                made = onnx.helper.make_attribute(name, _plain(value), attr_type=kind)
            except (TypeError, ValueError) as error:
                where = "a function's default" if node is None else f"node {label(node)}"
                raise GraphError(
                    f"attribute '{name}' of {where} is {value!r}, which ONNX cannot hold: {error}"
                ) from error
            proto.CopyFrom(made)

    def _empty_kind(self, node: gs.Node | None, name: str, value: Any) -> int:
        """Return the kind of an empty list attribute: its own, or what the operator declares."""
        if isinstance(value, EmptyList):
            return value.kind
        if node is not None and onnx.defs.has(node.op, node.domain or ""):
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
            _add_data_metadata(constant, placeholder)
            self.left_out.append(constant)
        else:
            proto.initializer.add().CopyFrom(tensor_proto(constant))


def tensor_proto(constant: gs.Constant) -> TensorProto:
    """Return the values of a dense `constant` as a proto; strings and sub-byte types included."""
    values = dense_values(constant)
    if values is None:
        raise GraphError(f"constant '{constant.name}' holds {type(constant._values).__name__}")
    if values.dtype.kind in "fiub" and values.dtype.itemsize * values.size < PROTOBUF_LIMIT:
        made = TensorProto(
            name=constant.name,
            data_type=dtypes.elem_type(values.dtype),
            dims=values.shape,
            raw_data=values.tobytes(),
        )
    else:
        made = onnx.numpy_helper.from_array(values, constant.name)
    _add_data_metadata(constant, made)
    return made


def _add_data_metadata(constant: gs.Constant, proto: TensorProto) -> None:
    metadata = tensor_metadata(constant).data
    if metadata.doc_string:
        proto.doc_string = metadata.doc_string
    _add_properties(proto, metadata.properties)


def stored_bytes(constant: gs.Constant) -> int:
    """Return how many bytes the values of `constant` take in a file."""
    return dtypes.byte_size(math.prod(constant.shape), constant.dtype)


def _constants_by_scope(graph: gs.Graph, *, annotated: bool) -> dict[int, list[gs.Constant]]:
    """Return the constants of `graph` and its subgraphs, by id of the graph that declares them.

    A constant belongs to the innermost graph that encloses all of its readers. `annotated`: those
    that quantization annotations alone name are among them.
    """
    homes: dict[int, tuple[gs.Constant, tuple[gs.Graph, ...]]] = {}

    def add_annotations(tensors: Iterable[gs.Tensor], path: tuple[gs.Graph, ...]) -> None:
        for tensor in tensors:
            for _, parameter in quantization_of(tensor):
                if isinstance(parameter, gs.Constant):
                    homes.setdefault(id(parameter), (parameter, path))

    def visit(scope: gs.Graph, path: tuple[gs.Graph, ...]) -> None:
        for tensor in (*scope.inputs, *scope.outputs):
            if isinstance(tensor, gs.Constant):
                homes.setdefault(id(tensor), (tensor, path))
        for node in scope.nodes:
            for tensor in node.inputs:
                if isinstance(tensor, gs.Constant):
                    _, known = homes.get(id(tensor), (tensor, path))
                    shared = path if known is path else _common(known, path)
                    homes[id(tensor)] = (tensor, shared)
            for subgraph in subgraphs_of(node):
                visit(subgraph, (*path, subgraph))
        if annotated:
            made = (t for node in scope.nodes for t in (*node.outputs, *node.inputs))
            add_annotations((*scope.inputs, *made), path)

    visit(graph, (graph,))
    found: dict[int, list[gs.Constant]] = {}
    for constant, path in homes.values():
        found.setdefault(id(path[-1]), []).append(constant)
    return found


def _common(a: tuple[gs.Graph, ...], b: tuple[gs.Graph, ...]) -> tuple[gs.Graph, ...]:
    shared = [x for x, y in zip(a, b, strict=False) if x is y]
    return tuple(shared)


def _is_empty_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and not value


def _plain(value: Any) -> Any:
    """Return numpy scalars and arrays, which scripts like to set, as plain Python values."""
    return value.tolist() if hasattr(value, "tolist") else value


def _add_properties(proto: Any, pairs: Pairs) -> None:
    for key, value in pairs:
        proto.metadata_props.add(key=key, value=value)
