"""Functions of the domain `planish` by the standard operator, and attributes, that they spell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_graphsurgeon as gs

from ...core.variables import FUSED_DOMAIN, is_standard
from . import schemas

NEWEST = 1 << 30  # an opset that has every operator
RECOGNIZED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Gelu": ("Gelu", {"approximate": "none"}),
    "GeluTanh": ("Gelu", {"approximate": "tanh"}),
    "HardSwish": ("HardSwish", {}),
    "LayerNormalization": ("LayerNormalization", {}),
    "Mish": ("Mish", {}),
    "Silu": ("Swish", {"alpha": 1.0}),
}


def spelled(node: gs.Node) -> tuple[str, Mapping[str, Any]] | None:
    """Return operator and attributes of a standard node, or those that a function stands for."""
    if is_standard(node):
        return str(node.op), node.attrs
    if node.domain == FUSED_DOMAIN:
        return RECOGNIZED.get(str(node.op))
    return None


def value_of(op: str, held: Mapping[str, Any], name: str, opset: int) -> Any:
    """Return an attribute, text as str, or its default at `opset`."""
    value = held.get(name)
    if value is None:
        return schemas.default(op, name, opset)
    return value.decode() if isinstance(value, bytes) else value


def attribute(node: gs.Node, name: str, opset: int) -> Any:
    """Return an attribute of `node`, text as str, or the default that its schema has at `opset`.

    None where it has neither. A recognized function has the attributes that it stands for.
    """
    found = spelled(node)
    if found is None:
        return node.attrs.get(name)
    return value_of(*found, name, opset)
