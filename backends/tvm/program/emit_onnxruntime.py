"""Operators that a program leaves to ONNX Runtime: a call with a model of the one node.

    y = planish.onnxruntime(model of the node, x...)            sizes are not known, or on a GPU
    planish.onnxruntime.into(model of the node, x..., y...)     a kernel that calls it

What has neither a kernel of ours nor a converter of TVM's that is known to be right is run so: slow
is better than wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import BackendError
from ....ir.core.variables import is_standard, label, subgraphs_of
from ....ir.graph.order import reads
from ....ir.graph.types import Dim
from ....ir.ops.axes.reductions import keeps_dims
from ....ir.ops.shapes.runtime import is_doubted
from ....ir.ops.traits import traits_of
from ....ir.ops.traits.groups import REDUCTIONS
from ....ir.proto.versions import opset_imports
from ..runtime.onnx_node import INTO, NAME, NEEDS_ELEMENTS, packed, register, session_of
from .program import Program, Step
from .value import dtype_of, is_held, shape_of
from .widen import as_inferred, without_bfloat16

# Parameters of few elements are part of the model: some operators want them constant.
_PART_OF_MODEL = 64
_IR_VERSION = 10


class OtherRuntimeError(BackendError):
    """A `node` that another runtime would run, in a program that calls none."""

    def __init__(self, node: gs.Node, why: str) -> None:
        super().__init__(f"backend 'tvm' cannot run {label(node)}: {why}")
        self.node = node
        self.why = why


def emit_onnxruntime(program: Program, node: gs.Node, proto: onnx.NodeProto, why: str) -> None:
    """Emit a call for `node`; raises BackendError with `why` where ONNX Runtime has no kernel.

    What gives a sequence, text, float8, or integers of four bits or two is
    called with each node that reads it: a program holds none of these.
    """
    from tvm import relax

    if program.enclosing is not None:
        raise OtherRuntimeError(node, why)
    register()  # what depends on constants alone is computed by calling it
    steps = [*program.untold_steps(node), (node, proto)]
    given, constants = _operands(program, steps)
    # It has kernels for float16, and none for bfloat16.
    exprs = [without_bfloat16(program.builder, program.tensor(tensor)) for tensor in given]
    model = _model(program, steps, list(zip(given, exprs, strict=True)), constants)
    kinds = _kinds(program, node, model, why)
    results = _results(node)
    if None in kinds:
        program.leave_untold(steps, [t for t, k in zip(results, kinds, strict=True) if k is None])
        _refuse_outputs(program, results, kinds)
        if set(kinds) == {None}:
            return
        raise _refused(node, f"{why}; it gives both what a program holds and what it does not")
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


def _operands(program: Program, steps: Sequence[Step]) -> tuple[list[gs.Tensor], list[gs.Tensor]]:
    """Return what `steps` read, each once: what the call is given, and what is in its model.

    What a branch or a loop's body reads of the graph is given to it, but for its own constants.
    """
    given: list[gs.Tensor] = []
    constants: list[gs.Tensor] = []
    seen = {tensor.name for node, _ in steps for tensor in node.outputs}
    for node, proto in steps:
        held = _held_inside(proto)
        for tensor in reads(node):
            if tensor.name in seen or tensor.name in held:
                continue
            seen.add(tensor.name)
            values = program.view.constant(tensor)
            few = values is not None and values.size <= _PART_OF_MODEL
            if few or not is_held(tensor.dtype):
                constants.append(tensor)
            else:
                given.append(tensor)
    return given, constants


def _held_inside(proto: onnx.NodeProto) -> set[str]:
    """Return the names of the constants that lie in the subgraphs of a node."""
    graphs = [attr.g for attr in proto.attribute if attr.HasField("g")]
    graphs += [graph for attr in proto.attribute for graph in attr.graphs]
    found = {held.name for graph in graphs for held in graph.initializer}
    found.update(held.values.name for graph in graphs for held in graph.sparse_initializer)
    return found.union(*(_held_inside(inner) for graph in graphs for inner in graph.node))


def _model(
    program: Program,
    steps: Sequence[Step],
    given: list[tuple[gs.Tensor, Any]],
    constants: list[gs.Tensor],
) -> bytes:
    inputs = [
        onnx.helper.make_tensor_value_info(
            tensor.name,
            dtypes.elem_type(_numpy_type(expr)),
            [size if isinstance(size, int) else None for size in shape_of(expr) or ()],
        )
        for tensor, expr in given
    ]
    results = _results(steps[-1][0])
    outputs = [onnx.helper.make_empty_tensor_value_info(tensor.name) for tensor in results]
    held = [
        onnx.numpy_helper.from_array(_without_bfloat16(program.view.constant(c)), c.name)
        for c in constants
    ]
    protos = [proto for _, proto in steps]
    graph = onnx.helper.make_graph(protos, "node", inputs, outputs, held)
    model = onnx.helper.make_model(graph, ir_version=_IR_VERSION)
    recurrent = _recurrent([node for node, _ in steps], program.view.opset)
    if recurrent:
        onnx.helper.set_model_props(model, {NEEDS_ELEMENTS: recurrent})
    del model.opset_import[:]
    model.opset_import.extend(opset_imports(program.view.scope))
    return bytes(model.SerializeToString(deterministic=True))


def _recurrent(nodes: Sequence[gs.Node], opset: int) -> str:
    """Return the operator of a recurrent layer among `nodes` and in their bodies, else ""."""
    for node in nodes:
        if is_standard(node) and traits_of(node, opset).recurrent:
            return str(node.op)
        inner = [_recurrent(body.nodes, opset) for body in subgraphs_of(node)]
        if any(inner):
            return next(filter(None, inner))
    return ""


def _kinds(
    program: Program, node: gs.Node, model: bytes, why: str
) -> list[tuple[str, tuple[Dim, ...]] | None]:
    """Return element type and sizes of every result: as inferred, else as ONNX Runtime says.

    None stands for what a program does not hold.
    """
    try:
        outputs = session_of(model).get_outputs()
    except ImportError as error:
        raise _refused(node, f"{why}, and ONNX Runtime, which could, is not installed") from error
    except Exception as error:  # ONNX Runtime's own have no common base
        reason = " ".join(str(error).split())[:200]
        raise _refused(node, f"{why}; nor does ONNX Runtime run it: {reason}") from error
    found: list[tuple[str, tuple[Dim, ...]] | None] = []
    for place, (tensor, output) in enumerate(zip(_results(node), outputs, strict=True)):
        dtype = _TYPES.get(output.type)
        if dtype is None:
            found.append(None)
            continue
        # ONNX Runtime says [] both of a scalar and of what it knows no rank of.
        declared = (
            program.view.shape(tensor)
            or _told_shape(program, node, output.shape)
            or _told_rank(program, node, place)
        )
        if declared is None and program.view.shape(tensor) is None:
            raise _refused(
                node, f"{why}; the rank or type of '{tensor.name}' is not known{_advice(node)}"
            )
        found.append((dtype, tuple(declared or ())))
    return found


def _told_shape(program: Program, node: gs.Node, shape: list[Any]) -> list[Any]:
    """Return what a session says of a result: ONNX's inference, of which only the rank may hold."""
    doubted = is_standard(node) and is_doubted(node, program.view.opset)
    return [None] * len(shape) if doubted else shape


