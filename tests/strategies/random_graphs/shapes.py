"""Steps: arithmetic on sizes, as exporters leave it behind, and what it is for."""

from __future__ import annotations

import math

import numpy as np

from . import spell
from .builder import MOST_ELEMENTS, Builder

_INT_MAX = 2**63 - 1


def _sizes(a: np.ndarray) -> bool:
    return bool(a.dtype == np.int64 and a.ndim <= 1 and a.size <= 8)


def sizes(b: Builder) -> str | None:
    """Return a tensor of sizes or of what was computed from them."""
    return b.tensor(_sizes)


def _data(b: Builder) -> str | None:
    return b.tensor(lambda a: a.dtype.kind == "f")


def shape(b: Builder) -> str | None:
    """A Shape, of all axes or of some; or a Size."""
    x = _data(b)
    if x is None:
        return None
    if b.chance(0.08):
        return b.one("Size", x)
    if b.opset < 15 or b.chance(0.7):
        return b.one("Shape", x)
    rank = b.arrays[x].ndim
    start, end = (b.pick(None, b.rng.randint(-rank - 1, rank + 1)) for _ in range(2))
    return b.one("Shape", x, start=start, end=end)


def gather(b: Builder) -> str | None:
    """One or several sizes out of a list."""
    x = b.tensor(lambda a: _sizes(a) and a.ndim == 1 and a.size > 0)
    if x is None:
        return None
    size = b.arrays[x].size
    low = -size if b.opset >= 11 else 0
    shape = b.pick((), (), (1,), (2,), (3,))
    chosen = [b.rng.randint(low, size - 1) for _ in range(math.prod(shape))]
    return b.one("Gather", x, b.ints(np.reshape(chosen, shape)), axis=0)


def slice_(b: Builder) -> str | None:
    """A piece of a list, with extreme ends."""
    x = b.tensor(lambda a: _sizes(a) and a.ndim == 1)
    if x is None:
        return None
    size = b.arrays[x].size
    start = b.pick(0, 0, 1, -1, -2, b.rng.randint(-size - 1, size + 1))
    end = b.pick(size, _INT_MAX, 2**31 - 1, -1, -(2**63), b.rng.randint(-size - 1, size + 1))
    step = b.pick(1, 1, 1, 2, -1) if b.opset >= 10 else 1
    if step < 0:
        start, end = b.pick((_INT_MAX, -(2**63)), (-1, -size - 1), (size, 0))
    return spell.slice_(b, x, [start], [end], b.pick(None, [0]), b.pick([step], None, [step]))


def concat(b: Builder) -> str | None:
    """A list of sizes and constants."""
    parts = []
    for _ in range(b.rng.randint(1, 4)):
        x = sizes(b)
        if x is None or b.chance(0.25):
            parts.append(b.ints([b.pick(-1, 0, 1, 1, 2, 3) for _ in range(b.pick(1, 1, 2, 0))]))
        elif b.arrays[x].ndim:
            parts.append(x)
        else:
            listed = spell.unsqueeze(b, x, [0])
            parts.append(listed or b.ints([1]))
    return b.one("Concat", *parts, axis=b.pick(0, 0, -1) if b.opset >= 11 else 0)


def rank(b: Builder) -> str | None:
    """Unsqueeze, Squeeze or Reshape of a size."""
    x = sizes(b)
    if x is None:
        return None
    if b.arrays[x].ndim == 0:
        if b.chance(0.3):
            return b.one("Reshape", x, b.ints(b.pick([1], [-1], [])))
        return spell.unsqueeze(b, x, [b.pick(0, -1) if b.opset >= 11 else 0])
    if b.arrays[x].size != 1:
        return None
    if b.chance(0.3):
        return b.one("Reshape", x, b.constant(np.zeros(0, np.int64)))
    return spell.squeeze(b, x, b.pick([0], None))


