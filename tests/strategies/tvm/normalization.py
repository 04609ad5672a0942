"""Normalizations, over channels, groups and whatever is behind an axis."""

from __future__ import annotations

import numpy as np

from .draft import Draft, is_float


def normalization(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim >= 2 and v.size > 0)
    if x is None:
        return
    shape = d.values[x].shape
    kind = d.pick("Layer", "Instance", "Batch", "Group", "LRN", "Lp")
    if kind == "Layer":
        axis = d.between(1, len(shape) - 1)
        scale, shift = (d.constant(d.normal(*shape[axis:])) for _ in range(2))
        d.add("LayerNormalization", [x, scale, shift], axis=d.pick(axis, axis - len(shape)))
    elif kind == "LRN" and len(shape) == 4:
        d.add("LRN", [x], size=d.pick(1, 3, 5), alpha=0.01)
    elif kind == "Lp":
        d.add("LpNormalization", [x], axis=d.between(0, len(shape) - 1), p=d.pick(1, 2))
    elif kind == "Batch":
        a, b, c = (d.constant(d.normal(shape[1])) for _ in range(3))
        var = d.constant(np.abs(d.normal(shape[1])) + np.float32(0.1))
        d.add("BatchNormalization", [x, a, b, c, var])
    elif len(shape) >= 3 and np.prod(shape[2:]) > 1:  # of one element, rounding alone is left
        a, b = (d.constant(d.normal(shape[1])) for _ in range(2))
        if kind == "Instance":
            d.add("InstanceNormalization", [x, a, b])
        elif d.opset >= 21:
            groups = d.rng.choice([g for g in range(1, shape[1] + 1) if shape[1] % g == 0])
            d.add("GroupNormalization", [x, a, b], num_groups=groups)
