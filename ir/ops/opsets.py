"""Which form a standard operator has at an opset, as its schema says it.

No pass compares opsets: it asks whether an operator, an attribute, an input or a type is there.
"""

from __future__ import annotations

import functools
from typing import Any

import onnx

from ..core import dtypes
from .traits.schemas import schema_of

_SINGLE = onnx.defs.OpSchema.FormalParameterOption.Single
# Their operands had one shape up to opset 7.
_VARIADIC = frozenset({"Max", "Mean", "Min", "Sum"})


def has_operator(op: str, opset: int) -> bool:
    """Say whether the standard has operator `op` at `opset`."""
    return schema_of(op, opset) is not None


def version_of(op: str, opset: int) -> int:
    """Return the opset that brought the version of `op` which `opset` has; 0 where it has none."""
    schema = schema_of(op, opset)
    return 0 if schema is None else int(schema.since_version)


@functools.lru_cache(maxsize=4096)
def has_attribute(op: str, name: str, opset: int) -> bool:
    """Say whether operator `op` has attribute `name` at `opset`."""
    schema = schema_of(op, opset)
    return schema is not None and name in schema.attributes


@functools.lru_cache(maxsize=4096)
def position_of(op: str, name: str, opset: int) -> int | None:
    """Return which input of `op` is called `name` at `opset`, None where none is."""
    schema = schema_of(op, opset)
    names = [] if schema is None else [port.name for port in schema.inputs]
    return names.index(name) if name in names else None


@functools.lru_cache(maxsize=4096)
def needs_input(op: str, position: int, opset: int) -> bool:
    """Say whether `op` cannot do without the input at `position`."""
    schema = schema_of(op, opset)
    ports = [] if schema is None else schema.inputs
    return position < len(ports) and bool(ports[position].option == _SINGLE)


@functools.lru_cache(maxsize=4096)
def takes_type(op: str, dtype: Any, opset: int, position: int = 0) -> bool:
    """Say whether the input of `op` at `position` may have element type `dtype` (numpy or enum)."""
    schema = schema_of(op, opset)
    if schema is None or position >= len(schema.inputs):
        return False
    name = onnx.TensorProto.DataType.Name(dtypes.elem_type(dtype)).lower()
    return f"tensor({name})" in schema.inputs[position].types


@functools.lru_cache(maxsize=1024)
def opset_taking(op: str, dtype: Any, position: int = 0) -> int | None:
    """Return the least opset at which the input of `op` at `position` may have type `dtype`.

    None where it never may. A pass that brings a type in raises the model to it.
    """
    opsets = range(1, onnx.defs.onnx_opset_version() + 1)
    return next((opset for opset in opsets if takes_type(op, dtype, opset, position)), None)


@functools.lru_cache(maxsize=1024)
def of_one_type(op: str, position: int, opset: int) -> tuple[int, ...]:
    """Return the inputs of `op` whose element type has to be that of the input at `position`."""
    schema = schema_of(op, opset)
    ports = [] if schema is None else schema.inputs
    if position >= len(ports):
        return ()
    return tuple(i for i, p in enumerate(ports) if p.type_str == ports[position].type_str)


@functools.lru_cache(maxsize=1024)
def aligns(op: str, opset: int) -> bool:
    """Say whether operands of `op` are aligned from their last axes on, as numpy's are.

    Before opset 7 an attribute said how, and PRelu had a slope for each channel on axis 1.
    """
    schema = schema_of(op, opset)
    if schema is None or "broadcast" in schema.attributes:
        return False
    return op != "PRelu" or schema.since_version >= 7


def broadcasts(op: str, opset: int) -> bool:
    """Say whether operands of `op` that `aligns` may differ in shape."""
    schema = schema_of(op, opset)
    if schema is None or not aligns(op, opset):
        return False
    return op not in _VARIADIC or bool(schema.since_version >= 8)
