"""ModelProto -> GraphSurgeon graph, losing nothing.

GraphSurgeon's own importer drops model metadata, node properties, optional types and initializers
that are also graph inputs, keeps the whole proto alive, and invents a variable where a name has no
producer. This one keeps the first four, holds weights as read-only arrays and refuses the last.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, TensorProto
from onnx_graphsurgeon.ir.tensor import SparseValues

from ..core.build import make_constant, make_node, make_variable
from ..core.errors import LoadError
from ..core.variables import STANDARD_DOMAINS
from .descriptions import Scope, annotate, describe, texts_of
from .graph import make_graph
from .metadata import (
    ModelMetadata,
    NodeMetadata,
    properties,
    set_model_metadata,
    set_node_metadata,
    set_tensor_metadata,
    tensor_metadata,
)
from .read_attribute import is_empty, is_optional_list, read_attribute
from .tensor_data import TensorData
from .values import (
    data_metadata,
    require_text,
    variable,
)
from .versions import FIRST_IR_WITH_DEFAULTS


def from_proto(model: onnx.ModelProto, data: TensorData) -> gs.Graph:
    """Return `model` as a GraphSurgeon graph; raises LoadError naming what is malformed.

    An initializer that is also a graph input (IR version 4 and later) is an input with a default
    value: it stays in `graph.inputs`, as a `Constant`, and passes do not treat it as constant.
    Before, all initializers are listed, and are constants.
    """
    require_text("the model", _texts_of_model(model))
    if model.training_info:
        raise LoadError(
            "the model holds training information, whose bindings passes could not keep right; "
            "remove it (`del model.training_info[:]`) and load again"
        )
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    domains = [_copy_opset(entry) for entry in model.opset_import]
    importer = _Importer(opset, domains, data)
    functions = [importer.function(function) for function in model.functions]
    graph = importer.graph(model.graph, {}, model.ir_version >= FIRST_IR_WITH_DEFAULTS)
    graph.functions = functions
    graph.producer_name = model.producer_name
    graph.producer_version = model.producer_version
    graph.ir_version = model.ir_version
    set_model_metadata(
        graph,
        ModelMetadata(
            domain=model.domain,
            model_version=model.model_version,
            doc_string=model.doc_string,
            properties=properties(model),
            graph_properties=properties(model.graph),
            configurations=tuple(entry.SerializeToString() for entry in model.configuration),
        ),
    )
    return graph


class _Importer:
    def __init__(
        self, opset: int | None, domains: list[onnx.OperatorSetIdProto], data: TensorData
    ) -> None:
        self._opset = opset
        self._domains = domains
        self._data = data

    def graph(self, proto: onnx.GraphProto, outer: Scope, defaults: bool = True) -> gs.Graph:
        where = f"graph '{proto.name}'"
        local = self._constants(proto, where)
        constants = set(local)
        inputs = []
        for info in proto.input:
            if info.name not in local:
                local[info.name] = variable(info)
            describe(local[info.name], info)
            if defaults or info.name not in constants:
                inputs.append(local[info.name])
        # Outputs first: what a graph promises holds, whatever is noted about its inner values.
        for info in proto.output:
            if info.name not in local:
                local[info.name] = variable(info)
            describe(local[info.name], info, output=True)
        for info in proto.value_info:
            self._inner_value(info, local, outer, constants)
        nodes = self._nodes(proto.node, local, outer, where, constants)
        require_text(where, (proto.name, proto.doc_string, *texts_of(properties(proto)), *local))
        annotate(proto, local, outer)
        outputs = [local[info.name] for info in proto.output]
        graph = self._make(nodes, inputs, outputs, proto.name, proto.doc_string)
        if proto.metadata_props:
            set_model_metadata(graph, ModelMetadata(graph_properties=properties(proto)))
        known_inputs = {id(tensor) for tensor in inputs}
        for tensor in outputs:
            if not tensor.inputs and id(tensor) not in known_inputs and _is_variable(tensor):
                raise LoadError(
                    f"output '{tensor.name}' of {where} is produced by no node; the file is "
                    "incomplete, export it again"
                )
        return graph

    @staticmethod
    def _inner_value(
        info: onnx.ValueInfoProto, local: Scope, outer: Scope, constants: AbstractSet[str]
    ) -> None:
        if info.name in constants:
            describe(local[info.name], info, listed=True)
        elif info.name not in local and info.name not in outer:
            local[info.name] = variable(info)
            describe(local[info.name], info)

    def _constants(self, proto: onnx.GraphProto, where: str) -> dict[str, gs.Tensor]:
        found: dict[str, gs.Tensor] = {}

        def declare(name: str, constant: gs.Constant) -> None:
            if not name:
                raise LoadError(
                    f"{where} has an initializer without a name; export the model again"
                )
            if name in found:
                raise LoadError(
                    f"{where} has two initializers named '{name}'; every tensor has one value, "
                    "export the model again"
                )
            found[name] = constant

        for tensor in proto.initializer:
            declare(tensor.name, self._constant(tensor))
        for sparse in proto.sparse_initializer:
            name = sparse.values.name
            declare(name, gs.Constant(name, SparseValues(self._data.sparse(sparse))))
        return found

    def _constant(self, tensor: TensorProto) -> gs.Constant:
        made = make_constant(tensor.name, self._data.held(tensor))
        if tensor.doc_string or tensor.metadata_props:
            known = tensor_metadata(made)
            set_tensor_metadata(made, replace(known, data=data_metadata(tensor)))
        return made

    def function(self, proto: onnx.FunctionProto) -> gs.Function:
        local: dict[str, gs.Tensor] = {name: gs.Variable(name) for name in proto.input}
        for info in proto.value_info:
            local[info.name] = variable(info)
            describe(local[info.name], info)
        where = f"function '{proto.domain}.{proto.name}'"
        nodes = self._nodes(proto.node, local, {}, where)
        require_text(where, (proto.name, proto.domain, proto.doc_string, proto.overload, *local))
        require_text(where, (*proto.attribute, *(a.name for a in proto.attribute_proto)))
        missing = [name for name in proto.output if name not in local]
        if missing:
            raise LoadError(f"output '{missing[0]}' of {where} is produced by no node")
        opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), None)
        attributes: dict[str, Any] = dict.fromkeys(proto.attribute)
        for attribute in proto.attribute_proto:
            attributes[attribute.name] = self._attribute(attribute, local, {})
        function = gs.Function(
            proto.name,
            proto.domain,
            nodes=nodes,
            inputs=[local[name] for name in proto.input],
            outputs=[local[name] for name in proto.output],
            doc_string=proto.doc_string,
            opset=opset or self._opset,
            import_domains=[_copy_opset(entry) for entry in proto.opset_import],
            attrs=attributes,
        )
        if proto.overload or proto.metadata_props:
            made = NodeMetadata(properties=properties(proto), overload=proto.overload)
            set_node_metadata(function, made)
        return function

    def _make(
        self,
        nodes: list[gs.Node],
        inputs: list[gs.Tensor],
        outputs: list[gs.Tensor],
        name: str,
        doc_string: str,
    ) -> gs.Graph:
        return make_graph(
            nodes,
            inputs,
            outputs,
            name=name,
            doc_string=doc_string,
            opset=self._opset,
            import_domains=self._domains,
        )

    def _nodes(
        self,
        protos: Any,
        local: dict[str, gs.Tensor],
        outer: Scope,
        where: str,
        constants: AbstractSet[str] = frozenset(),
    ) -> list[gs.Node]:
        # Nodes may come in any order, so outputs are declared before inputs are looked up.
        produced: dict[str, onnx.NodeProto] = {}
        for proto in protos:
            for name in proto.output:
                if name in constants:
                    raise LoadError(
                        f"tensor '{name}' in {where} is an initializer and also produced by "
                        f"{_label(proto)}; every tensor has one producer"
                    )
                if name and name in produced:
                    raise LoadError(
                        f"tensor '{name}' in {where} is produced by two nodes, "
                        f"{_label(produced[name])} and {_label(proto)}; every tensor has one "
                        "producer"
                    )
                if name:
                    produced[name] = proto
                    if name not in local:
                        local[name] = make_variable(name)
        return [self._node(proto, local, outer, where) for proto in protos]

    def _node(
        self,
        proto: onnx.NodeProto,
        local: dict[str, gs.Tensor],
        outer: Scope,
        where: str,
    ) -> gs.Node:
        inputs = []
        for name in proto.input:
            tensor = local.get(name)
            if tensor is None:
                tensor = outer.get(name)
            if tensor is None:
                if name:
                    raise LoadError(
                        f"{_label(proto)} in {where} reads tensor '{name}', which nothing "
                        "produces; the file is incomplete, export it again"
                    )
                tensor = make_variable("")
            inputs.append(tensor)
        op, name, domain, attributes = proto.op_type, proto.name, proto.domain, proto.attribute
        said, overload, props = proto.doc_string, proto.overload, properties(proto)
        _require_node_text((op, name, domain, said, overload), proto, where)
        if props:
            _require_node_text(texts_of(props), proto, where)
        held: dict[str, Any] = {}
        empty, docs = [], []
        for attribute in attributes:
            if attribute.doc_string:
                docs.append((attribute.name, attribute.doc_string))
            if is_empty(attribute) and self._leaves_out(proto, attribute.name):
                empty.append((attribute.name, int(attribute.type)))
            else:
                held[attribute.name] = self._attribute(attribute, local, outer)
        for attribute_name, _ in empty:
            held.pop(attribute_name, None)
        outputs = [local[result] if result else make_variable("") for result in proto.output]
        node = make_node(op, name, held, inputs, outputs, domain or None)
        if docs:
            _require_node_text(texts_of(docs), proto, where)
        devices = proto.device_configurations
        if said or overload or props or docs or empty or devices:
            metadata = NodeMetadata(
                doc_string=said,
                properties=props,
                overload=overload,
                attribute_docs=tuple(docs),
                empty=tuple(empty),
                devices=tuple(entry.SerializeToString() for entry in devices),
            )
            set_node_metadata(node, metadata)
        return node

    def _leaves_out(self, proto: onnx.NodeProto, name: str) -> bool:
        """Say whether `proto` means by an empty list what it would without the attribute."""
        if proto.domain not in STANDARD_DOMAINS or proto.op_type == "Constant":
            return False
        return self._opset is not None and is_optional_list(proto.op_type, self._opset, name)

    def _attribute(self, proto: AttributeProto, local: Scope, outer: Scope) -> Any:
        def graph(body: onnx.GraphProto) -> gs.Graph:
            return self.graph(body, ChainMap(local, outer))

        return read_attribute(proto, self._data, self._constant, graph)


def _texts_of_model(model: onnx.ModelProto) -> Iterator[str]:
    yield from (model.producer_name, model.producer_version, model.domain, model.doc_string)
    yield from (entry.domain for entry in model.opset_import)
    yield from texts_of(properties(model))


def _copy_opset(entry: onnx.OperatorSetIdProto) -> onnx.OperatorSetIdProto:
    return onnx.helper.make_opsetid(entry.domain, entry.version)


def _require_node_text(texts: Iterable[str], proto: onnx.NodeProto, where: str) -> None:
    """Refuse what is no text, as `require_text` does; what is right costs no message."""
    for text in texts:
        if type(text) is not str:
            require_text(f"{_label(proto)} in {where}", (text,))


def _is_variable(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Variable)


def _label(proto: onnx.NodeProto) -> str:
    return f"node '{proto.name}' ({proto.op_type})" if proto.name else f"a {proto.op_type} node"
