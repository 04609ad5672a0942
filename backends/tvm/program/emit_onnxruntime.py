"""Operators that a program leaves to ONNX Runtime: a call with a model of the one node.

    y = planish.onnxruntime(model of the node, x...)            sizes are not known, or on a GPU
    planish.onnxruntime.into(model of the node, x..., y...)     a kernel that calls it

What has neither a kernel of ours nor a converter of TVM's that is known to be right is run so: slow
is better than wrong.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import BackendError
from ....ir.core.variables import label, node_key
from ....ir.graph.types import Dim
from ....ir.ops.traits import traits_of
from ....ir.ops.traits.groups import REDUCTIONS
from ....ir.proto.versions import opset_imports
from ..runtime.onnx_node import INTO, NAME, NEEDS_ELEMENTS, packed, register, session_of
from ..spec.calls import KernelCall
from .program import Program
from .value import dtype_of, shape_of

# Parameters of few elements are part of the model: some operators want them constant.
_PART_OF_MODEL = 64
_IR_VERSION = 10


def emit_onnxruntime(program: Program, node: gs.Node, proto: onnx.NodeProto, why: str) -> None:
    """Emit a call for `node`; raises BackendError with `why` where ONNX Runtime has no kernel."""
    from tvm import relax

    register()  # what depends on constants alone is computed by calling it
    given, constants = _operands(program, node)
    exprs = [program.tensor(tensor) for tensor in given]
    model = _model(program, node, proto, list(zip(given, exprs, strict=True)), constants)
    kinds = _kinds(program, node, model, why)
    types = [relax.TensorType(program.sizes(shape), dtype) for dtype, shape in kinds]
    in_place = program.has_host_kernels and all(map(_is_known, (*(e.ty for e in exprs), *types)))
    make = _kernel_call if in_place else _packed_call
    found = make(program, node, packed(model), exprs, types)
    for tensor, expr in zip(_results(node), found, strict=True):
        program.define_plain(tensor, expr)


def _is_known(kind: Any) -> bool:
    """Say whether all sizes are known, and none is 0."""
    from tvm import relax, tirx

    return isinstance(kind.shape, relax.ShapeExpr) and all(
        isinstance(size, tirx.IntImm) and int(size) for size in kind.shape
    )


def _packed_call(
    program: Program, node: gs.Node, model: str, exprs: list[Any], types: list[Any]
) -> list[Any]:
    """Emit a call that gives tensors, whose sizes are then compared with those expected."""
    from tvm import ir, relax

    ranks = [relax.TensorType(ndim=kind.ndim, dtype=kind.dtype) for kind in types]
    whole = ranks[0] if len(ranks) == 1 else relax.TupleType(ranks)
    call = relax.op.call_pure_packed(NAME, ir.StringImm(model), *exprs, ty_args=whole)
    program.calls.append(KernelCall(NAME, (node_key(node),)))
    found = program.builder.emit(call)
    parts = [found]
    if len(types) > 1:
        parts = [program.builder.emit(relax.TupleGetItem(found, i)) for i in range(len(types))]
    return [program.builder.match_cast(part, kind) for part, kind in zip(parts, types, strict=True)]


def _kernel_call(
    program: Program, node: gs.Node, model: str, exprs: list[Any], types: list[Any]
) -> list[Any]:
    """Emit a call of a kernel, as all others are: it writes to memory that is there."""
    from tvm import relax

    name = f"onnxruntime_{len(program.calls)}"
    function = _kernel(model, [expr.ty for expr in exprs], types).with_attr("global_symbol", name)
    callee = program.builder.add_func(function, name)
    program.calls.append(KernelCall(str(callee.name_hint), (node_key(node),)))
    found = program.builder.emit(
        relax.call_tir(callee, exprs, types[0] if len(types) == 1 else types)
    )
    if len(types) == 1:
        return [found]
    return [program.builder.emit(relax.TupleGetItem(found, i)) for i in range(len(types))]


def _kernel(model: str, inputs: list[Any], outputs: list[Any]) -> Any:
    from tvm import ir, tirx
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as script

    def whole(buffer: Any) -> Any:
        return tirx.BufferRegion(buffer, [ir.Range(0, size) for size in buffer.shape])

    with IRBuilder() as builder:
        with script.prim_func(s_tir=True):
            script.func_name("onnxruntime")
            script.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True, "op_pattern": 8})
            given, made = (
                [
                    script.arg(f"{name}{index}", script.buffer(list(kind.shape), str(kind.dtype)))
                    for index, kind in enumerate(kinds)
                ]
                for name, kinds in (("X", inputs), ("Y", outputs))
            )
            with script.sblock("root"):
                script.reads([whole(buffer) for buffer in given])
                script.writes([whole(buffer) for buffer in made])
                script.evaluate(tirx.call_packed(INTO, model, *given, *made))
        return builder.get()


def _operands(program: Program, node: gs.Node) -> tuple[list[gs.Tensor], list[gs.Constant]]:
    """Return the inputs that the call is given, each once, and those that are in its model."""
    given: list[gs.Tensor] = []
    constants: list[gs.Constant] = []
    seen: set[str] = set()
    for tensor in node.inputs:
        if tensor.is_empty() or tensor.name in seen:
            continue
        seen.add(tensor.name)
        values = program.view.constant(tensor)
        if values is not None and values.size <= _PART_OF_MODEL:
            constants.append(tensor)
        else:
            given.append(tensor)
    return given, constants


def _model(
    program: Program,
    node: gs.Node,
    proto: onnx.NodeProto,
    given: list[tuple[gs.Tensor, Any]],
    constants: list[gs.Constant],
) -> bytes:
    inputs = [
        onnx.helper.make_tensor_value_info(
            tensor.name,
            dtypes.elem_type(_numpy_type(expr)),
            [size if isinstance(size, int) else None for size in shape_of(expr) or ()],
        )
        for tensor, expr in given
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(tensor.name) for tensor in _results(node)]
    held = [
        onnx.numpy_helper.from_array(np.asarray(program.view.constant(c)), c.name)
        for c in constants
    ]
    graph = onnx.helper.make_graph([proto], "node", inputs, outputs, held)
    model = onnx.helper.make_model(graph, ir_version=_IR_VERSION)
    if traits_of(node, program.view.opset).recurrent:
        onnx.helper.set_model_props(model, {NEEDS_ELEMENTS: proto.op_type})
    del model.opset_import[:]
    model.opset_import.extend(opset_imports(program.view.scope))
    return bytes(model.SerializeToString(deterministic=True))


def _kinds(
    program: Program, node: gs.Node, model: bytes, why: str
) -> list[tuple[str, tuple[Dim, ...]]]:
    """Return element type and sizes of every result: as inferred, else as ONNX Runtime says."""
    try:
        outputs = session_of(model).get_outputs()
    except ImportError as error:
        raise _refused(node, f"{why}, and ONNX Runtime, which could, is not installed") from error
    except Exception as error:  # ONNX Runtime's own have no common base
        reason = " ".join(str(error).split())[:200]
        raise _refused(node, f"{why}; nor does ONNX Runtime run it: {reason}") from error
    found = []
    for tensor, output in zip(_results(node), outputs, strict=True):
        # ONNX Runtime says [] both of a scalar and of what it knows no rank of.
        declared = program.view.shape(tensor) or output.shape or _told_rank(program, node)
        dtype = _TYPES.get(output.type)
        if dtype is None or (declared is None and program.view.shape(tensor) is None):
            raise _refused(node, f"{why}; the rank or type of '{tensor.name}' is not known")
        found.append((dtype, tuple(declared or ())))
    return found


def _told_rank(program: Program, node: gs.Node) -> list[None] | None:
    """Return unknown sizes, as many as inputs tell; None where they do not.

    A Split keeps the rank, a reduction all but its axes; of others an input holds the sizes.
    """
    if node.op in REDUCTIONS and len(node.inputs) == 2:
        return _left_by(program, node)
    if node.op == "Split":
        shape = shape_of(program.plain(node.inputs[0]))
        return None if shape is None else [None] * len(shape)
    place = {"ConstantOfShape": 0, "Reshape": 1}.get(node.op)
    if place is None:
        return None
    (length,) = shape_of(program.plain(node.inputs[place])) or (None,)
    return [None] * length if isinstance(length, int) else None


def _left_by(program: Program, node: gs.Node) -> list[None] | None:
    """Return unknown sizes for what a reduction leaves whose axes are known at run time alone."""
    shape = shape_of(program.plain(node.inputs[0]))
    (count,) = shape_of(program.plain(node.inputs[1])) or (None,)
    if shape is None:
        return None
    if node.attrs.get("keepdims", 1):
        return [None] * len(shape)
    return [None] * (len(shape) - count) if isinstance(count, int) and count else None


def _refused(node: gs.Node, reason: str) -> BackendError:
    return BackendError(f"backend 'tvm' cannot run {label(node)}: {reason}")


def _results(node: gs.Node) -> list[gs.Tensor]:
    return [tensor for tensor in node.outputs if not tensor.is_empty()]


def _numpy_type(expr: Any) -> np.dtype[Any]:
    name = dtype_of(expr)
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


_TYPES = {
    f"tensor({kind})": name
    for kind, name in {
        "float": "float32",
        "double": "float64",
        "float16": "float16",
        "bool": "bool",
        **{
            f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
        },
    }.items()
}
