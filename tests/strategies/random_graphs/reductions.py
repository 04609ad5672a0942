"""Steps: what looks along axes."""

from __future__ import annotations

import numpy as np

from . import spell, values
from .builder import Builder

_REDUCTIONS = (
    "ReduceSum", "ReduceSum", "ReduceMean", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd",
    "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum",
)  # fmt: skip


def axes_of(b: Builder, x: str) -> list[int] | None:
    """Return some axes of either sign, none at all, or None for all."""
    rank = b.arrays[x].ndim
    if b.chance(0.15) or not rank:
        return b.pick(None, None, [])
    chosen = b.rng.sample(range(rank), b.rng.randint(1, rank))
    return [axis - rank if b.chance(0.3) else axis for axis in chosen]


def reduction(b: Builder) -> str | None:
    """A reduction."""
    x = b.tensor(lambda a: a.dtype != values.BOOL)
    if x is None:
        return None
    axes = axes_of(b, x)
    attrs = {"keepdims": b.pick(None, 0, 1)}
    if (not axes) and b.chance(0.5):
        attrs["noop_with_empty_axes"] = 1
    return spell.reduce(b, b.pick(*_REDUCTIONS), x, axes, **attrs)


def argmax(b: Builder) -> str | None:
    """The index of the largest or smallest."""
    x = b.tensor(lambda a: a.dtype != values.BOOL and a.ndim > 0 and a.size > 0)
    if x is None:
        return None
    return b.one(b.pick("ArgMax", "ArgMin"), x, axis=b.axis(x), keepdims=b.pick(None, 0, 1))


def softmax(b: Builder) -> str | None:
    """Softmax and its kin, along any axis or the default one."""
    x = b.floating(1)
    if x is None:
        return None
    axis = None if b.chance(0.2) else b.axis(x)
    return b.one(b.pick("Softmax", "Softmax", "LogSoftmax", "Hardmax"), x, axis=axis)


def cumsum(b: Builder) -> str | None:
    """Running sums."""
    x = b.tensor(lambda a: a.ndim > 0 and a.dtype in (np.float32, np.float64, np.int32, np.int64))
    if x is None:
        return None
    axis = b.constant(np.array(b.axis(x), np.int64))
    return b.one("CumSum", x, axis, exclusive=b.pick(None, 0, 1), reverse=b.pick(None, 1))


def topk(b: Builder) -> str | None:
    """The largest values and their indices."""
    x = b.tensor(lambda a: a.ndim > 0 and a.size > 0 and a.dtype != values.BOOL)
    if x is None:
        return None
    axis = b.axis(x)
    count = b.ints([b.rng.randint(0, b.arrays[x].shape[axis])])
    attrs = {"largest": b.pick(None, 0)} if b.opset >= 11 else {}
    made = b.node("TopK", [x, count], outputs=2, axis=axis, **attrs)
    return made[0] if made else None


def norm(b: Builder) -> str | None:
    """LpNormalization, LayerNormalization, RMSNormalization or MeanVarianceNormalization."""
    x = b.floating(1)
    if x is None:
        return None
    array = b.arrays[x]
    match b.rng.randrange(3):
        case 0:
            return b.one("LpNormalization", x, axis=b.axis(x), p=b.pick(1, 2))
        case 1:
            axis = b.axis(x)
            shape = array.shape[axis:]
            inputs = [x, b.constant(values.ordinary(b.rng, array.dtype, shape))]
            if b.chance(0.6):
                inputs.append(b.constant(values.ordinary(b.rng, array.dtype, shape)))
            return b.one("LayerNormalization", *inputs, axis=axis, epsilon=b.pick(None, 1e-3))
        case _:
            return b.one("MeanVarianceNormalization", x) if array.ndim == 4 else None
