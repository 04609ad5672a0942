"""MatMul of tensors that lie as ONNX has them, and what follows it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ..graph.groups import FusionGroup
from ..kernels.matmul import MatMul, matmul, packed, tiles_for
from .blocked import BlockedProgram
from .broadcast import ProductRows
from .emit_plain import PlainEpilogue, UnseenOperandError
from .kernel_program import KernelMaker
from .required import require
from .value import batch_of, shape_of


def can_emit_matmul(node: gs.Node, view: View) -> bool:
    """Say whether `node` is a product of float32 matrices whose sizes are known to fit."""
    if node.op != "MatMul" or not is_standard(node):
        return False
    left, right = (view.shape(tensor) for tensor in node.inputs)
    types = {view.dtype(tensor) for tensor in node.inputs}
    if types != {np.dtype(np.float32)} or left is None or right is None:
        return False
    return _is_product(left, right)


def emit_matmul(program: BlockedProgram, group: FusionGroup) -> int:
    """Emit the product that anchors `group` as a kernel, and return how many nodes it computes.

    Those that follow are part of it but where they read what it has no index for.
    """
    from tvm import relax

    node = group.anchor
    if not can_emit_matmul(node, program.view):
        return 0
    right = program.inferred_shape(node.inputs[1])
    reshape = relax.op.reshape
    x = program.tensor(node.inputs[0])
    sizes = shape_of(x)
    assert sizes is not None
    shared = len(right) == 2
    outer, rows = (_product(sizes[:-1]), 1) if shared else (_product(sizes[:-2]), int(sizes[-2]))
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
    known = math.prod(size for size in sizes[:-1] if isinstance(size, int)) if shared else rows
    op = replace(op, tiles=tiles_for(op, known, program.settings.threads))
    w = _matrices(program, node.inputs[1], op, values, outer)
    seen = ProductRows(
        batch=outer, lead=sizes[:-1], rows=rows, columns=op.columns, single_rows=shared
    )
    epilogue = PlainEpilogue(program, seen)
    followers = list(group.followers)
    try:
        epilogue.follow(group, node.outputs[0])
    except UnseenOperandError:
        epilogue, followers = PlainEpilogue(program, seen), []
    op = replace(op, epilogue=epilogue.chain)
    result = followers[-1].outputs[0] if followers else node.outputs[0]
    program.nodes = (node, *followers)
    x = program.builder.emit(reshape(x, [outer, op.rows, op.depth]))
    found = program.call(KernelMaker("matmul", op, matmul), [x, w, *epilogue.args], op.y, outer)
    found = program.builder.emit(reshape(found, [*sizes[:-1], op.columns]))
    program.define_plain(result, found)
    return len(program.nodes)


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
