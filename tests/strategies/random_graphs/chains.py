"""Steps: short rows of nodes that rewrites look for, and that chance alone hardly ever makes."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from . import idioms, spell, values, windows
from .builder import Builder
from .groups import Group

_WIDER = {
    "float16": ("float32", "float64"),
    "float32": ("float64",),
    "int8": ("int16", "int32", "float32"),
    "int32": ("int64", "float64"),
    "uint8": ("int16", "uint32", "float32"),
    "bool": ("uint8", "int64", "float32"),
}


def cast_back(b: Builder) -> str | None:
    """A Cast to a wider type, and one back or to a third."""
    x = b.tensor(lambda a: a.dtype.name in _WIDER)
    if x is None:
        return None
    own = b.arrays[x].dtype.name
    wide = _cast(b, x, b.pick(*_WIDER[own]))
    return _cast(b, wide, own if b.chance(0.7) else b.pick("float32", "int64")) if wide else None


def _cast(b: Builder, x: str, dtype: str) -> str | None:
    return b.one("Cast", x, to=int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))


def quantized_twice(b: Builder) -> str | None:
    """Two pairs of QuantizeLinear and DequantizeLinear in a row, mostly of the same parameters."""
    x = b.tensor(lambda a: a.dtype == np.float32 and a.size > 0)
    if x is None or b.opset < 10:
        return None
    kind = b.pick(np.uint8, np.int8)
    scales = [b.constant(np.float32(b.pick(0.05, 0.1)))] * 2
    if b.chance(0.2):
        scales[1] = b.constant(np.float32(0.07))
    zero = b.constant(kind(b.pick(0, 3, 100)))
    b.fragile = True
    for scale in scales:
        for op in ("QuantizeLinear", "DequantizeLinear"):
            x = b.one(op, x, scale, zero) if x else None
    return x


def split_in_sequence(b: Builder) -> str | None:
    """What is split into a sequence and taken out of it, part by part."""
    x = b.tensor(lambda a: a.dtype.kind in "fi" and a.ndim > 0 and a.shape[0] > 1)
    if x is None or b.opset < 11:
        return None
    size = b.arrays[x].shape[0]
    first = b.rng.randint(1, size - 1)
    sizes = b.constant(b.pick(np.array([first, size - first]), np.array(first)))
    count = 2 if b.arrays[sizes].ndim else -(-size // first)
    g = Group(b)
    parts = g.one("SplitToSequence", x, sizes, axis=b.pick(0, 0, -b.arrays[x].ndim))
    places = [b.rng.randrange(-count, count) for _ in range(b.rng.randint(1, 3))]
    found = g.close(*(g.one("SequenceAt", parts, b.constant(np.array(p))) for p in places))
    return found[0] if found else None


def joined_in_sequence(b: Builder) -> str | None:
    """A sequence that is made of tensors to be joined."""
    x = b.tensor(lambda a: a.dtype.kind in "fi" and a.ndim > 0)
    if x is None or b.opset < 11:
        return None
    own = b.arrays[x]
    other = b.tensor(lambda a: a.dtype == own.dtype and a.shape[1:] == own.shape[1:] and a.ndim > 0)
    g = Group(b)
    made = g.one("SequenceConstruct", x, other or x)
    return _first(g.close(g.one("ConcatFromSequence", made, axis=b.pick(0, 0, -own.ndim))))


def by_own_sizes(b: Builder) -> str | None:
    """Expand to the own shape, Slice up to so many from the end, Resize to multiples."""
    x = b.tensor(lambda a: a.dtype == np.float32 and 0 < a.ndim < 5 and 0 < a.size < 300)
    if x is None or b.opset < 11:
        return None
    array = b.arrays[x]
    shape = b.one("Shape", x)
    if shape is None:
        return None
    match b.rng.randrange(3):
        case 0:
            wanted = b.pick(shape, b.one("Concat", b.ints([b.rng.randint(1, 3)]), shape, axis=0))
            return b.one("Expand", x, wanted) if wanted else None
        case 1:
            axis = b.rng.randrange(array.ndim)
            size = b.one("Gather", shape, b.ints([axis]), axis=0)
            end = b.one("Sub", size, b.ints([b.rng.randint(0, 2)])) if size else None
            start = b.ints([b.pick(0, 0, 1)])
            return b.one("Slice", x, start, end, b.ints([axis])) if end else None
        case _ if array.ndim == 4:
            factors = b.ints([1, 1, *(b.pick(1, 2, 2, 3) for _ in range(2))])
            sizes = b.one("Mul", shape, factors)
            empty = "" if b.opset >= 13 else b.constant(np.zeros(0, np.float32))
            mode = b.pick("nearest", "linear")
            return b.one("Resize", x, empty, empty, sizes, mode=mode) if sizes else None
    return None


def gathered_whole(b: Builder) -> str | None:
    """All elements of an axis, gathered in order into several."""
    x = b.tensor(lambda a: 0 < a.ndim < 5 and a.size > 0)
    if x is None:
        return None
    axis = b.axis(x)
    size = b.arrays[x].shape[axis]
    rows = b.rng.choice([n for n in range(1, size + 1) if size % n == 0])
    indices = np.arange(size).reshape(rows, -1)
    if b.chance(0.2):
        indices = indices.T.copy()
    return b.one("Gather", x, b.ints(indices - (size if b.chance(0.2) else 0)), axis=axis)


def squeezed_out_of_order(b: Builder) -> str | None:
    """A Squeeze that does not name its axes in order."""
    x = b.tensor(lambda a: 1 < a.ndim < 7 and a.shape.count(1) > 1)
    if x is None:
        return None
    ones = [axis for axis, size in enumerate(b.arrays[x].shape) if size == 1]
    return spell.squeeze(b, x, b.rng.sample(ones, 2))


def scaled_over_moves(b: Builder) -> str | None:
    """A layer or a product, what moves its elements, and products and sums behind."""
    x = b.tensor(lambda a: a.dtype == np.float32 and 2 <= a.ndim <= 4 and a.size > 0)
    if x is None:
        return None
    array = b.arrays[x]
    if b.chance(0.7):
        out = b.rng.randint(1, 4) * 2
        made = b.one("MatMul", x, b.constant(windows.weights(b, out, array.shape[-1]).T.copy()))
        if made and b.chance(0.7):
            made = b.one("Add", made, b.constant(windows.weights(b, out, scale=1.0)))
    else:
        made = b.one(b.pick("Mul", "Add"), x, idioms.number(b, x, 0.5))
    if made is None:
        return None
    *rest, last = b.arrays[made].shape
    match b.rng.randrange(3):
        case 0 if last % 2 == 0:
            made = b.one("Reshape", made, b.ints([*rest, last // 2, 2]))
        case 1:
            made = b.one("Transpose", made, perm=[*reversed(range(b.arrays[made].ndim))])
        case _:
            made = spell.slice_(b, made, [0], [max(1, last - 1)], [b.arrays[made].ndim - 1], None)
    for op in b.pick(("Mul",), ("Mul", "Add"), ("Div",), ("Add",)):
        made = b.one(op, made, idioms.number(b, made, b.pick(0.25, 2.0))) if made else None
    return made


def silent_channels(b: Builder) -> str | None:
    """Two convolutions, of which one makes channels that are constant, or leaves some unread."""
    x = windows.image(b)
    if x is None:
        return None
    channels, rank = b.arrays[x].shape[1], b.arrays[x].ndim - 2
    inner, ones = b.rng.randint(2, 5), [1] * rank
    first, second = (windows.weights(b, *s, *ones) for s in ((inner, channels), (3, inner)))
    silent = b.rng.randrange(inner)
    if b.chance(0.5):
        first[silent] = 0
    else:
        second[:, silent] = 0
    inputs = [x, b.constant(first)]
    if b.chance(0.7):
        inputs.append(b.constant(windows.weights(b, inner, scale=1.0)))
    made = b.one("Conv", *inputs)
    if made and b.chance(0.7):
        made = b.one(b.pick("Relu", "Sigmoid", "LeakyRelu"), made)
    return b.one("Conv", made, b.constant(second)) if made else None


def normalized_join(b: Builder) -> str | None:
    """Convolutions that are joined and normalized."""
    x = windows.image(b)
    if x is None:
        return None
    ones = [1] * (b.arrays[x].ndim - 2)
    branches = []
    for _ in range(2):
        out = b.rng.randint(1, 3)
        weight = b.constant(windows.weights(b, out, b.arrays[x].shape[1], *ones))
        branches.append(b.one("Conv", x, weight))
    if None in branches:
        return None
    joined = b.one("Concat", *filter(None, branches), axis=1)
    return b.pick(windows.batchnorm, idioms.affine)(b, joined) if joined else None


def one_activation(b: Builder) -> str | None:
    """Activations of few spellings, as x / (1 + exp(-x)), and Mish itself."""
    x = b.tensor(lambda a: a.dtype == np.float32)
    if x is None:
        return None

    def constant(value: float) -> str:
        return b.constant(np.float32(value))

    match b.rng.randrange(4):
        case 0:
            power = b.one("Exp", b.one("Neg", x) or x)
            divisor = b.one("Add", power, constant(1)) if power else None
            return b.one("Div", x, divisor) if divisor else None
        case 1:
            moved = b.one("Add", b.one("Mul", x, constant(0.2)) or x, constant(0.5))
            return spell.clip(b, moved, 0, 1) if moved else None
        case 2:
            above = b.one("Greater", x, constant(b.pick(20, 20, 5)))
            curve = b.one("Softplus", x)
            return b.one("Where", above, x, curve) if above and curve else None
        case _:
            return b.one("Mish", x)


def block_shuffle(b: Builder) -> str | None:
    """DepthToSpace and SpaceToDepth by Reshape, Transpose, Reshape."""
    x = b.tensor(lambda a: a.dtype == np.float32 and a.ndim == 4 and 0 < a.size < 500)
    if x is None:
        return None
    n, c, h, w = b.arrays[x].shape
    if c % 4 == 0 and b.chance(0.5):
        crd = b.chance(0.5)
        sizes = [n, c // 4, 2, 2, h, w] if crd else [n, 2, 2, c // 4, h, w]
        perm = [0, 1, 4, 2, 5, 3] if crd else [0, 3, 4, 1, 5, 2]
        result = [n, c // 4, 2 * h, 2 * w]
    elif h % 2 == 0 and w % 2 == 0:
        sizes, perm = [n, c, h // 2, 2, w // 2, 2], [0, 3, 5, 1, 2, 4]
        result = [n, 4 * c, h // 2, w // 2]
    else:
        return None
    made = b.one("Reshape", x, b.ints(sizes))
    made = b.one("Transpose", made, perm=perm) if made else None
    return b.one("Reshape", made, b.ints(result)) if made else None


def wide_depthwise(b: Builder) -> str | None:
    """A depthwise convolution between two others, of a number of channels that fills no block."""
    x = b.tensor(lambda a: a.dtype == np.float32 and a.ndim == 4 and 0 < a.shape[1] < 30)
    if x is None:
        return None
    channels = b.pick(25, 26, 30)
    made: str | None = x
    for shape, group in (
        ((channels, b.arrays[x].shape[1], 1, 1), 1),
        ((channels, 1, 3, 3), channels),
        ((3, channels, 1, 1), 1),
    ):
        attrs: dict[str, Any] = {"group": group, "pads": [1] * 4 if group > 1 else None}
        made = (
            b.one("Conv", made, b.constant(windows.weights(b, *shape)), **attrs) if made else None
        )
        if made and shape[0] == channels and b.chance(0.7):
            made = b.one("Relu", made)
    return made


def windowed_by_hand(b: Builder) -> str | None:
    """A Pad of zeros before a convolution or a pool; a pool over all that is there."""
    x = b.tensor(lambda a: a.dtype == np.float32 and a.ndim == 4 and 0 < a.size < 500)
    if x is None:
        return None
    array = b.arrays[x]
    if b.chance(0.4):
        return b.one("AveragePool", x, kernel_shape=list(array.shape[2:]))
    before, behind = ([0, 0, *(b.rng.randint(0, 1) for _ in range(2))] for _ in range(2))
    made = spell.pad(b, x, [*before, *behind], "constant", 0.0)
    if made and b.chance(0.7):
        weight = windows.weights(b, 2, array.shape[1], 2, 2)
        return b.one("Conv", made, b.constant(weight))
    return b.one("AveragePool", made, kernel_shape=[2, 2]) if made else None


def shared_list(b: Builder) -> str | None:
    """Two tensors that are brought to one shape, which is computed twice in other ways."""
    x = b.tensor(lambda a: a.ndim == 4 and a.size > 0 and a.dtype != values.BFLOAT16)
    shape = b.one("Shape", x) if x else None
    if x is None or shape is None:
        return None
    rows = b.one("Gather", shape, b.ints([0]), axis=0)
    parts = [b.one("Gather", shape, b.ints([i]), axis=0) for i in (2, 3)]
    if rows is None or None in parts:
        return None
    first = b.one("Concat", rows, b.ints([-1]), *filter(None, parts), axis=0)
    space = b.one("Gather", shape, b.ints([2, 3]), axis=0)
    second = b.one("Concat", rows, b.ints([-1]), space, axis=0) if space else None
    other = b.one(b.pick("Neg", "Abs", "Identity"), x)
    if first is None or second is None or other is None:
        return None
    made = b.one("Reshape", x, first)
    return b.one("Reshape", other, second) if made else None


def _first(names: list[str]) -> str | None:
    return names[0] if names else None


FOLDED = (
    scaled_over_moves,
    silent_channels,
    normalized_join,
    one_activation,
    block_shuffle,
    wide_depthwise,
    windowed_by_hand,
    quantized_twice,
)
MOVED = (
    cast_back,
    split_in_sequence,
    joined_in_sequence,
    by_own_sizes,
    gathered_whole,
    squeezed_out_of_order,
    shared_list,
)
