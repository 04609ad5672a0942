"""What a model file says beside its graph, and GraphSurgeon leaves out.

GraphSurgeon objects are plain Python objects, so the facts travel as an attribute of the graph, the
node or the tensor that they are about, and go where it goes. All are optional.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

import onnx
import onnx_graphsurgeon as gs

Pairs = tuple[tuple[str, str], ...]

# The property of a node that says of which fused operator it was a part.
MARK = "planish.function"
_ATTRIBUTE = "planish_metadata"
_QUANTIZATION = "planish_quantization"


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """Model-level facts that survive every pass (ONNX IR specification, "Models").

    `configurations` are those of devices (IR version 11), each serialized.
    """

    domain: str = ""
    model_version: int = 0
    doc_string: str = ""
    properties: Pairs = ()
    graph_properties: Pairs = ()
    configurations: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NodeMetadata:
    """Node-level facts: documentation, and properties such as the exporter's source location.

    `empty` are the attributes of list kind that the file spells out and gives no element, which
    says what leaving them out says; `attribute_docs` and `devices` are of the node's attributes and
    device configurations, the latter serialized. `parts` are the nodes that a call stands for.
    """

    doc_string: str = ""
    properties: Pairs = ()
    overload: str = ""
    attribute_docs: Pairs = ()
    empty: tuple[tuple[str, int], ...] = ()
    devices: tuple[bytes, ...] = ()
    parts: tuple[Part, ...] = ()

    def inherited(self) -> NodeMetadata:
        """Return what holds for another operator in the node's place."""
        said = tuple(pair for pair in self.properties if pair[0] != MARK)
        return NodeMetadata(doc_string=self.doc_string, properties=said)


@dataclass(frozen=True)
class ValueMetadata:
    """What is said of a value: its documentation, what it denotes, and what each axis does.

    `listed`: a constant whose value the file also lists by its type.
    """

    doc_string: str = ""
    properties: Pairs = ()
    denotation: str = ""
    axes: tuple[tuple[int, str], ...] = ()
    listed: bool = False


@dataclass(frozen=True)
class DataMetadata:
    """What is said of the data of a constant."""

    doc_string: str = ""
    properties: Pairs = ()


@dataclass(frozen=True)
class TensorMetadata:
    """Facts about one tensor: as a value, as an output of its graph, and as data."""

    value: ValueMetadata = field(default_factory=ValueMetadata)
    output: ValueMetadata = field(default_factory=ValueMetadata)
    data: DataMetadata = field(default_factory=DataMetadata)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A node that became part of a call: its operator, name and facts, and those of its result.

    `arity` is the number of its inputs, without absent ones at the end.
    """

    op: str
    name: str
    arity: int
    metadata: NodeMetadata | None
    result: str
    tensor: TensorMetadata


_NOTHING = TensorMetadata()


def model_metadata(graph: gs.Graph) -> ModelMetadata:
    """Return the metadata of `graph`, empty where it was never set."""
    found = graph.__dict__.get(_ATTRIBUTE)
    return found if isinstance(found, ModelMetadata) else ModelMetadata()


def set_model_metadata(graph: gs.Graph, metadata: ModelMetadata) -> None:
    """Attach model metadata to `graph`."""
    graph.__dict__[_ATTRIBUTE] = metadata


def node_metadata(node: gs.Node) -> NodeMetadata | None:
    """Return the metadata of `node`, or None where there is none."""
    found = node.__dict__.get(_ATTRIBUTE)
    return found if isinstance(found, NodeMetadata) else None


def set_node_metadata(node: gs.Node, metadata: NodeMetadata | None) -> None:
    """Attach metadata to `node`; None leaves it bare."""
    if metadata is not None:
        node.__dict__[_ATTRIBUTE] = metadata


def tensor_metadata(tensor: gs.Tensor) -> TensorMetadata:
    """Return the metadata of `tensor`, empty where it was never set."""
    found: TensorMetadata = tensor.__dict__.get(_ATTRIBUTE, _NOTHING)
    return found


def set_tensor_metadata(tensor: gs.Tensor, metadata: TensorMetadata) -> None:
    """Attach metadata to `tensor`."""
    if metadata is not _NOTHING and metadata != _NOTHING:
        tensor.__dict__[_ATTRIBUTE] = metadata


def quantization_of(tensor: gs.Tensor) -> tuple[tuple[str, gs.Tensor], ...]:
    """Return the annotation of `tensor`: its quantization parameters by key ("SCALE_TENSOR")."""
    found: tuple[tuple[str, gs.Tensor], ...] = tensor.__dict__.get(_QUANTIZATION, ())
    return found


def set_quantization(tensor: gs.Tensor, parameters: tuple[tuple[str, gs.Tensor], ...]) -> None:
    """Annotate `tensor` with its quantization parameters."""
    if parameters:
        tensor.__dict__[_QUANTIZATION] = parameters


class HasProperties(Protocol):
    """A proto with `metadata_props`."""

    @property
    def metadata_props(self) -> Collection[onnx.StringStringEntryProto]:
        """Entries of key and value."""


def properties(entries: HasProperties) -> Pairs:
    """Return the `metadata_props` of a proto as ordered pairs."""
    found = entries.metadata_props
    return tuple((entry.key, entry.value) for entry in found) if found else ()
