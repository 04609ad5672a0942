"""What moves elements and computes nothing."""

from __future__ import annotations

import numpy as np

from .draft import Draft, is_float
from tests.strategies.network import Array


def transpose(d: Draft) -> None:
    x = d.tensor()
    if x is not None:
        order = list(range(d.values[x].ndim))
        d.rng.shuffle(order)
        d.add("Transpose", [x], perm=order if d.flip(0.8) else None, exact=True)


def reshape(d: Draft) -> None:
    x = d.tensor()
    if x is None:
        return
    shape = list(d.values[x].shape)
    kind = d.between(0, 4)
    if kind == 0 and shape:
        d.add("Flatten", [x], axis=d.between(-len(shape) + 1, len(shape)), exact=True)
        return
    if kind == 1 and len(shape) > 1:
        at = d.between(0, len(shape) - 2)
        wanted = [*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]]
    elif kind == 2:
        wanted = [-1]
    elif kind == 3 and shape:
        at = d.between(0, len(shape) - 1)
        wanted = [0 if i < at and shape[i] else size for i, size in enumerate(shape)]
        wanted.insert(at, 1)
    else:
        wanted = sorted(shape)
    if wanted and d.flip(0.3) and -1 not in wanted:
        wanted[d.between(0, len(wanted) - 1)] = -1
    d.add("Reshape", [x, d.constant(wanted, np.int64)], exact=True)


def squeeze(d: Draft) -> None:
    x = d.tensor()
    if x is None:
        return
    shape = d.values[x].shape
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    if ones and d.flip():
        op, axes = "Squeeze", [d.rng.choice(ones)]
    else:
        op, axes = "Unsqueeze", [d.between(-len(shape) - 1, len(shape))]
    if d.opset >= 13:
        d.add(op, [x, d.constant(axes, np.int64)], exact=True)
    else:
        d.add(op, [x], axes=axes, exact=True)


_FAR = (1 << 63) - 1


def slice_(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0)
    if x is None:
        return
    shape = d.values[x].shape
    axes = sorted(d.rng.sample(range(len(shape)), d.between(1, min(2, len(shape)))))
    steps = [d.pick(1, 1, 1, 2, 3, -1, -2) for _ in axes]
    starts, ends = [], []
    for axis, step in zip(axes, steps, strict=True):
        size = shape[axis]
        starts.append(d.pick(0, 1, -1, -2, size, d.between(-size - 1, size + 1), _FAR, -_FAR))
        ends.append(d.pick(size, -1, _FAR, d.between(-size - 1, size + 1), -_FAR - 1))
        if step > 0 and d.flip(0.6):
            starts[-1], ends[-1] = d.between(0, max(0, size - 1)), d.pick(_FAR, size, 1 << 31)
    signed = [axis - len(shape) if d.flip(0.3) else axis for axis in axes]
    given = [d.constant(v, np.int64) for v in (starts, ends, signed, steps)]
    d.add("Slice", [x, *given], exact=True)


def split(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0)
    if x is None:
        return
    shape = d.values[x].shape
    axis = d.between(0, len(shape) - 1)
    cut = d.between(0, shape[axis])
    sizes = [cut, shape[axis] - cut]
    if d.flip(0.2):
        sizes.insert(d.between(0, 2), 0)
    signed = axis - len(shape) if d.flip(0.3) else axis
    if d.opset >= 13:
        made = d.constant(sizes, np.int64)
        d.add("Split", [x, made], outputs=len(sizes), axis=signed, exact=True)
    else:
        d.add("Split", [x], outputs=len(sizes), axis=signed, split=sizes, exact=True)


def concat(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0)
    if x is None:
        return
    values = d.values[x]
    axis = d.pick(min(1, values.ndim - 1), d.between(0, values.ndim - 1))

    def fits(v: Array) -> bool:
        same = [
            a == b for i, (a, b) in enumerate(zip(v.shape, values.shape, strict=False)) if i != axis
        ]
        return v.dtype == values.dtype and v.ndim == values.ndim and all(same)

    parts = [x]
    for _ in range(d.between(1, 2)):
        if d.flip(0.2):
            shape = list(values.shape)
            shape[axis] = d.between(0, 2)
            made = d.numbers.integers(0, 2, shape)
            parts.append(d.constant(made, values.dtype))
        else:
            parts.append(d.tensor(fits) or x)
    d.rng.shuffle(parts)
    d.add("Concat", parts, axis=axis - values.ndim if d.flip(0.3) else axis, exact=True)


def tile(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0)
    if x is None:
        return
    shape = d.values[x].shape
    if d.flip():
        d.add("Tile", [x, d.constant([d.pick(1, 1, 2, 3) for _ in shape], np.int64)], exact=True)
    else:
        wanted = [d.pick(1, size) if size != 1 else d.pick(1, 3) for size in shape]
        wanted = [2] * d.between(0, 1) + wanted
        d.add("Expand", [x, d.constant(wanted, np.int64)], exact=True)


def pad(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0 and v.dtype in (np.float32, np.int64))
    if x is None:
        return
    values = d.values[x]
    pads = [d.pick(0, 0, 1, 2, -1) for _ in range(2 * values.ndim)]
    mode = d.pick("constant", "constant", "reflect", "edge")
    inputs = [x, d.constant(pads, np.int64)]
    if mode == "constant" and d.flip():
        inputs.append(d.constant(2, values.dtype))
    d.add("Pad", inputs, mode=mode, exact=True)


def rearrange(d: Draft) -> None:
    """Move blocks of positions into channels, or channels into blocks."""
    into = d.flip()
    at = slice(2, 4) if into else slice(1, 2)
    size = d.pick(2, 2, 3)
    part = size if into else size * size
    x = d.tensor(lambda v: is_float(v) and v.ndim == 4 and not any(s % part for s in v.shape[at]))
    if x is None:
        return
    if into:
        d.add("SpaceToDepth", [x], blocksize=size, exact=True)
    else:
        mode = d.pick("DCR", "CRD") if d.opset >= 11 else None
        d.add("DepthToSpace", [x], blocksize=size, mode=mode, exact=True)
