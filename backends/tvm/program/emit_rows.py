"""Operators along rows of a tensor that lies as ONNX has it: normalizations, Softmax, sums."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.ops.axes.named import softmax_axes
from ....ir.ops.axes.reductions import read_reduction
from ..graph.groups import REAL
from ..kernels.bfloat16 import HALF
from ..kernels.elements import FLOAT
from ..kernels.normalization import Normalization, normalization
from ..kernels.reduction import AxisSum, Finish, Term, reduction
from ..kernels.rounding import RoundedRows, rounding
from ..kernels.softmax import Softmax, softmax
from ..spec.layout import plain_spec
from .blocked import BlockedProgram
from .kernel_program import KernelMaker
from .value import batch_of, shape_of

_EPSILON = 1e-5


def emit_rows(program: BlockedProgram, node: gs.Node) -> bool:
    """Emit `node` as a kernel along rows, and say whether it is one."""
    emitters = _emit_normalization, _emit_softmax, _emit_sums, _emit_rounding
    return any(emit(program, node) for emit in emitters)


def _emit_rounding(program: BlockedProgram, node: gs.Node) -> bool:
    """Emit a Cast to bfloat16: TVM's own makes a number of some that are none."""
    if node.op != "Cast" or not is_standard(node):
        return False
    view, shape = program.view, program.view.shape(node.inputs[0])
    length = _count(shape[-1:]) if shape else None
    kinds = view.dtype(node.inputs[0]), view.dtype(node.outputs[0])
    if kinds != REAL or length is None:
        return False

    def kernel(rows: Any) -> KernelMaker:
        op = RoundedRows(rows=batch_of(rows), length=length, lanes=program.machine.lanes)
        return KernelMaker("round", op, rounding)

    _emit(program, node, length, kernel, dtype=HALF)
    return True


def _emit_softmax(program: BlockedProgram, node: gs.Node) -> bool:
    view = program.view
    if node.op != "Softmax" or not is_standard(node):
        return False
    shape = view.shape(node.inputs[0])
    if not shape:
        return False
    axes = softmax_axes(node, len(shape), view.opset)
    length = None if axes is None else _count(shape[axes[0] :])
    if axes is None or axes[-1] != len(shape) - 1 or length is None:
        return False
    if view.dtype(node.inputs[0]) != np.float32:
        return False

    def kernel(rows: Any) -> KernelMaker:
        op = Softmax(rows=batch_of(rows), length=length, lanes=program.machine.lanes)
        return KernelMaker("softmax", op, softmax)

    _emit(program, node, length, kernel)
    return True


class _Sum(NamedTuple):
    """What is summed, and what becomes of the sum."""

    term: Term = "value"
    finish: Finish = "sum"


_SUMS = {
    "ReduceL1": _Sum("size"),
    "ReduceL2": _Sum("square", "root"),
    "ReduceLogSum": _Sum(finish="logarithm"),
    "ReduceMean": _Sum(),
    "ReduceSum": _Sum(),
    "ReduceSumSquare": _Sum("square"),
}


def _emit_sums(program: BlockedProgram, node: gs.Node) -> bool:
    """Emit a sum as a kernel for each run of axes that are neighbours, the last run first."""
    from tvm import relax

    if node.op not in _SUMS or not is_standard(node):
        return False
    view = program.view
    found, shape = read_reduction(node, view), view.shape(node.inputs[0])
    if found is None or not found.axes or shape is None or view.dtype(node.inputs[0]) != np.float32:
        return False
    summed = _count(tuple(shape[axis] for axis in found.axes))
    if summed is None or _count(shape[found.axes[0] :]) is None:
        return False
    term, finish = _SUMS[node.op]
    scale = 1.0 / summed if node.op == "ReduceMean" else 1.0
    emit, x = program.builder.emit, program.tensor(node.inputs[0])
    sizes = list(shape_of(x) or ())
    runs = _runs(found.axes)
    for first, behind in reversed(runs):
        length, others = math.prod(sizes[first:behind]), math.prod(sizes[behind:])
        rows = math.prod(sizes[:first])
        last = first == runs[0][0]
        op = AxisSum(
            rows=batch_of(rows),
            length=length,
            inner=others,
            term=term,
            scale=scale if last else 1.0,
            finish=finish if last else "sum",
            lanes=program.machine.lanes,
        )
        flat = emit(relax.op.reshape(x, [rows, length, others]))
        kernel = KernelMaker("reduce", op, reduction)
        x = program.call(kernel, [flat], plain_spec(others, ()), rows)
        sizes[first:behind] = [1] * (behind - first)
        term = "value"
    if not found.keepdims:
        sizes = [size for axis, size in enumerate(sizes) if axis not in found.axes]
    program.define_plain(node.outputs[0], emit(relax.op.reshape(x, sizes)))
    return True


