"""Steps: what works element by element, on every type."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from . import spell, values
from .builder import Builder, broadcast

_FLOAT = (
    "Abs", "Neg", "Relu", "Exp", "Log", "Sqrt", "Sigmoid", "Tanh", "Erf", "Floor", "Ceil", "Round",
    "Sign", "Reciprocal", "Softplus", "Softsign", "Elu", "Selu", "LeakyRelu", "ThresholdedRelu",
    "HardSigmoid", "HardSwish", "Mish", "Celu", "Gelu", "Sin", "Cos", "Atan", "Sinh", "Asinh",
    "Identity", "Dropout", "Shrink",
)  # fmt: skip
_INTEGER = ("Abs", "Neg", "Sign", "Relu", "Identity", "BitwiseNot", "Not")
# Of large values, what float rules about order and sign are tried on.
_ROUGH = ("Round", "Floor", "Ceil", "Sign")
_ALPHA = ("Elu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Celu", "Selu")
_COMPARE = ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")
_TYPES = (*values.FLOATS, *values.SIGNED, *values.UNSIGNED, values.BOOL, values.BFLOAT16)


def unary(b: Builder) -> str | None:
    """An operator of one input, with its attribute or without."""
    x = b.tensor()
    if x is None:
        return None
    op = b.pick(*(_FLOAT if values.is_float(b.arrays[x].dtype) else _INTEGER))
    alpha = b.pick(None, 0.0, 0.3, 1.0, 2.0, -0.5) if op in _ALPHA else None
    if op == "Celu" and not alpha:
        alpha = 0.7
    return b.one(op, x, alpha=alpha)


def activation(b: Builder, x: str | None = None) -> str | None:
    """What networks have between layers."""
    x = x or b.floating()
    if x is None:
        return None
    op = b.pick("Relu", "Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSwish", "Elu", "Clip", "PRelu")
    if op == "Clip":
        return spell.clip(b, x, *b.pick((0, 6), (-0.5, 0.5), (None, 1), (0, None), (None, None)))
    if op == "PRelu":
        return b.one("PRelu", x, b.slope(x))
    return b.one(op, x)


def binary(b: Builder) -> str | None:
    """An operator of two inputs: a constant, another tensor or the same one, in either order."""
    x = b.tensor()
    if x is None:
        return None
    other = b.operand(x) if b.chance(0.65) else b.like(x)
    return None if other is None else arithmetic(b, x, other)


def arithmetic(b: Builder, x: str, other: str) -> str | None:
    """x op other, or the reverse."""
    dtype = b.arrays[x].dtype
    if dtype == values.BOOL:
        return b.one(b.pick("And", "Or", "Xor", "Equal"), x, other)
    op = b.pick(
        "Add", "Add", "Mul", "Mul", "Sub", "Sub", "Div", "Min", "Max", "Pow", "Mod", "PRelu"
    )
    pair = [x, other] if b.chance(0.6) else [other, x]
    if op in ("Div", "Mod") and not values.is_float(dtype):
        return _divide(b, op, x)
    if op == "Mod":
        return b.one(op, *pair, fmod=1) if b.extreme else None
    if op == "Pow":
        if not values.is_float(dtype):
            return None
        number = b.pick(2.0, 2.0, 1.0, 0.5, 3.0, -1.0, 0.0)
        return b.one("Pow", x, b.constant(np.array(number, dtype)))
    if op == "PRelu":
        return b.one(op, x, b.slope(x)) if values.is_float(dtype) else None
    return b.one(op, *pair)


def _divide(b: Builder, op: str, x: str) -> str | None:
    """Divide integers by what traps for no dividend."""
    number = b.constant(np.array(b.pick(1, 2, 3, 7), b.arrays[x].dtype))
    return b.one(op, x, number)


def chain(b: Builder) -> str | None:
    """Products, sums and bounds by constants, one behind the other."""
    x = b.tensor(lambda a: a.dtype != values.BOOL)
    for _ in range(b.rng.randint(2, 4)):
        if x is None:
            return None
        op = b.pick("Add", "Sub", "Mul", "Max", "Min", "Relu", "Neg", "Div")
        if op in ("Relu", "Neg"):
            made = b.one(op, x)
        elif op == "Div" and not values.is_float(b.arrays[x].dtype):
            made = _divide(b, op, x)
        else:
            pair = [x, b.operand(x)]
            made = b.one(op, *(pair if b.chance(0.7) else pair[::-1]))
        x = made or x
    return x


def several(b: Builder) -> str | None:
    """Sum, Mean, Max or Min of one to four tensors."""
    x = b.tensor(lambda a: a.dtype != values.BOOL)
    if x is None:
        return None
    others = [b.operand(x) if b.chance(0.4) else b.like(x) for _ in range(b.rng.randint(0, 3))]
    inputs = [x, *filter(None, others)]
    b.rng.shuffle(inputs)
    return b.one(b.pick("Sum", "Mean", "Max", "Min"), *inputs)


def compare(b: Builder) -> str | None:
    """A comparison, or a question about floats."""
    x = b.tensor()
    if x is None:
        return None
    if values.is_float(b.arrays[x].dtype) and b.chance(0.2):
        return b.one(b.pick("IsNaN", "IsInf"), x)
    other = b.operand(x) if b.chance(0.6) else b.like(x)
    return b.one(b.pick(*_COMPARE), x, other) if other else None


def where(b: Builder) -> str | None:
    """A choice between a tensor and a constant, or two tensors."""
    x = b.tensor()
    if x is None:
        return None
    shape = b.arrays[x].shape
    condition = b.tensor(lambda a: a.dtype == values.BOOL and broadcast(a.shape, shape))
    if condition is None or b.chance(0.25):
        number = b.chance(0.5)
        condition = b.constant(np.full(b.pick((), (1,), shape), number))
    other = b.operand(x) if b.chance(0.5) else b.like(x)
    pair = [x, other] if b.chance(0.5) else [other, x]
    return b.one("Where", condition, *pair) if other else None


def cast(b: Builder) -> str | None:
    """A Cast, or several; of floats to integers only where they fit."""
    x = b.tensor()
    for _ in range(b.rng.randint(1, 3)):
        if x is None:
            return None
        dtype = b.pick(*_TYPES, values.FLOATS[0], values.FLOATS[0])
        if dtype == values.BFLOAT16 and b.opset < 13:
            continue  # no operator takes it before, though the runtime casts
        x = cast_to(b, x, dtype) or x
    return x


def cast_to(b: Builder, x: str, dtype: np.dtype) -> str | None:
    """Cast `x`, unless what comes out is undefined."""
    array = b.arrays[x]
    if values.is_float(array.dtype) and dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        wide = array.astype(np.float64)
        if not np.all((wide > float(bounds.min)) & (wide < float(bounds.max))):
            return None
        b.fragile = True
    if b.opset >= 15 and b.chance(0.1):
        return b.one("CastLike", x, b.constant(np.zeros((), dtype)))
    return b.one("Cast", x, to=int(helper.np_dtype_to_tensor_dtype(dtype)))


def bits(b: Builder) -> str | None:
    """Bits of integers."""
    x = b.tensor(lambda a: a.dtype.kind in "iu")
    if x is None:
        return None
    dtype = b.arrays[x].dtype
    if dtype.kind == "u" and b.chance(0.5):
        amount = b.constant(np.array(b.pick(0, 1, 3), dtype))
        return b.one("BitShift", x, amount, direction=b.pick("LEFT", "RIGHT"))
    return b.one(b.pick("BitwiseAnd", "BitwiseOr", "BitwiseXor"), x, b.operand(x))


def clipped(b: Builder) -> str | None:
    """One Clip or two, of any type, with bounds in any order."""
    x = b.tensor(lambda a: a.dtype != values.BOOL)
    for _ in range(b.rng.randint(1, 2)):
        if x is None:
            return None
        dtype = b.arrays[x].dtype
        bounds = [
            None if b.chance(0.2) else values.special(b.rng, dtype, extreme=b.extreme)
            for _ in range(2)
        ]
        x = spell.clip(b, x, *bounds) or x
    return x


def quantized(b: Builder) -> str | None:
    """QuantizeLinear and DequantizeLinear of one scale or one a channel."""
    x = b.tensor(lambda a: a.dtype == np.float32)
    if x is None:
        return None
    array = b.arrays[x]
    kind = np.dtype(b.pick("int8", "uint8"))
    channels = array.shape[1] if array.ndim > 1 and b.opset >= 13 and b.chance(0.4) else None
    size = () if channels is None else (channels,)
    generator = np.random.default_rng(b.rng.getrandbits(32))
    scale = b.constant(generator.uniform(0.01, 0.2, size).astype(np.float32))
    low = -3 if kind.kind == "i" else 120
    zero = b.constant(generator.integers(low, low + 6, size).astype(kind))
    inputs = [scale] if kind.kind == "u" and channels is None and b.chance(0.1) else [scale, zero]
    axis = None if channels is None else 1
    b.fragile = True
    made = b.one("QuantizeLinear", x, *inputs, axis=axis)
    return b.one("DequantizeLinear", made, *inputs, axis=axis) if made and b.chance(0.9) else made


def rounding_idiom(b: Builder) -> str | None:
    """Spellings of rounding, saturation and signs that cancel on paper."""
    x = b.tensor(lambda a: a.dtype in (np.float32, np.float64, np.float16))
    if x is None:
        return None
    dtype = b.arrays[x].dtype
    magic = b.constant(
        np.array({"float32": 12582912.0, "float16": 1536.0}.get(dtype.name, 2**52 * 1.5), dtype)
    )
    there, operands, back, others = (
        ("Add", (x, magic), "Sub", (magic,)),
        ("Mul", (x, magic), "Div", (magic,)),
        ("Mul", (x, x), "Sqrt", ()),
        ("Sub", (x, x), "Add", (x,)),
        ("Div", (x, x), "Mul", (x,)),
        ("Reciprocal", (x,), "Reciprocal", ()),
    )[b.rng.randrange(6)]
    made = b.one(there, *operands)
    return b.one(back, made, *others) if made else None


def bfloat(b: Builder) -> str | None:
    """There and back through 16 bits."""
    x = b.floating()
    if x is None or b.opset < 13:
        return None
    kind = b.pick(TensorProto.BFLOAT16, TensorProto.FLOAT16)
    made = b.one("Cast", x, to=kind)
    return b.one("Cast", made, to=TensorProto.FLOAT) if made and b.chance(0.8) else made
