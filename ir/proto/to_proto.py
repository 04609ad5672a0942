"""GraphSurgeon graph -> ModelProto, with the choice to leave weights out.

Every place that hands a graph to another program (a file, the reference runtime, shape inference)
goes through here. Weights left out keep their name, type and shape, so they can travel beside the
proto without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, TensorProto
from onnx_graphsurgeon.ir.tensor import SparseValues

from ..core import dtypes
from .homes import constants_by_scope
from .left_out import mark_left_out
from .metadata import (
    NodeMetadata,
    model_metadata,
    node_metadata,
    quantization_of,
    tensor_metadata,
)
from .versions import FIRST_IR_WITH_DEFAULTS, ir_version, opset_imports
from .write_attribute import write_attribute
from .write_values import add_data_metadata, add_properties, is_described, value_info, write_tensor

Keep = Callable[[gs.Constant], bool]


def to_proto(
    graph: gs.Graph,
    *,
    leave_out: Keep | None = None,
    everywhere: bool = False,
    bare: bool = False,
    keep_version: bool = False,
) -> tuple[onnx.ModelProto, list[gs.Constant]]:
    """Return the model of `graph` and the constants that were left out of it.

    A constant of the main graph for which `leave_out` is true becomes an initializer with
    `data_location` EXTERNAL and no data; constants inside subgraphs, functions and attributes go
    inside, unless it is asked of those `everywhere`. Each says at which place of the list its
    values are (`left_out_at`). The IR version is raised where the graph needs it. `keep_version`:
    version 3 stays, whose initializers are listed as inputs, and are Constant nodes in subgraphs;
    else it is 4, as others read it.
    `bare` leaves out what nobody computes with: documentation, properties, annotations, and the
    types of inner values. Raises GraphError for a value that ONNX cannot express.
    """
    version = max(ir_version(graph), 0 if keep_version else FIRST_IR_WITH_DEFAULTS)
    lists_constants = version < FIRST_IR_WITH_DEFAULTS
    exporter = _Exporter(
        graph.opset,
        leave_out,
        everywhere=everywhere,
        bare=bare,
        lists_constants=lists_constants,
    )
    metadata = model_metadata(graph)
    model = onnx.ModelProto(
        producer_name=graph.producer_name or "",
        producer_version=graph.producer_version or "",
        domain=metadata.domain,
        model_version=metadata.model_version,
        doc_string=metadata.doc_string,
    )
    exporter.model_graph(graph, model.graph)
    add_properties(model.graph, metadata.graph_properties)
    add_properties(model, metadata.properties)
    for entry in metadata.configurations:
        model.configuration.add().ParseFromString(entry)
    model.functions.extend(exporter.function(function) for function in graph.functions)
    model.opset_import.extend(opset_imports(graph))
    model.ir_version = version
    return model, exporter.left_out


class _Exporter:
    def __init__(
        self,
        opset: int,
        leave_out: Keep | None,
        *,
        everywhere: bool,
        bare: bool,
        lists_constants: bool,
    ) -> None:
        self._opset = opset
        self._leave_out = leave_out
        self._everywhere = everywhere
        self._bare = bare
        self._lists_constants = lists_constants
        self._homes: dict[int, list[gs.Constant]] = {}
        self._written: set[int] = set()  # tensors of the scopes so far, where one is annotated
        self.left_out: list[gs.Constant] = []

    def model_graph(self, graph: gs.Graph, proto: onnx.GraphProto) -> None:
        self._homes = constants_by_scope(graph, annotated=not self._bare)
        self.graph(graph, proto, nested=False)

    def graph(self, graph: gs.Graph, proto: onnx.GraphProto, nested: bool = True) -> None:
        proto.name = graph.name or "graph"
        proto.doc_string = graph.doc_string or ""
        if nested:
            add_properties(proto, model_metadata(graph).graph_properties)
        constants = self._homes.get(id(graph), [])
        if nested and self._lists_constants:
            self._as_nodes([c for c in constants if not _is_sparse(c)], proto)
            constants = [c for c in constants if _is_sparse(c)]
        for node in graph.nodes:
            self.node(node, proto.node.add())
        if not self._bare:
            outputs = {id(t) for t in graph.outputs}
            made = (t for node in graph.nodes for t in node.outputs if id(t) not in outputs)
            proto.value_info.extend(value_info(t) for t in made if is_described(t))
        proto.input.extend(value_info(t) for t in graph.inputs)
        proto.output.extend(value_info(t, output=True) for t in graph.outputs)
        for constant in constants:
            self._constant(constant, proto, nested)
            if self._lists_constants and not _is_sparse(constant):
                proto.input.append(value_info(constant))
            elif not self._bare and tensor_metadata(constant).value.listed:
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
        proto.value_info.extend(value_info(t) for t in tensors if is_described(t))
        homes = constants_by_scope(function, annotated=not self._bare)
        own = homes.pop(id(function), [])
        self._homes.update(homes)
        self._as_nodes(own, proto)
        for node in function.nodes:
            self.node(node, proto.node.add())
        for name, default in function.attrs.items():
            if default is None:
                proto.attribute.append(name)
            else:
                made = proto.attribute_proto.add()
                self._attribute(name, default, made, None)
        proto.opset_import.extend(opset_imports(function))
        metadata = node_metadata(function)
        if metadata is not None:
            proto.overload = metadata.overload
            add_properties(proto, metadata.properties)
        return proto

    def _as_nodes(
        self,
        constants: Sequence[gs.Constant],
        proto: onnx.GraphProto | onnx.FunctionProto,
    ) -> None:
        """Write constants as Constant nodes, where initializers cannot be."""
        for constant in constants:
            node = proto.node.add(op_type="Constant", output=[constant.name])
            attribute = node.attribute.add(name="value", type=AttributeProto.TENSOR)
            self._tensor(constant, attribute.t, nested=True)

    def node(self, node: gs.Node, proto: onnx.NodeProto) -> None:
        proto.op_type = node.op
        if node.name:
            proto.name = node.name
        if node.domain:
            proto.domain = node.domain
        proto.input.extend([tensor.name for tensor in node.inputs])
        proto.output.extend([tensor.name for tensor in node.outputs])
        for name, value in node.attrs.items():
            self._attribute(name, value, proto.attribute.add(), node)
        metadata = node_metadata(node)
        if metadata is not None:
            if metadata.overload:
                proto.overload = metadata.overload
            for attribute, kind in metadata.empty:
                if attribute not in node.attrs and self._has_attribute(node, attribute):
                    proto.attribute.add(name=attribute, type=kind)
            if not self._bare:
                self._describe(metadata, proto)

    def _attribute(
        self, name: str, value: Any, proto: AttributeProto, node: gs.Node | None
    ) -> None:
        write_attribute(name, value, proto, node, self._opset, self.graph, self._inner_tensor)

    @staticmethod
    def _describe(metadata: NodeMetadata, proto: onnx.NodeProto) -> None:
        if metadata.doc_string:
            proto.doc_string = metadata.doc_string
        add_properties(proto, metadata.properties)
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

    def _constant(self, constant: gs.Constant, proto: onnx.GraphProto, nested: bool) -> None:
        if _is_sparse(constant):
            proto.sparse_initializer.add().CopyFrom(constant._values.tensor)
        else:
            self._tensor(constant, proto.initializer.add(), nested)

    def _inner_tensor(self, constant: gs.Constant, proto: TensorProto) -> None:
        self._tensor(constant, proto, nested=True)

    def _tensor(self, constant: gs.Constant, proto: TensorProto, nested: bool) -> None:
        """Write the values of a dense constant into `proto`, or their place where they are not."""
        leave_out = self._leave_out if self._everywhere or not nested else None
        if leave_out is None or not leave_out(constant):
            write_tensor(constant, proto)
            return
        held = constant._values  # what the properties of GraphSurgeon ask, at some length
        like = held if type(held) is np.ndarray else constant
        proto.name, proto.data_location = constant.name, TensorProto.EXTERNAL
        proto.data_type = dtypes.elem_type(like.dtype)
        proto.dims.extend(like.shape)
        if not self._bare:
            mark_left_out(proto, len(self.left_out))
            add_data_metadata(constant, proto)
        self.left_out.append(constant)


def _is_sparse(constant: gs.Constant) -> bool:
    return isinstance(constant._values, SparseValues)
