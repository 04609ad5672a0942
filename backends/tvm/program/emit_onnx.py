"""Operators without a kernel of ours, through the converters of TVM's ONNX importer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from ....ir.core.errors import BackendError
from ....ir.core.variables import label
from .program import Program
from .value import Value, shape_of

# Operators whose results are elements of their inputs.
_MOVES = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)


def emit_onnx(program: Program, node: gs.Node, proto: onnx.NodeProto, opset: int) -> None:
    """Emit `node`; raises BackendError with its name and operator where TVM has no equal."""
    from tvm.relax.frontend.onnx import onnx_frontend as frontend

    if proto.domain not in ("", "ai.onnx"):
        raise BackendError(
            f"backend 'tvm' cannot run {label(node)}: operators of domain '{proto.domain}' are "
            "unknown to it; write it with standard operators"
        )
    moved = _same_bytes(program, node)
    importer = frontend.ONNXGraphImporter({}, {})
    importer.bb = program.builder
    importer.opset = opset
    inputs = frontend.onnx_input()
    for tensor in node.inputs:
        if moved is not None and id(tensor) in moved:
            inputs.append(moved[id(tensor)].expr)
        else:
            inputs.append(None if tensor.is_empty() else program.plain(tensor))
    try:
        attrs = importer._parse_attr(proto.attribute)
        attrs["tvm_custom"] = {"name": node.name, "num_outputs": len(node.outputs)}
        found = importer._convert_operator(node.op, inputs, attrs, opset)
        results = _results(program, found, len(node.outputs))
    except Exception as error:  # converters fail in any way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BackendError(
            f"backend 'tvm' cannot run {label(node)}: TVM does not convert {node.op} here: {reason}"
        ) from error
    for tensor, expr in zip(node.outputs, results, strict=False):
        if tensor.is_empty():
            continue
        if moved:
            like = next(iter(moved.values()))
            program.define(tensor, replace(like, expr=expr, shape=shape_of(expr)))
        else:
            program.define_plain(tensor, expr)


def _same_bytes(program: Program, node: gs.Node) -> dict[int, Value] | None:
    """Return the bytes of what `node` moves, by id of the tensor, where they share one grid.

    Their results are bytes on that grid.
    """
    if node.op not in _MOVES:
        return None
    data = node.inputs if node.op == "Concat" else node.inputs[:1]
    if not all(any(v.scale is not None for v in program.held(tensor)) for tensor in data):
        return None
    found = {id(tensor): program.plain_bytes(tensor) for tensor in data}
    values = {key: value for key, value in found.items() if value is not None}
    return values if len({value.grid for value in values.values()}) == 1 else None


def _results(program: Program, found: Any, count: int) -> list[Any]:
    from tvm import relax

    emit = program.builder.emit
    found = program.builder.normalize(found) if isinstance(found, relax.Expr) else found
    if isinstance(found, relax.Tuple):
        return [emit(field) for field in found.fields][:count]
    if isinstance(found.ty, relax.TupleType):
        whole = emit(found)
        return [emit(relax.TupleGetItem(whole, i)) for i in range(len(found.ty.fields))][:count]
    return [emit(found)]
