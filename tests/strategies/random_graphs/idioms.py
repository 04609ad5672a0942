"""Steps: what convolutional networks are made of, and functions spelled out."""

from __future__ import annotations

import math

import numpy as np

from . import spell, values, windows
from .builder import Builder
from .elementwise import activation, cast_to


def number(b: Builder, x: str, value: float) -> str:
    array = b.arrays[x]
    shape = b.pick((), (), (1,), (1,) * array.ndim)
    return b.constant(np.full(shape, value, array.dtype))


def channel_constant(b: Builder, x: str) -> str:
    """Return one number a channel, or a single one."""
    array = b.arrays[x]
    if array.ndim < 2 or b.chance(0.25):
        return b.constant(windows.weights(b, scale=1.0).astype(array.dtype))
    shape = (array.shape[1], *[1] * (array.ndim - 2))
    shape = b.pick(shape, (1, *shape))
    made = windows.weights(b, *shape, scale=1.0)
    return b.constant((np.where(made < 0, -1, 1) * (0.4 + np.abs(made))).astype(array.dtype))


def affine(b: Builder, x: str | None = None) -> str | None:
    """One or several products, sums, differences and quotients by constants a channel."""
    x = x or windows.image(b)
    for _ in range(b.rng.randint(1, 3)):
        if x is None:
            return None
        op = b.pick("Mul", "Add", "Sub", "Div", "Neg")
        if op == "Neg":
            x = b.one(op, x) or x
            continue
        pair = [x, channel_constant(b, x)]
        if op != "Div" and b.chance(0.4):
            pair.reverse()
        x = b.one(op, *pair) or x
    return x


def block(b: Builder) -> str | None:
    """Convolution, normalization, activation; sometimes the input added."""
    x = windows.image(b)
    if x is None:
        return None
    shape = b.arrays[x].shape
    inputs = [x, b.constant(windows.weights(b, shape[1], shape[1], *[1] * (len(shape) - 2)))]
    if b.chance(0.4):
        inputs.append(b.constant(windows.weights(b, shape[1], scale=1.0)))
    made = b.one("Conv", *inputs) if b.chance(0.6) else windows.conv(b, x)
    if made and b.chance(0.7):
        made = windows.batchnorm(b, made) or made
    if made and b.chance(0.3):
        made = affine(b, made) or made
    if made and b.arrays[made].shape == shape and b.chance(0.5):
        made = b.one(b.pick("Add", "Add", "Sub", "Mul"), *b.pick([x, made], [made, x])) or made
    return activation(b, made) if made and b.chance(0.8) else made


def parallel(b: Builder) -> str | None:
    """Branches of one tensor, added, subtracted or joined."""
    x = windows.image(b)
    if x is None:
        return None
    branches: list[str] = []
    for _ in range(b.rng.randint(2, 3)):
        made = b.pick(windows.conv, windows.conv, windows.batchnorm, affine)(b, x)
        if made:
            branches.append(made)
    if b.chance(0.3):
        branches.append(x)
    if len(branches) < 2:
        return None
    if b.chance(0.4):
        return b.one("Concat", *branches, axis=1)
    first = branches[0]
    for other in branches[1:]:
        if b.arrays[other].shape == b.arrays[first].shape:
            first = (
                b.one(b.pick("Add", "Sub", "Sum"), *b.pick([first, other], [other, first])) or first
            )
    return first


def residual(b: Builder) -> str | None:
    """Two tensors of one shape, joined."""
    x = windows.image(b)
    if x is None:
        return None
    shape = b.arrays[x].shape
    other = b.tensor(lambda a: a.dtype == np.float32 and a.shape == shape)
    return b.one(b.pick("Add", "Add", "Sub", "Mul", "Max"), x, other) if other else None


def squeeze_excite(b: Builder) -> str | None:
    """The gate of a squeeze-and-excitation block."""
    x = windows.image(b)
    if x is None:
        return None
    rank = b.arrays[x].ndim
    if b.chance(0.5):
        pooled = b.one("GlobalAveragePool", x)
    else:
        pooled = spell.reduce(b, "ReduceMean", x, list(range(2, rank)), keepdims=1)
    for last in (False, True):
        if pooled is None:
            return None
        channels, ones = b.arrays[pooled].shape[1], [1] * (rank - 2)
        out = b.arrays[x].shape[1] if last else 2
        inputs = [pooled, b.constant(windows.weights(b, out, channels, *ones))]
        if b.chance(0.6):
            inputs.append(b.constant(windows.weights(b, out, scale=1.0)))
        pooled = b.one("Conv", *inputs)
        if pooled:
            pooled = b.one(b.pick("Sigmoid", "HardSigmoid") if last else "Relu", pooled)
    return b.one("Mul", *b.pick([x, pooled], [pooled, x])) if pooled else None


