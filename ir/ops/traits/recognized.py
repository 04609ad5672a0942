"""Functions of the domain `planish` by the standard operator, and attributes, that they spell."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from ...core.variables import FUSED_DOMAIN, is_standard
from . import schemas

NEWEST = 1 << 30  # an opset that has every operator
FUSED_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
RECOGNIZED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Gelu": ("Gelu", {"approximate": "none"}),
    "GeluTanh": ("Gelu", {"approximate": "tanh"}),
    "HardSwish": ("HardSwish", {}),
    "LayerNormalization": ("LayerNormalization", {}),
    "Mish": ("Mish", {}),
    "Silu": ("Swish", {"alpha": 1.0}),
}


@dataclass(frozen=True)
class FusedName:
    """What the name of a fused operator of the domain `planish` lists: ONNX operators, in order.

    The `activation` is a suffix of its own where it is a function; "" where there is none.
    """

    layer: str
    residual: bool
    activation: str
    pool: str


@functools.lru_cache(maxsize=1024)
def read_name(name: str) -> FusedName | None:
    """Return the parts of a name such as ConvAddSiluMaxPool, None where it begins with no layer."""
    layer = next((op for op in ("ConvTranspose", "Conv", "Gemm") if name.startswith(op)), "")
    if not layer:
        return None
    rest = name.removeprefix(layer)
    pool = max((op for op in FUSED_POOLS if rest.endswith(op)), key=len, default="")
    activation = rest.removeprefix("Add").removesuffix(pool)
    return FusedName(layer, rest.startswith("Add"), activation, pool)


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
