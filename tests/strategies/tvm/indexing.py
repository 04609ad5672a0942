"""Gathers and scatters, by indices that are constant or an input."""

from __future__ import annotations

import numpy as np

from .draft import Draft, is_float
from tests.strategies.network import Array


def gather(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0 and v.size > 0)
    if x is None:
        return
    shape = d.values[x].shape
    axis = d.between(0, len(shape) - 1)
    size = shape[axis]
    op = d.pick("Gather", "Gather", "GatherElements", "GatherND")
    if op == "Gather":
        wanted = [d.between(1, 3) for _ in range(d.between(0, 2))]
        indices = d.numbers.integers(-size, size, wanted)
    elif op == "GatherElements":
        indices = d.numbers.integers(-size, size, [d.between(1, s) for s in shape])
    else:
        depth = d.between(1, len(shape))
        rows = d.between(1, 3)
        indices = np.stack([d.numbers.integers(-s, s, rows) for s in shape[:depth]], axis=-1)
    name = _indices(d, indices)
    d.add(op, [x, name], axis=None if op == "GatherND" else axis, exact=True)


def _indices(d: Draft, values: Array) -> str:
    """Return indices as a constant, or as an input of the graph."""
    if d.flip(0.6):
        return d.constant(values, np.int64)
    return d.feed(f"i{len(d.inputs)}", values.astype(np.int64))


def scatter(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim > 0 and v.size > 0)
    if x is None:
        return
    shape = d.values[x].shape
    if d.flip():
        rows = d.rng.sample(range(shape[0]), d.between(1, shape[0]))
        updates = d.constant(d.normal(len(rows), *shape[1:]))
        d.add("ScatterND", [x, _indices(d, np.array(rows)[:, None]), updates], exact=True)
        return
    axis = d.between(0, len(shape) - 1)
    order = d.numbers.permutation(shape[axis])
    wide = np.moveaxis(np.broadcast_to(order, (*np.delete(shape, axis), shape[axis])), -1, axis)
    updates = d.constant(d.normal(*shape))
    d.add("ScatterElements", [x, _indices(d, wide), updates], axis=axis, exact=True)
