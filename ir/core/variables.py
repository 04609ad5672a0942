"""Facts about single tensors and nodes that need no graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from .file_values import FileValues

_EXOTIC = "planish_type"
STANDARD_DOMAINS = frozenset({None, "", "ai.onnx"})
FUSED_DOMAIN = "planish"


_NONE: list[gs.Graph] = []


class EmptyList(list[Any]):
    """An empty list attribute; `kind` says what it would hold (`AttributeProto.INTS`, ...)."""

    def __init__(self, kind: int) -> None:
        super().__init__()
        self.kind = kind


def set_exotic_type(tensor: gs.Variable, proto: onnx.TypeProto) -> None:
    """Keep the type of a value that is not a tensor (sequence, optional, map) with its variable."""
    kept = onnx.TypeProto()
    kept.CopyFrom(proto)
    tensor.__dict__[_EXOTIC] = kept


def exotic_type(tensor: gs.Tensor) -> onnx.TypeProto | None:
    """Return the type kept by `set_exotic_type`, or None for an ordinary tensor."""
    return tensor.__dict__.get(_EXOTIC)


def dense_values(tensor: gs.Tensor) -> np.ndarray[Any, Any] | None:
    """Return the values of a dense constant, or None for variables and sparse constants."""
    if not isinstance(tensor, gs.Constant):
        return None
    held = tensor._values
    if isinstance(held, np.ndarray):
        return held
    if isinstance(held, FileValues):
        return held.load()
    if type(held) is LazyValues:  # from a person's own GraphSurgeon script
        return np.asarray(tensor.values)
    return None


def is_standard(node: gs.Node) -> bool:
    """Say whether `node` is an operator of the ONNX standard (default domain)."""
    return node.domain in STANDARD_DOMAINS


def label(node: gs.Node) -> str:
    """Name `node` for a person: its own name, or its operator and first output."""
    if node.name:
        return f"'{node.name}' ({node.op})"
    outputs = [t.name for t in node.outputs if not t.is_empty()]
    return f"{node.op} -> '{outputs[0]}'" if outputs else str(node.op)


def node_key(node: gs.Node) -> str:
    """Return what options call `node`: its name, or that of its first output where it has none."""
    return str(node.name or next((t.name for t in node.outputs if t.name), ""))


def subgraphs_of(node: gs.Node) -> list[gs.Graph]:
    """Return the graphs in the attributes of `node`: the bodies of If, Loop and Scan."""
    found = _NONE
    for value in node.attrs.values():
        if isinstance(value, gs.Graph):
            found = [*found, value]
    return found
