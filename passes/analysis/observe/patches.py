"""What a linear layer reads for one output: im2col at chosen positions, for every operator.

    y[p, g, m] = sum_k W[g, m, k] x[p, g, k] + b[g, m]       k runs over input channels and taps

Taps beyond the border read zeros. For ConvTranspose tap d of output o reads input
(o + pad - d * dilation) / stride where that is a whole number, and zero elsewhere (ONNX operators
Conv and ConvTranspose).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.ops.linear.layer import Layer
from ....ir.ops.linear.operators import reads_transposed
from ....ir.ops.windows.attributes import window_attributes

Array = np.ndarray[Any, Any]

_LEAST = 4096


def positions_per_feed(layer: Layer, most: int, feeds: int) -> int:
    """Return the positions of `layer` to look at in each of `feeds`: of all, `most` at most.

    Fewer for a layer of few weights, whose moments a small part of them settles.
    """
    columns = layer.weight.size // layer.outputs
    return -(-min(most, max(_LEAST, 8 * columns)) // max(feeds, 1))


def draw_positions(shape: Sequence[int], most: int, generator: np.random.Generator) -> Array:
    """Return flat indices of positions in an array of `shape`: all, or `most` drawn ones."""
    total = math.prod(shape)
    if total <= most:
        return np.arange(total)
    return np.sort(generator.choice(total, most, replace=False))


def position_shape(layer: Layer, result: Array) -> tuple[int, ...]:
    """Return the sizes over which a `result` of `layer` has positions: all but channels."""
    sizes = result.shape
    return (sizes[0], *sizes[2:]) if layer.is_spatial else tuple(sizes[:-1])


def results_at(layer: Layer, result: Array, positions: Array) -> Array:
    """Return the outputs [G, M/G, P] of `layer` at flat `positions`."""
    if not layer.is_spatial:
        return np.ascontiguousarray(result.reshape(-1, result.shape[-1])[positions].T)[None]
    sizes = position_shape(layer, result)
    batch, inner = np.divmod(positions, math.prod(sizes[1:]))
    return _gather(result, batch, inner[None]).reshape(layer.group, -1, len(positions))


def patches_at(layer: Layer, source: Array, result: Array, positions: Array) -> Array:
    """Return the inputs [G, K, P] that `layer` reads from `source` for flat `positions`."""
    if not layer.is_spatial:
        if reads_transposed(layer.node):
            source = source.T
        return np.ascontiguousarray(source.reshape(-1, source.shape[-1])[positions].T)[None]
    batch, *outer = np.unravel_index(positions, position_shape(layer, result))
    kernel = layer.weight.shape[2:]
    rank = len(kernel)
    window = window_attributes(layer.op, layer.node.attrs, kernel)
    strides, dilations = window.strides, window.dilations
    begins, _ = window.pads(source.shape[2:])
    inside = np.ones((*kernel, len(positions)), bool)
    index = np.zeros(inside.shape, np.intp)
    for axis in range(rank):
        taps = np.arange(kernel[axis])[:, None] * dilations[axis]
        if layer.op == "Conv":
            at = outer[axis] * strides[axis] - begins[axis] + taps
            valid = np.ones(at.shape, bool)
        else:
            at, rest = np.divmod(outer[axis] + begins[axis] - taps, strides[axis])
            valid = rest == 0
        size = source.shape[2 + axis]
        valid &= (at >= 0) & (at < size)
        shape = [1] * rank + [len(positions)]
        shape[axis] = kernel[axis]
        index = index * size + np.clip(at, 0, size - 1).reshape(shape)
        inside &= valid.reshape(shape)
    found = _gather(source, batch, index.reshape(-1, len(positions)))
    if not inside.all():
        found *= inside.reshape(-1, len(positions))
    return found.reshape(layer.group, -1, len(positions))


def _gather(array: Array, batch: Array, index: Array) -> Array:
    """Return [C, T, P]: channel c of sample batch[p] at flat index[t, p]."""
    flat = array.reshape(*array.shape[:2], -1)
    found = np.empty((flat.shape[1], *index.shape), array.dtype)
    for number in np.unique(batch):
        here = np.flatnonzero(batch == number)
        span = slice(here[0], here[-1] + 1)  # positions are sorted
        np.take(flat[number], index[:, span], axis=1, out=found[..., span], mode="clip")
    return found
