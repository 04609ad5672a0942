"""Operators of Relax that reduce, move or resize along axes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from .writer import Write, Writer, ints, number


def _softmax(op: str) -> Write:
    def write(to: Writer) -> None:
        to.node(op, [to.tensor(to.call.args[0])], axis=int(to.attrs.axis))

    return write


def _reduce(op: str) -> Write:
    def write(to: Writer) -> None:
        axes = range(to.rank()) if to.attrs.axis is None else ints(to.attrs.axis)
        given = [to.tensor(to.call.args[0])]
        # Opset 18 has axes as an input everywhere.
        to.node(op, [*given, to.given(list(axes), np.int64)], keepdims=int(to.attrs.keepdims))

    return write


def _matmul(to: Writer) -> None:
    out = str(to.attrs.out_dtype or to.dtype())
    need(out in ("", to.dtype()), f"it reads {to.dtype()} and gives {out}")
    to.node("MatMul", [to.tensor(arg) for arg in to.call.args])


def _reshape(to: Writer) -> None:
    from tvm import relax

    target = to.call.args[1]
    need(isinstance(target, relax.ShapeExpr), "its sizes are computed")
    sizes = [number(size) for size in target]
    unknown = [at for at, size in enumerate(sizes) if not isinstance(size, int)]
    need(len(unknown) < 2, "two of its sizes are not known")
    need(0 not in sizes, "it has no elements")
    shape = [size if isinstance(size, int) else -1 for size in sizes]
    to.node("Reshape", [to.tensor(to.call.args[0]), to.given(shape, np.int64)])


def _permute(to: Writer) -> None:
    rank = to.rank()
    axes = range(rank)[::-1] if to.attrs.axes is None else ints(to.attrs.axes)
    to.node("Transpose", [to.tensor(to.call.args[0])], perm=[axis % rank for axis in axes])


def _axes(op: str) -> Write:
    def write(to: Writer) -> None:
        need(to.attrs.axis is not None, "it names no axes")
        axes = to.given(ints(to.attrs.axis), np.int64)
        to.node(op, [to.tensor(to.call.args[0]), axes])

    return write


def _concat(to: Writer) -> None:
    from tvm import relax

    parts = to.call.args[0]
    need(isinstance(parts, relax.Tuple), "its parts are one value")
    axis = 0 if to.attrs.axis is None else int(to.attrs.axis)
    to.node("Concat", [to.tensor(part) for part in parts.fields], axis=axis)


def _split(to: Writer) -> None:
    axis = int(to.attrs.axis) % to.rank()
    whole, told = to.shape()[axis], to.attrs.indices_or_sections
    need(isinstance(whole, int), "the size that it splits is not known")
    parts = len(to.call.ty.fields)
    if hasattr(told, "__len__"):
        ends = [0, *ints(told), whole]
        sizes = [b - a for a, b in itertools.pairwise(ends)]
    else:
        need(whole % parts == 0, "its parts differ in size")
        sizes = [whole // parts] * parts
    x = to.tensor(to.call.args[0])
    to.node("Split", [x, to.given(sizes, np.int64)], parts, axis=axis)


def _pad(to: Writer) -> None:
    attrs = to.attrs
    mode = str(attrs.pad_mode)
    need(mode in ("constant", "reflect"), f"its mode is {mode}")
    widths = ints(attrs.pad_width)
    pads = to.given([*widths[::2], *widths[1::2]], np.int64)
    given = [to.tensor(to.call.args[0]), pads]
    if mode == "constant":
        given.append(gs.Constant(f"{to.name}_v", np.asarray(attrs.pad_value, to.dtype())))
    to.node("Pad", given, mode=mode)


def _resize(to: Writer) -> None:
    from tvm import relax

    attrs = to.attrs
    need(str(attrs.layout) == "NCHW", f"its layout is {attrs.layout}")
    size = to.call.args[1]
    need(isinstance(size, relax.ShapeExpr), "its sizes are computed")
    before, after = to.shape(), [number(each) for each in size]
    need(all(isinstance(each, int) for each in after), "its sizes are not known")
    method, rounding = str(attrs.method), str(attrs.rounding_method)
    where = str(attrs.coordinate_transformation_mode)
    known = where in ("half_pixel", "align_corners", "asymmetric")
    need(known, f"it takes coordinates by {where}")
    how: dict[str, Any] = {"mode": "linear"}
    if method == "nearest_neighbor":
        # Between two elements there is no tie only where every one is repeated as often.
        repeats = all(
            isinstance(a, int) and b % a == 0 for a, b in zip(before[2:], after, strict=True)
        )
        floors = where == "asymmetric" and rounding == "floor"
        centres = where == "half_pixel" and rounding.startswith("round")
        need(repeats and (floors or centres), "its nearest element is a matter of rounding")
        how = {"mode": "nearest", "nearest_mode": "floor" if floors else "round_prefer_floor"}
    else:
        need(method == "linear", f"its method is {method}")
    x, empty = to.tensor(to.call.args[0]), gs.Variable.empty()
    if all(isinstance(each, int) for each in before):
        given = [x, empty, empty, to.given([*before[:2], *after], np.int64)]
    else:
        sizes = before[2:]
        need(all(isinstance(each, int) for each in sizes), "its sizes are not known")
        factors = np.array([1, 1, *(b / a for a, b in zip(sizes, after, strict=True))], np.float32)
        made = [int(np.floor(a * f)) for a, f in zip(sizes, factors[2:], strict=True)]
        need(made == after, "its factors are no numbers that give its sizes")
        given = [x, empty, to.given(factors, np.float32)]
    to.node("Resize", given, coordinate_transformation_mode=where, **how)


WRITERS: dict[str, Write] = {
    "relax.nn.softmax": _softmax("Softmax"),
    "relax.nn.log_softmax": _softmax("LogSoftmax"),
    "relax.nn.pad": _pad,
    "relax.mean": _reduce("ReduceMean"),
    "relax.sum": _reduce("ReduceSum"),
    "relax.max": _reduce("ReduceMax"),
    "relax.matmul": _matmul,
    "relax.reshape": _reshape,
    "relax.permute_dims": _permute,
    "relax.expand_dims": _axes("Unsqueeze"),
    "relax.squeeze": _axes("Squeeze"),
    "relax.concat": _concat,
    "relax.split": _split,
    "relax.image.resize2d": _resize,
}