def arithmetic(b: Builder) -> str | None:
    """A sum, product, quotient or bound of sizes."""
    x = sizes(b)
    if x is None:
        return None
    op = b.pick("Add", "Sub", "Mul", "Mul", "Div", "Min", "Max", "Mod", "Neg", "Abs", "ReduceProd")
    if op in ("Neg", "Abs"):
        return b.one(op, x)
    if op == "ReduceProd":
        op = b.pick("ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin")
        # A scalar has no axis, which the runtime overlooks where it is not told the rank.
        axes = b.pick(None, [0]) if b.arrays[x].ndim else None
        return spell.reduce(b, op, x, axes, keepdims=b.pick(None, 0, 1))
    if op in ("Div", "Mod"):
        return b.one(op, x, b.constant(np.array(b.pick(1, 2, 3, 4), np.int64)))
    other = b.tensor(_sizes) if b.chance(0.5) else None
    if other is None:
        number = b.pick(0, 1, -1, 2, 3)
        other = b.constant(np.full(b.pick((), (1,)), number, np.int64))
    pair = [x, other] if b.chance(0.6) else [other, x]
    return b.one(op, *pair)


def cast(b: Builder) -> str | None:
    """There and back through another type, with rounding as exporters write it."""
    from onnx import TensorProto

    x = sizes(b)
    if x is None:
        return None
    if np.abs(b.arrays[x].astype(np.float64)).max(initial=0) > 2**20:
        return None
    kind = b.pick(TensorProto.INT32, TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.DOUBLE)
    made = b.one("Cast", x, to=kind)
    if made is None or kind == TensorProto.INT32:
        return b.one("Cast", made, to=TensorProto.INT64) if made else None
    if b.chance(0.6):
        factor = b.constant(np.array(b.pick(2, 0.5, 1.5, 1), b.arrays[made].dtype))
        made = b.one(b.pick("Mul", "Div"), made, factor) or made
    if b.chance(0.5):
        made = b.one(b.pick("Floor", "Ceil"), made) or made
    if np.abs(b.arrays[made]).max(initial=0) < 2**30:
        return b.one("Cast", made, to=TensorProto.INT64)
    return None


def compare(b: Builder) -> str | None:
    """A comparison of sizes and a choice by it."""
    x = sizes(b)
    if x is None:
        return None
    other = b.constant(np.array(b.pick(-1, 0, 1, 2, 3), np.int64))
    if b.chance(0.3):
        other = sizes(b) or other
    found = b.one(b.pick("Equal", "Less", "Greater"), x, other)
    if found is None:
        return None
    if b.chance(0.2):
        found = b.one("Not", found) or found
    last = sizes(b) if b.chance(0.4) else None
    return b.one("Where", found, b.pick(x, other), last or b.ints(b.pick(1, 2)))


def filled(b: Builder) -> str | None:
    """A ConstantOfShape or a Range."""
    from onnx import numpy_helper

    if b.chance(0.4):
        ends = b.tensor(lambda a: a.dtype == np.int64 and a.ndim == 0 and abs(int(a)) < 50)
        if ends is None:
            return None
        zero, one = (b.constant(np.array(v, np.int64)) for v in (b.pick(0, 0, 1), b.pick(1, 1, 2)))
        return b.one("Range", zero, ends, one)
    x = b.tensor(lambda a: _sizes(a) and a.ndim == 1 and _small(a))
    if x is None:
        return None
    value = b.pick(None, np.array([1], np.int64), np.array([1.5], np.float32), np.array([True]))
    attrs = {} if value is None else {"value": numpy_helper.from_array(value)}
    return b.one("ConstantOfShape", x, **attrs)


def _small(a: np.ndarray) -> bool:
    return bool((a >= 0).all() and math.prod(map(int, a)) <= MOST_ELEMENTS and a.size <= 6)


def expand(b: Builder) -> str | None:
    """An Expand to computed sizes."""
    x = b.tensor()
    target = b.tensor(lambda a: _sizes(a) and a.ndim == 1 and _small(a))
    if x is None or target is None:
        return None
    shape = b.arrays[x].shape
    try:
        made = np.broadcast_shapes(shape, tuple(map(int, b.arrays[target])))
    except ValueError:
        return None
    return b.one("Expand", x, target) if math.prod(made) <= MOST_ELEMENTS else None