def _told_rank(program: Program, node: gs.Node, result: int) -> list[None] | None:
    """Return unknown sizes of a result, as many as inputs tell; None where they do not.

    Split and Pad keep the rank, a reduction all but its axes; of others an input holds the sizes.
    """
    if subgraphs_of(node):
        return _declared_in(node, result)
    if node.op in REDUCTIONS and len(node.inputs) == 2:
        return _left_by(program, node)
    if node.op in ("Pad", "Split"):
        shape = shape_of(program.plain(node.inputs[0]))
        return None if shape is None else [None] * len(shape)
    place = {"ConstantOfShape": 0, "Reshape": 1}.get(node.op)
    if place is None:
        return None
    (length,) = shape_of(program.plain(node.inputs[place])) or (None,)
    return [None] * length if isinstance(length, int) else None


def _declared_in(node: gs.Node, result: int) -> list[None] | None:
    """Return unknown sizes of a result of an If or Loop, as many as its bodies declare alike.

    What a Loop carries comes after its condition; what it gathers has one axis more. Another rank
    is an error when the network runs.
    """
    bodies = subgraphs_of(node)
    first, more = 0, 0
    if node.op == "Loop":
        first, more = 1, int(result >= len(node.inputs) - 2)
    elif node.op != "If":
        return None
    ranks = {
        None if shape is None else len(shape)
        for shape in (body.outputs[first + result].shape for body in bodies)
    }
    (rank,) = ranks if len(ranks) == 1 else (None,)
    return None if rank is None else [None] * (rank + more)


def _advice(node: gs.Node) -> str:
    if not subgraphs_of(node):
        return ""
    return (
        "; give If a constant condition or unroll Loop, which the preset 'exact' does where it "
        "can, or declare what its bodies give"
    )


def _left_by(program: Program, node: gs.Node) -> list[None] | None:
    """Return unknown sizes for what a reduction leaves whose axes are known at run time alone."""
    shape = shape_of(program.plain(node.inputs[0]))
    (count,) = shape_of(program.plain(node.inputs[1])) or (None,)
    if shape is None:
        return None
    if keeps_dims(node):
        return [None] * len(shape)
    return [None] * (len(shape) - count) if isinstance(count, int) and count else None


def _refused(node: gs.Node, reason: str) -> BackendError:
    return BackendError(f"backend 'tvm' cannot run {label(node)}: {reason}")


def _results(node: gs.Node) -> list[gs.Tensor]:
    return [tensor for tensor in node.outputs if not tensor.is_empty()]


def _without_bfloat16(values: Any) -> np.ndarray[Any, Any]:
    return np.asarray(values, np.float32 if values.dtype == ml_dtypes.bfloat16 else None)


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