def spelled(b: Builder, x: str | None = None) -> str | None:
    """An activation written out, or nearly one."""
    x = x or b.floating()
    if x is None:
        return None
    n = lambda value: number(b, x, value)  # noqa: E731
    one = b.one

    def then(op: str, *inputs: str | None) -> str | None:
        found = [name for name in inputs if name]
        if len(found) < len(inputs):
            return None
        if op in ("Add", "Mul", "Max", "Min") and b.chance(0.4):
            found.reverse()
        return one(op, *found)

    match b.rng.randrange(12):
        case 0:
            return then("Mul", x, one(b.pick("Sigmoid", "HardSigmoid"), x))
        case 1:
            half = then("Mul", x, n(0.5))
            error = then("Erf", then("Div", x, n(math.sqrt(2))))
            return then("Mul", half, then("Add", error, n(b.pick(1.0, 1.0, 0.5))))
        case 2:
            clipped = spell.clip(b, then("Add", x, n(3)) or x, 0, 6)
            return then("Div", then("Mul", x, clipped), n(6))
        case 3:
            return then("Mul", x, then("Tanh", then("Softplus", x)))
        case 4:
            return then("Log", then("Add", then("Exp", x), n(1)))
        case 5:
            return then("Div", n(1), then("Add", then("Exp", then("Neg", x)), n(1)))
        case 6:
            return then("Max", x, then("Mul", x, n(b.pick(0.1, 1.5, -1.0))))
        case 7:
            return then("Min", then("Max", x, n(b.pick(0, -1))), n(b.pick(6, 1, 0)))
        case 8:
            return then("Relu", then(b.pick("Relu", "Abs", "Sigmoid", "Exp", "Neg"), x))
        case 9:
            return then("Div", x, then("Add", then("Abs", x), n(1)))
        case 10:
            return then("Sub", then("Relu", x), then("Mul", then("Relu", then("Neg", x)), n(0.25)))
        case _:
            cube = then("Pow", x, n(3)) if b.opset >= 12 else then("Mul", x, then("Mul", x, x))
            inner = then("Add", x, then("Mul", cube, n(0.044715)))
            curve = then("Tanh", then("Mul", inner, n(math.sqrt(2 / math.pi))))
            return then("Mul", then("Mul", x, n(0.5)), then("Add", curve, n(1)))


def normalized(b: Builder) -> str | None:
    """LayerNormalization, RMS or L2 normalization written out, over one axis or several."""
    x = b.tensor(lambda a: a.dtype == np.float32 and a.ndim > 1 and a.size > 0)
    if x is None:
        return None
    rank = b.arrays[x].ndim
    axes = b.pick([-1], [-1], [rank - 1], list(range(1, rank)), [1])
    if b.opset < 11:
        axes = [axis % rank for axis in axes]
    mean = spell.reduce(b, "ReduceMean", x, axes, keepdims=1)
    centred = b.one("Sub", x, mean) if mean and b.chance(0.7) else x
    if centred is None:
        return None
    squares = b.one("Pow", centred, b.constant(np.array(2, np.float32)))
    if b.chance(0.4) or squares is None:
        squares = b.one("Mul", centred, centred)
    variance = spell.reduce(b, "ReduceMean", squares or x, axes, keepdims=1)
    moved = b.one("Add", variance, number(b, variance, 1e-3)) if variance else None
    root = b.one("Sqrt", moved) if moved else None
    made = b.one("Div", centred, root) if root else None
    for op in ("Mul", "Add"):
        if made and b.chance(0.6):
            size = b.arrays[made].shape[-1]
            made = b.one(op, made, b.constant(windows.weights(b, size, scale=1.0))) or made
    return made


def no_op(b: Builder) -> str | None:
    """What changes nothing."""
    x = b.tensor()
    if x is None:
        return None
    array = b.arrays[x]
    match b.rng.randrange(7):
        case 0:
            return b.one("Identity", x)
        case 1:
            return cast_to(b, x, array.dtype) if array.dtype.kind != "b" else b.one("Identity", x)
        case 2 if values.is_float(array.dtype):
            return b.one("Dropout", x)
        case 3 if array.dtype != values.BOOL:
            op, value = b.pick(("Mul", 1), ("Div", 1), ("Add", 0), ("Sub", 0))
            return b.one(op, x, b.constant(np.full(b.pick((), (1,)), value, array.dtype)))
        case 4:
            return b.one("Transpose", x, perm=list(range(array.ndim)))
        case 5:
            return b.one("Reshape", x, b.ints([0] * array.ndim))
        case _:
            return b.one("Expand", x, b.ints([1] * array.ndim))


def twin(b: Builder) -> str | None:
    """A node repeated, under another name."""
    found = [n for n in b.nodes if len(n.output) == 1 and n.op_type != "Constant"]
    if not found:
        return None
    node = b.rng.choice(found)
    return b.one(
        node.op_type, *node.input, domain=node.domain, **{a.name: a for a in node.attribute}
    )


def head(b: Builder) -> str | None:
    """Pooling, flattening and a classifier."""
    x = windows.image(b)
    pooled = b.one("GlobalAveragePool", x) if x else None
    if pooled is None:
        return None
    n, channels = b.arrays[pooled].shape[:2]
    flat = b.one("Flatten", pooled) if b.chance(0.5) else None
    flat = flat or b.one("Reshape", pooled, b.ints(b.pick([0, -1], [n, channels], [-1, channels])))
    return b.pick(windows.gemm, windows.matmul)(b) if flat else None