def _runs(axes: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first axis and that behind the last of each run of neighbours."""
    firsts = [axis for axis in axes if axis - 1 not in axes]
    return [(first, next(a for a in itertools.count(first) if a not in axes)) for first in firsts]


def _emit_normalization(program: BlockedProgram, node: gs.Node) -> bool:
    read = _ROWS.get(node.op) if is_standard(node) and len(node.outputs) == 1 else None
    if read is None:
        return False
    x, *given = node.inputs
    shape = program.view.shape(x)
    if shape is None or program.view.dtype(x) != np.float32:
        return False
    found = read(node, shape, [program.view.shape(tensor) for tensor in given])
    if found is None:
        return False
    length, run, period = found
    count = period * (length // run)
    scale, shift = (_parameters(program, node, place, count) for place in (1, 2))

    def kernel(rows: Any) -> KernelMaker:
        op = Normalization(
            rows=batch_of(rows),
            length=length,
            run=run,
            period=period,
            epsilon=float(node.attrs.get("epsilon", _EPSILON)),
            lanes=program.machine.lanes,
        )
        return KernelMaker("normalize", op, normalization)

    _emit(program, node, length, kernel, scale, shift)
    return True


_Rows = tuple[int, int, int]  # elements of a row, of one scale, and rows until scales repeat
_Shape = tuple[Any, ...] | None


def _layer(node: gs.Node, shape: tuple[Any, ...], given: list[_Shape]) -> _Rows | None:
    axis = int(node.attrs.get("axis", -1)) % len(shape)
    row = shape[axis:]
    if int(node.attrs.get("stash_type", 1)) != 1 or any(one != row for one in given):
        return None
    length = _count(row)
    return None if length is None else (length, 1, 1)


def _instance(node: gs.Node, shape: tuple[Any, ...], given: list[_Shape]) -> _Rows | None:
    length, channels = _count(shape[2:]), shape[1]
    if length is None or any(one != (channels,) for one in given):
        return None
    return length, length, channels


def _group(node: gs.Node, shape: tuple[Any, ...], given: list[_Shape]) -> _Rows | None:
    groups, positions = int(node.attrs["num_groups"]), _count(shape[2:])
    if positions is None or _count(shape[1:2]) is None or shape[1] % groups:
        return None
    length = shape[1] // groups * positions
    if all(one == (shape[1],) for one in given):
        return length, positions, groups
    return (length, length, groups) if all(one == (groups,) for one in given) else None


_ROWS: dict[str, Callable[[gs.Node, tuple[Any, ...], list[_Shape]], _Rows | None]] = {
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
}


def _count(sizes: tuple[Any, ...]) -> int | None:
    """Return the number of elements; None where it is not known, or where there are none."""
    known = [size for size in sizes if isinstance(size, int) and size]
    return math.prod(known) if len(known) == len(sizes) else None


def _emit(
    program: BlockedProgram,
    node: gs.Node,
    length: int,
    kernel: Callable[[Any], KernelMaker],
    *parameters: Any,
    dtype: str = FLOAT,
) -> None:
    """Emit the kernel for the rows that the first input has."""
    from tvm import relax

    emit, x = program.builder.emit, program.tensor(node.inputs[0])
    sizes = shape_of(x)
    assert sizes is not None
    rows = _rows_of(sizes, length)
    flat = emit(relax.op.reshape(x, [rows, length]))
    spec = plain_spec(length, (), dtype)
    y = program.call(kernel(rows), [flat, *parameters], spec, rows)
    program.define_plain(node.outputs[0], emit(relax.op.reshape(y, list(sizes))))


def _rows_of(sizes: tuple[Any, ...], length: int) -> Any:
    """Return how many rows of `length` a tensor of `sizes` has: its last axes are one row."""
    rest, rows = length, 1
    for size in reversed(sizes):
        if rest == 1:
            rows = size * rows
        elif isinstance(size, int):
            common = math.gcd(rest, size)
            rest, rows = rest // common, rows * (size // common)
    return rows


def _parameters(program: BlockedProgram, node: gs.Node, place: int, count: int) -> Any:
    """Return scales or shifts in a row; no shift is one of zeros."""
    from tvm import relax

    if place >= len(node.inputs) or node.inputs[place].is_empty():
        return program.constant(np.zeros(count, np.float32))
    return program.builder.emit(relax.op.reshape(program.tensor(node.inputs[place]), [count]))
