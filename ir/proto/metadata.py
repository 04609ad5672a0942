"""What a model file says beside its graph, and GraphSurgeon leaves out.

GraphSurgeon graphs are plain Python objects, so the facts travel as one attribute of the graph
(`graph.planish_metadata`) and of each node (`node.planish_metadata`); both are optional.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx
import onnx_graphsurgeon as gs

_ATTRIBUTE = "planish_metadata"


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """Model-level facts that survive every pass (ONNX IR specification, "Models")."""

    domain: str = ""
    model_version: int = 0
    doc_string: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    graph_properties: tuple[tuple[str, str], ...] = ()
    # Types of graph inputs and outputs that GraphSurgeon cannot hold (optional, map, nested).
    value_types: dict[str, onnx.TypeProto] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeMetadata:
    """Node-level facts: documentation and properties such as the exporter's source location."""

    doc_string: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    overload: str = ""


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


def properties(
    entries: onnx.ModelProto | onnx.NodeProto | onnx.GraphProto,
) -> tuple[tuple[str, str], ...]:
    """Return the `metadata_props` of a proto as ordered pairs."""
    return tuple((entry.key, entry.value) for entry in entries.metadata_props)
