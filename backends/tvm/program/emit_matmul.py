"""MatMul of tensors that lie as ONNX has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ..kernels.matmul import MatMul, matmul, packed
from ..spec.layout import plain_spec
from .blocked import BlockedProgram
from .kernel_program import KernelMaker
from .required import require
from .value import batch_of, shape_of


def emit_matmul(program: BlockedProgram, node: gs.Node) -> bool:
    """Emit `node` as a kernel, and say whether it is one."""
    if node.op != "MatMul" or not is_standard(node):
        return False
    left, right = (program.view.shape(tensor) for tensor in node.inputs)
    types = {program.view.dtype(tensor) for tensor in node.inputs}
    if types != {np.dtype(np.float32)} or left is None or right is None:
        return False
    if not _is_product(left, right):
        return False
    shared = len(right) == 2
    x = program.tensor(node.inputs[0])
    sizes = shape_of(x)
    assert sizes is not None
    outer, rows = (_product(sizes[:-1]), 1) if shared else (_product(sizes[:-2]), sizes[-2])
    values = program.view.constant(node.inputs[1]) if shared else None
    op = MatMul(
        outer=batch_of(outer),
        rows=rows,
        shared=shared,
        depth=int(sizes[-1]),
        columns=_columns(right),
        packed=values is not None,
        lanes=program.machine.lanes,
        registers=program.machine.registers,
    )
    w = _matrices(program, node.inputs[1], op, values, outer)
    _emit(program, node.outputs[0], op, x, w, outer, sizes[:-1])
    return True


def _is_product(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    """Say whether sizes fit and are known, but for batches, of which names may be."""
    if len(left) < 2 or len(right) < 2 or left[-1] != right[-2] or 0 in left:
        return False
    known = [left[-1], right[-1]]
    if len(right) > 2:
        known.append(left[-2])
        if left[:-2] != right[:-2] or None in left:
            return False
    return all(isinstance(size, int) and size for size in known)


def _columns(right: tuple[Any, ...]) -> int:
    return int(right[-1])


def _product(sizes: tuple[Any, ...]) -> Any:
    found: Any = 1
    for size in sizes:
        found = size * found
    return found


def _matrices(
    program: BlockedProgram, tensor: gs.Tensor, op: MatMul, values: Any, outer: Any
) -> Any:
    from tvm import relax

    if op.packed:
        key = ("matmul", id(tensor), op.panel)
        return program.parameter(packed(op, np.asarray(values)), key)
    w = program.tensor(tensor)
    if op.shared:
        return w
    sizes = shape_of(w)
    assert sizes is not None
    require(program.builder, [(_product(sizes[:-2]), outer)])
    return program.builder.emit(relax.op.reshape(w, [outer, op.depth, op.columns]))


def _emit(
    program: BlockedProgram,
    result: gs.Tensor,
    op: MatMul,
    x: Any,
    w: Any,
    outer: Any,
    sizes: tuple[Any, ...],
) -> None:
    from tvm import relax

    emit, reshape = program.builder.emit, relax.op.reshape
    made = plain_spec(op.rows, (op.columns,))
    given = [emit(reshape(x, [outer, op.rows, op.depth])), w]
    found = program.call(KernelMaker("matmul", op, matmul), given, made, outer)
    program.define_plain(result, emit(reshape(found, [*sizes, op.columns])))
