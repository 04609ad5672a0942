"""Calls of ONNX Runtime in a program: of the whole node, or of a kernel that writes in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from .....ir.core import dtypes
from .....ir.core.errors import BackendError
from ...runtime.onnx_node import INTO, NAME, packed, register
from ..program import Program
from ..value import is_held
from ..widen import as_inferred, without_bfloat16
from .node_model import model_of, operands_of, results_of
from .refusals import OtherRuntimeError, refused
from .results import kinds_of


def emit_onnxruntime(program: Program, node: gs.Node, proto: onnx.NodeProto, why: str) -> None:
    """Emit a call for `node`; raises BackendError with `why` where ONNX Runtime has no kernel.

    What gives a sequence, text, float8, or integers of four bits or two is called with each node
    that reads it: a program holds none of these.
    """
    from tvm import relax

    if program.enclosing is not None:
        raise OtherRuntimeError(node, why)
    register()  # what depends on constants alone is computed by calling it
    steps = [*program.untold_steps(node), (node, proto)]
    given, constants = operands_of(program, steps)
    # It has kernels for float16, and none for bfloat16.
    exprs = [without_bfloat16(program.builder, program.tensor(tensor)) for tensor in given]
    model = model_of(program, steps, list(zip(given, exprs, strict=True)), constants)
    kinds = kinds_of(program, node, model, why)
    results = results_of(node)
    if None in kinds:
        program.leave_untold(steps, [t for t, k in zip(results, kinds, strict=True) if k is None])
        _refuse_outputs(program, results, kinds)
        if set(kinds) == {None}:
            return
        raise refused(node, f"{why}; it gives both what a program holds and what it does not")
    types = [relax.TensorType(program.sizes(k[1]), k[0]) for k in kinds if k is not None]
    in_place = program.has_host_kernels and all(map(_is_known, (*(e.ty for e in exprs), *types)))
    make = _kernel_call if in_place else _packed_call
    found = make(program, node, packed(model), exprs, types)
    for tensor, expr in zip(results, found, strict=True):
        program.define_plain(tensor, as_inferred(program.builder, program.view, tensor, expr))


def _refuse_outputs(program: Program, results: list[gs.Tensor], kinds: Sequence[Any]) -> None:
    for tensor, kind in zip(results, kinds, strict=True):
        if kind is None and program.view.is_output(tensor):
            held = program.view.dtype(tensor)
            what = "a sequence or an optional value; make its elements outputs"
            if tensor.dtype is not None and not is_held(held):
                what = dtypes.type_name(held)
            raise BackendError(
                f"backend 'tvm' gives tensors of numbers alone; output '{tensor.name}' is {what}"
            )


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
    program.note_call(NAME, (node,))
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
    program.note_call(str(callee.name_hint), (node,))
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
