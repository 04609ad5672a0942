"""Copying a graph: new nodes and tensors, the same weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import onnx
import onnx_graphsurgeon as gs
from google.protobuf.message import Message

from ..core.build import make_constant, make_node, make_variable
from ..core.variables import EmptyList, exotic_type, set_exotic_type
from ..proto.graph import make_graph
from ..proto.metadata import (
    model_metadata,
    node_metadata,
    quantization_of,
    set_model_metadata,
    set_node_metadata,
    set_quantization,
    set_tensor_metadata,
    tensor_metadata,
)
from .types import Types

MessageType = TypeVar("MessageType", bound=Message)

_ATOMS = frozenset({int, float, str})


def clone(graph: gs.Graph, nodes: Sequence[gs.Node] | None = None) -> gs.Graph:
    """Return a copy of `graph` whose edits leave the original untouched; weights are shared.

    `nodes`: those of the top level that are copied; None for all. Unlike `Graph.copy`, it keeps
    metadata, the producer's name and the types of sequences, tells tensors apart by identity, and
    takes linear time with subgraphs.
    """
    copy = Copier().graph(graph, nodes)
    copy.functions = [clone_function(function) for function in graph.functions]
    return copy


def clone_with_types(graph: gs.Graph, types: Types) -> tuple[gs.Graph, Types]:
    """Return a copy of `graph`, as `clone` makes it, and its types, where the graph has `types`."""
    copier = Copier()
    copy = copier.graph(graph)
    copy.functions = [clone_function(function) for function in graph.functions]
    return copy, types.of_copies(copier.copies)


def clone_function(function: gs.Function) -> gs.Function:
    """Return a copy of a local function whose edits leave the original untouched."""
    copier = Copier()
    nodes = copier.nodes(function.nodes)
    copy = gs.Function(
        function.name,
        function.domain,
        nodes=nodes,
        inputs=[copier.tensor(t) for t in function.inputs],
        outputs=[copier.tensor(t) for t in function.outputs],
        doc_string=function.doc_string,
        opset=function.opset,
        import_domains=_copies(function.import_domains),
        attrs={name: copier.attribute(value) for name, value in function.attrs.items()},
        ir_version=function.ir_version,
    )
    set_node_metadata(copy, node_metadata(function))
    return copy


class Copier:
    """Copies tensors once each, so that scopes which share one share its copy."""

    def __init__(self) -> None:
        self.copies: dict[int, gs.Tensor] = {}  # by the ids of the originals

    def tensor(self, original: gs.Tensor) -> gs.Tensor:
        """Return the copy of a tensor, made at its first use; constants share their values."""
        if not original.name:
            return make_variable("")
        found = self.copies.get(id(original))
        if found is None:
            found = self.copies[id(original)] = _copy_tensor(original)
            annotation = quantization_of(original)
            if annotation:
                set_quantization(found, tuple((key, self.tensor(t)) for key, t in annotation))
        return found

    def nodes(self, originals: Iterable[gs.Node]) -> list[gs.Node]:
        """Return copies of nodes of one scope."""
        made = []
        for node in originals:
            copy = make_node(
                node.op,
                node.name,
                self.attributes(node),
                [self.tensor(t) for t in node.inputs],
                [self.tensor(t) for t in node.outputs],
                node.domain,
            )
            set_node_metadata(copy, node_metadata(node))
            made.append(copy)
        return made

    def graph(self, original: gs.Graph, nodes: Sequence[gs.Node] | None = None) -> gs.Graph:
        """Return a copy of a graph and what is nested in it, of `nodes` alone where given."""
        made = make_graph(
            self.nodes(original.nodes if nodes is None else nodes),
            [self.tensor(t) for t in original.inputs],
            [self.tensor(t) for t in original.outputs],
            name=original.name,
            doc_string=original.doc_string,
            opset=original.opset,
            import_domains=_copies(original.import_domains),
            producer_name=original.producer_name,
            producer_version=original.producer_version,
            ir_version=original.ir_version,
        )
        set_model_metadata(made, model_metadata(original))
        return made

    def attributes(self, node: gs.Node) -> dict[str, Any]:
        """Return copies of the attributes of a node."""
        return {
            name: value if type(value) in _ATOMS else self.attribute(value)
            for name, value in node.attrs.items()
        }

    def attribute(self, attribute: Any) -> Any:
        """Return the copy of an attribute: of graphs, messages and lists of them, else itself."""
        if isinstance(attribute, gs.Graph):
            return self.graph(attribute)
        if isinstance(attribute, EmptyList) and not attribute:
            return EmptyList(attribute.kind)
        if isinstance(attribute, Message):
            return _copy_message(attribute)
        if isinstance(attribute, list):
            return [v if type(v) in _ATOMS else self.attribute(v) for v in attribute]
        return attribute


def _copies(
    imports: Iterable[onnx.OperatorSetIdProto] | None,
) -> list[onnx.OperatorSetIdProto] | None:
    return [_copy_message(entry) for entry in imports or ()] or None


def _copy_message(original: MessageType) -> MessageType:
    copy: MessageType = type(original)()
    copy.CopyFrom(original)
    return copy


def _copy_tensor(original: gs.Tensor) -> gs.Tensor:
    if isinstance(original, gs.Constant):
        constant = make_constant(original.name, original._values)
        set_tensor_metadata(constant, tensor_metadata(original))
        return constant
    shape = None if original.shape is None else list(original.shape)
    copy = make_variable(original.name, original.dtype, shape, original.type)
    exotic = exotic_type(original)
    if exotic is not None:
        set_exotic_type(copy, exotic)
    set_tensor_metadata(copy, tensor_metadata(original))
    return copy
