"""What ONNX declares of an operator at an opset."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import onnx
from onnx import AttributeProto


def declared(op: str, opset: int) -> tuple[int, Mapping[str, Any]]:
    """Return the version of a standard operator at `opset`, and its attributes' defaults.

    0 and none where ONNX has no such operator.
    """
    if not onnx.defs.has(op, opset, ""):
        return 0, {}
    schema = onnx.defs.get_schema(op, opset, "")
    defaults = {
        name: onnx.helper.get_attribute_value(attribute.default_value)
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type != AttributeProto.UNDEFINED
    }
    return int(schema.since_version), defaults


@functools.lru_cache(maxsize=1024)
def function_version(op: str, opset: int) -> int:
    """Return the opset since which a standard operator is the function that it is at `opset`.

    Versions that only take more element types are no other function: all that ONNX says of them,
    word by word, is the same. 0 where it has no such operator.
    """
    if not onnx.defs.has(op, opset, ""):
        return 0
    schema = onnx.defs.get_schema(op, opset, "")
    while schema.since_version > 1 and onnx.defs.has(op, schema.since_version - 1, ""):
        older = onnx.defs.get_schema(op, schema.since_version - 1, "")
        if _said(older) != _said(schema):
            break
        schema = older
    return int(schema.since_version)


def _said(schema: onnx.defs.OpSchema) -> tuple[Any, ...]:
    """Return all that a schema says but of element types."""
    attributes = sorted(
        (n, a.type, a.required, a.default_value.SerializeToString(), a.description.split())
        for n, a in schema.attributes.items()
    )
    ports = [
        (p.name, p.option, p.is_homogeneous, p.description.split())
        for p in (*schema.inputs, *schema.outputs)
    ]
    counts = (schema.min_input, schema.max_input, schema.min_output, schema.max_output)
    return schema.doc.split(), attributes, ports, counts
