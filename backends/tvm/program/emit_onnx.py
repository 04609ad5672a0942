"""Operators without a kernel of ours: through TVM's ONNX importer, or run by ONNX Runtime.

A converter of TVM's is taken where it is known to give what ONNX says (`imported`), and where its
result has the type and the sizes that were inferred. Else the operator is ONNX Runtime's.
"""

from __future__ import annotations

from typing import Any

import onnx
import onnx_graphsurgeon as gs

from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ....ir.ops.traits.groups import RESHAPES
from .faults import is_own
from .imported import is_right
from .onnxruntime import emit_onnxruntime
from .own_converters import converted, expanded, handed_on
from .program import PlainTensors, Program
from .required import Pairs, expands_right, require, required_after, required_before
from .single import single_of
from .value import dtype_of, shape_of
from .widen import narrowed, widened

_MOST_UNKNOWN = 3


class _UnconvertedError(Exception):
    """TVM has no converter that can be trusted with a node, and why."""


def emit_onnx(
    program: Program, node: gs.Node, proto: onnx.NodeProto, tensors: PlainTensors | None = None
) -> None:
    """Emit `node`, which a converter sees through `tensors`; raises BackendError naming it."""
    seen = tensors or program
    try:
        if program.untold_steps(node):
            raise _UnconvertedError("a program holds no such input")
        if program.is_elsewhere(node):
            raise _UnconvertedError(f"TVM does not compile {node.op} here")
        results = _converted(program.view, seen, node, proto)
        _check(program.view, seen, node, results, typed=tensors is None)
    except _UnconvertedError as error:
        emit_onnxruntime(program, node, proto, str(error))
        return
    for tensor, expr in zip(node.outputs, results, strict=True):
        if not tensor.is_empty():
            seen.define_plain(tensor, _as_inferred(program, seen, tensor, expr))
    held = {i: dtype_of(seen.plain(t)) for i, t in enumerate(node.inputs) if not t.is_empty()}
    program.singles.append(single_of(node, program.view, held))
    program.note_call("", (node,))


def _converted(
    view: View, tensors: PlainTensors, node: gs.Node, proto: onnx.NodeProto
) -> list[Any]:
    from tvm.relax.frontend.onnx import onnx_frontend as frontend

    if proto.domain not in ("", "ai.onnx"):
        raise _UnconvertedError(f"operators of domain '{proto.domain}' are unknown to it")
    if node.op == "Expand":
        given = [tensors.plain(tensor) for tensor in node.inputs]
        own = expanded(tensors.builder, node, view, given)
        if own is not None:
            return [own]
    if not is_right(node, view):
        raise _UnconvertedError(f"it has no kernel for {node.op} here")
    _require(tensors, required_before(node, view, tensors))
    importer = frontend.ONNXGraphImporter({}, {})
    importer.bb = tensors.builder
    importer.opset = view.opset
    plain = [None if tensor.is_empty() else tensors.plain(tensor) for tensor in node.inputs]
    wide = widened(tensors.builder, node, view, plain)
    inputs = frontend.onnx_input()
    inputs.extend(plain if wide is None else wide)
    _check_divisors(node, inputs)
    try:
        attrs = importer._parse_attr(proto.attribute)
        attrs["tvm_custom"] = {"name": node.name, "num_outputs": len(node.outputs)}
        own = converted(tensors.builder, node, view, inputs)
        if own is not None:
            return [own] if wide is None else narrowed(tensors.builder, view, node, [own])
        found = importer._convert_operator(node.op, inputs, attrs, view.opset)
        results = _results(tensors.builder, found, len(node.outputs))
        if node.inputs:
            results[0] = handed_on(tensors.builder, node, view, inputs[0], results[0])
    except _UnconvertedError:
        raise
    except Exception as error:  # converters fail in any way
        if is_own(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise _UnconvertedError(f"TVM does not convert {node.op} here: {reason}") from error
    if node.op == "Expand" and not expands_right(inputs[0], results[0]):
        raise _UnconvertedError("its sizes are not known")
    _require(tensors, required_after(node, inputs[0], results[0]))
    return results if wide is None else narrowed(tensors.builder, view, node, results)


def _require(tensors: PlainTensors, pairs: Pairs) -> None:
    if not require(tensors.builder, pairs):
        raise _UnconvertedError("its sizes do not fit")


def _as_inferred(program: Program, seen: PlainTensors, tensor: gs.Tensor, expr: Any) -> Any:
    """Return `expr` with the sizes that inference knows all of, where TVM does not.

    What reads it is compiled for them, and they are compared at run time.
    """
    from tvm import relax

    found, inferred = shape_of(expr), _inferred(program.view, seen, tensor)
    if not isinstance(expr.ty, relax.TensorType) or found is None or inferred is None:
        return expr
    if found == inferred or not all(isinstance(size, int) for size in inferred):
        return expr
    kind = relax.TensorType(list(inferred), dtype_of(expr))
    return program.builder.match_cast(expr, kind)


def _check_divisors(node: gs.Node, inputs: Any) -> None:
    """Leave alone what finds its elements by dividing by many sizes, one quotient by the next.

    Each division by a size that is known at run time alone is several of what is divided: the
    compiler's time grows as the power of their number.
    """
    if node.op not in RESHAPES:
        return
    unknown = [size for size in shape_of(inputs[0]) or () if not isinstance(size, int)]
    if len(unknown) > _MOST_UNKNOWN:
        raise _UnconvertedError(f"{len(unknown)} sizes of what {node.op} reads are not known")


def _results(builder: Any, found: Any, count: int) -> list[Any]:
    from tvm import ir, relax

    emit = builder.emit
    found = builder.normalize(found) if isinstance(found, relax.Expr) else found
    if isinstance(found, relax.Tuple):
        results = [emit(field) for field in found.fields]
    elif isinstance(found.ty, relax.TupleType):
        whole = emit(found)
        results = [emit(relax.TupleGetItem(whole, i)) for i in range(len(found.ty.fields))]
    elif isinstance(found, relax.ShapeExpr) or ir.is_prim_expr(found):
        results = [found]  # a size that converters compute with
    else:
        results = [emit(found)]
    if len(results) < count:
        raise _UnconvertedError(f"it gives {len(results)} results of {count}")
    return results[:count]


def _check(
    view: View, seen: PlainTensors, node: gs.Node, results: list[Any], *, typed: bool
) -> None:
    """Compare what was emitted with what was inferred; `typed`: element types as well."""
    for tensor, expr in zip(node.outputs, results, strict=True):
        if tensor.is_empty():
            continue
        found, inferred = shape_of(expr), _inferred(view, seen, tensor)
        if found is None:
            raise _UnconvertedError(f"TVM does not know the rank of '{tensor.name}'")
        if inferred is not None and not _agree(found, inferred):
            sizes = " x ".join(map(str, found))
            raise _UnconvertedError(f"TVM gives '{tensor.name}' the shape {sizes}")
        dtype = view.dtype(tensor)
        if typed and dtype is not None and dtype_of(expr) != str(dtype):
            raise _UnconvertedError(f"TVM makes '{tensor.name}' {dtype_of(expr)}")


def _inferred(view: View, seen: PlainTensors, tensor: gs.Tensor) -> Shape | None:
    shape = view.shape(tensor)
    return None if shape is None else seen.sizes_here(shape)


def _agree(found: Any, inferred: Any) -> bool:
    return len(found) == len(inferred) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int)
        for a, b in zip(found, inferred, strict=True)
    )
