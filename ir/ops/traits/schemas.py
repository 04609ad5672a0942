"""What the ONNX schemas say of an operator at an opset."""

from __future__ import annotations

import functools
from typing import Any

import onnx

_INTEGERS = frozenset(
    f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (2, 4, 8, 16, 32, 64)
)
_GRAPH = onnx.defs.OpSchema.AttrType.GRAPH
_DETERMINISTIC = onnx.defs.OpSchema.NodeDeterminism.Deterministic


@functools.lru_cache(maxsize=4096)
def schema_of(op: str, opset: int) -> Any | None:
    """Return the `onnx.defs.OpSchema` of a standard operator, or None where the opset has none."""
    if not onnx.defs.has(op, max_inclusive_version=opset):
        return None
    return onnx.defs.get_schema(op, opset)


@functools.cache
def opsets_of(op: str) -> tuple[int, ...]:
    """Return the opsets that brought or changed a standard operator, ascending."""
    return _histories().get(op, ())


@functools.cache
def operators() -> frozenset[str]:
    """Return the names of all standard operators, of whatever opset."""
    return frozenset(_histories())


@functools.cache
def _histories() -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            found.setdefault(schema.name, []).append(schema.since_version)
    return {op: tuple(sorted(opsets)) for op, opsets in found.items()}


@functools.lru_cache(maxsize=4096)
def default(op: str, name: str, opset: int) -> Any:
    """Return the default of an attribute as GraphSurgeon would hold it; None where it has none."""
    schema = schema_of(op, opset)
    if schema is None or name not in schema.attributes:
        return None
    value = schema.attributes[name].default_value
    if value.type == onnx.AttributeProto.UNDEFINED:
        return None
    held = onnx.helper.get_attribute_value(value)
    return held.decode() if isinstance(held, bytes) else held


def first_default(op: str, name: str, opset: int) -> Any:
    """Return the default of an attribute, that of a later opset where this one leaves it open."""
    later = (version for version in opsets_of(op) if version > opset)
    found = (default(op, name, version) for version in (opset, *later))
    return next((value for value in found if value is not None), None)


def is_deterministic(schema: Any) -> bool:
    """Say whether the schema states that equal inputs give equal outputs."""
    return bool(schema.node_determinism == _DETERMINISTIC)


def has_bodies(schema: Any) -> bool:
    """Say whether an attribute is a graph, as of If, Loop and Scan."""
    return any(attribute.type == _GRAPH for attribute in schema.attributes.values())


def gives_tensors(schema: Any) -> bool:
    """Say whether every output is a tensor, never a sequence or an optional."""
    return all(kind.startswith("tensor(") for output in schema.outputs for kind in output.types)


def takes_integers(schema: Any, positions: tuple[int, ...] | None) -> bool:
    """Say whether an input at `positions` (None: any) may hold integers."""
    ports = schema.inputs if positions is None else [schema.inputs[i] for i in positions]
    return any(not _INTEGERS.isdisjoint(port.types) for port in ports)