def tile(b: Builder) -> str | None:
    """A Tile by computed repeats."""
    x = b.tensor(lambda a: a.ndim > 0 and a.size < 100)
    if x is None:
        return None
    rank = b.arrays[x].ndim
    repeats = b.tensor(
        lambda a: _sizes(a) and a.ndim == 1 and a.size == rank and (a >= 0).all() and a.max() < 5
    )
    if repeats is None or math.prod(map(int, b.arrays[repeats])) * b.arrays[x].size > MOST_ELEMENTS:
        return None
    return b.one("Tile", x, repeats)


def reshape(b: Builder) -> str | None:
    """A Reshape to sizes computed from its input's, as a view or flatten is exported."""
    x = _data(b)
    if x is None:
        return None
    parts, rank = [], b.arrays[x].ndim
    whole = b.one("Shape", x)
    if whole is None:
        return None
    if rank and b.chance(0.8):
        count = b.rng.randint(0, min(rank, 3))
        for axis in range(count):
            if b.chance(0.7):
                index = b.pick([axis], axis)
                size = b.one("Gather", whole, b.ints(index), axis=0)
                if isinstance(index, int) and size:
                    size = spell.unsqueeze(b, size, [0])
                parts.append(size or b.ints([0]))
            else:
                parts.append(b.ints([b.pick(0, b.arrays[x].shape[axis])]))
        parts.append(b.ints(b.pick([-1], [-1], [-1, 1], [1, -1])))
        b.rng.shuffle(parts)
    elif b.chance(0.5):
        tail = spell.slice_(b, whole, [min(1, rank)], [_INT_MAX], [0], None)
        parts = [b.ints([-1]), *([tail] if tail else [])]
    else:
        other = b.tensor(lambda a: _sizes(a) and a.ndim == 1)
        parts = [other] if other else [whole]
    target = b.one("Concat", *parts, axis=0) if len(parts) > 1 or b.chance(0.3) else parts[0]
    if target is None:
        return None
    # With allowzero, a target may not have both.
    free = not {0, -1} <= set(b.arrays[target].tolist())
    attrs = {"allowzero": 1} if b.opset >= 14 and free and b.chance(0.15) else {}
    return b.one("Reshape", x, target, **attrs)


def split_sizes(b: Builder) -> str | None:
    """The sizes of a tensor, one by one."""
    x = b.tensor(lambda a: _sizes(a) and a.ndim == 1 and 0 < a.size < 5)
    if x is None:
        return None
    made = spell.split(b, x, 0, [1] * b.arrays[x].size, even=b.chance(0.5))
    return b.rng.choice(made) if made else None


def use(b: Builder) -> str | None:
    """A Slice or Pad of data by computed ends or amounts."""
    x = b.tensor(lambda a: a.dtype.kind == "f" and a.ndim > 0)
    ends = b.tensor(lambda a: _sizes(a) and a.shape == (1,) and abs(int(a[0])) < 100)
    if x is None or ends is None or b.opset < 10:
        return None
    rank = b.arrays[x].ndim
    axis = b.rng.randrange(rank)
    return b.one("Slice", x, b.ints([b.pick(0, 1)]), ends, b.ints([b.pick(axis, axis - rank)]))


def nonzero(b: Builder) -> str | None:
    """Where a list is not zero, which has a size that only running shows."""
    x = b.tensor(lambda a: _sizes(a) or a.dtype == bool)
    return b.one("NonZero", x) if x else None


def scatter(b: Builder) -> str | None:
    """One size of a list replaced."""
    x = b.tensor(lambda a: _sizes(a) and a.ndim == 1 and a.size > 0)
    if x is None or b.opset < 11:
        return None
    size = b.arrays[x].size
    index = b.rng.randrange(size)
    if b.chance(0.5):
        return b.one("ScatterElements", x, b.ints([index]), b.ints([b.pick(1, -1)]), axis=0)
    return b.one("ScatterND", x, b.ints([[index]]), b.ints([b.pick(1, -1)]))
