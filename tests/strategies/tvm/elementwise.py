"""Element by element: of one tensor, of two that broadcast, comparisons, casts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from .draft import Draft, is_float

_SMOOTH = (
    "Abs", "Neg", "Exp", "Sigmoid", "Tanh", "Relu", "LeakyRelu", "Elu", "Selu", "Softplus",
    "Softsign", "HardSigmoid", "HardSwish", "Erf", "Sin", "Cos", "Atan", "Identity", "Celu",
    "Mish", "Gelu", "ThresholdedRelu", "Shrink", "Sqrt", "Log", "Reciprocal", "Tan", "Asinh",
)  # fmt: skip


_STEPS_OF_NUMBERS = ("Floor", "Ceil", "Round", "Sign", "IsNaN", "IsInf")


def activation(d: Draft, x: str) -> None:
    d.add(d.pick("Relu", "Sigmoid", "LeakyRelu", "HardSwish", "Tanh", "Elu"), [x])


def unary(d: Draft) -> None:
    if d.flip(0.25):
        x = d.tensor(is_float, exact=True)
        if x is not None:
            d.add(d.pick(*_STEPS_OF_NUMBERS), [x], exact=True)
        return
    x = d.tensor(is_float)
    if x is None:
        return
    op = d.pick(*_SMOOTH)
    if op in ("Sqrt", "Log", "Reciprocal"):
        made = d.add("Abs", [x])
        half = d.constant(0.5, np.float32)
        made = made and d.add("Add", [made[0], half])
        if not made:
            return
        x = made[0]
    if op in ("Exp", "Tan"):  # of few numbers: no poles, nothing that overflows
        made = d.add("Clip", [x, d.constant(-1.5, np.float32), d.constant(1.5, np.float32)])
        if not made:
            return
        x = made[0]
    d.add(op, [x], exact=op in ("Abs", "Neg", "Relu", "Identity"))


def clip(d: Draft) -> None:
    x = d.tensor(lambda v: v.dtype in (np.float32, np.int64, np.int8))
    if x is None:
        return
    dtype = d.values[x].dtype
    low = d.constant(d.pick(-1, 0), dtype) if d.flip(0.6) else ""
    high = [d.constant(d.pick(1, 2, -1), dtype)] if d.flip(0.6) else []
    d.add("Clip", [x, low, *high] if low or high else [x], exact=True)


def partner(d: Draft, x: str) -> str:
    """Return a tensor that broadcasts with `x`: another one, or a constant."""
    values = d.values[x]
    if d.flip(0.4):
        other = d.tensor(lambda v: v.dtype == values.dtype and broadcasts(v.shape, values.shape))
        if other is not None:
            return str(other)
    shape = [size if d.flip() else 1 for size in values.shape]
    cut = d.between(0, len(shape))
    shape = shape[cut:] if d.flip(0.5) else shape
    if values.dtype == np.bool_:
        return d.constant(d.numbers.random(shape) < 0.5)
    if values.dtype.kind in "iu":
        return d.constant(d.numbers.integers(1, 5, shape), values.dtype)
    return d.constant(d.normal(*shape), values.dtype)


def broadcasts(a: Sequence[int], b: Sequence[int]) -> bool:
    try:
        np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        return False
    return True


def binary(d: Draft) -> None:
    x = d.tensor(lambda v: v.dtype in (np.float32, np.int64, np.int32, np.bool_))
    if x is None:
        return
    kind = d.values[x].dtype
    other = partner(d, x)
    pair = [x, other] if d.flip(0.7) else [other, x]
    if kind == np.bool_:
        d.add(d.pick("And", "Or", "Xor", "Equal"), pair, exact=True)
    elif kind == np.float32:
        op = d.pick("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean", "Div", "Pow", "PRelu")
        if op == "Pow":
            made = d.add("Abs", [x])
            if made:
                d.add("Pow", [made[0], d.constant(d.pick(0.5, 1.0, 2.0, 3.0), np.float32)])
        elif op == "Div":
            made = d.add("Abs", [pair[1]])
            made = made and d.add("Add", [made[0], d.constant(0.5, np.float32)])
            if made:
                d.add("Div", [pair[0], made[0]])
        elif op == "PRelu":
            d.add("PRelu", [x, other])
        else:
            d.add(op, pair, exact=op in ("Max", "Min"))
    else:
        d.add(d.pick("Add", "Sub", "Mul", "Max", "Min", "Mod", "Div"), pair, exact=True)


def compare(d: Draft) -> None:
    x = d.tensor(lambda v: v.dtype in (np.float32, np.int64), exact=True)
    if x is None:
        return
    other = partner(d, x)
    if other not in d.exact:
        return
    op = d.pick("Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal")
    made = d.add(op, [x, other], exact=True)
    if made and d.flip():
        d.add("Where", [made[0], x, partner(d, x)], exact=True)
    elif made and d.flip():
        d.add("Not", made, exact=True)


def cast(d: Draft) -> None:
    x = d.tensor(exact=True)
    if x is not None:
        kind = d.pick(TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
        d.add("Cast", [x], to=kind, exact=True)


def logical(d: Draft) -> None:
    """Combine conditions, two of them compared here where there are none."""
    x = d.tensor(lambda v: v.dtype == np.bool_)
    if x is None:
        number = d.tensor(lambda v: v.dtype in (np.float32, np.int64), exact=True)
        made = number and d.add(
            "Greater", [number, d.constant(0, d.values[number].dtype)], exact=True
        )
        if not made:
            return
        x = made[0]
    made = d.add(d.pick("And", "Or", "Xor"), [x, partner(d, x)], exact=True)
    if made and d.flip():
        d.add("Not", made, exact=True)
