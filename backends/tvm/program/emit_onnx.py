"""Operators without a kernel of ours, through the converters of TVM's ONNX importer."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_graphsurgeon as gs

from ....ir.core.errors import BackendError
from ....ir.core.variables import label
from .program import PlainTensors


def emit_onnx(tensors: PlainTensors, node: gs.Node, proto: onnx.NodeProto, opset: int) -> None:
    """Emit `node`; raises BackendError with its name and operator where TVM has no equal."""
    from tvm.relax.frontend.onnx import onnx_frontend as frontend

    if proto.domain not in ("", "ai.onnx"):
        raise BackendError(
            f"backend 'tvm' cannot run {label(node)}: operators of domain '{proto.domain}' are "
            "unknown to it; write it with standard operators"
        )
    importer = frontend.ONNXGraphImporter({}, {})
    importer.bb = tensors.builder
    importer.opset = opset
    inputs = frontend.onnx_input()
    for tensor in node.inputs:
        inputs.append(None if tensor.is_empty() else tensors.plain(tensor))
    try:
        attrs = importer._parse_attr(proto.attribute)
        attrs["tvm_custom"] = {"name": node.name, "num_outputs": len(node.outputs)}
        found = importer._convert_operator(node.op, inputs, attrs, opset)
        results = _results(tensors.builder, found, len(node.outputs))
    except Exception as error:  # converters fail in any way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BackendError(
            f"backend 'tvm' cannot run {label(node)}: TVM does not convert {node.op} here: {reason}"
        ) from error
    for tensor, expr in zip(node.outputs, results, strict=False):
        if not tensor.is_empty():
            tensors.define_plain(tensor, expr)


def _results(builder: Any, found: Any, count: int) -> list[Any]:
    from tvm import relax

    emit = builder.emit
    found = builder.normalize(found) if isinstance(found, relax.Expr) else found
    if isinstance(found, relax.Tuple):
        return [emit(field) for field in found.fields][:count]
    if isinstance(found.ty, relax.TupleType):
        whole = emit(found)
        return [emit(relax.TupleGetItem(whole, i)) for i in range(len(found.ty.fields))][:count]
    return [emit(found)]
