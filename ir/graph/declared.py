"""What ONNX declares of an operator at an opset."""

from __future__ import annotations

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
