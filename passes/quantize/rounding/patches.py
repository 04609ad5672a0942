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

from ...linear.layer import Layer

Array = np.ndarray[Any, Any]


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
    """Return the outputs [P, G, M/G] of `layer` at flat `positions`."""
    moved = np.moveaxis(result, layer.axis, -1)
    where = np.unravel_index(positions, moved.shape[:-1])
    return moved[where].reshape(len(positions), layer.group, -1)


def patches_at(layer: Layer, source: Array, result: Array, positions: Array) -> Array:
    """Return the inputs [P, G, K] that `layer` reads from `source` for flat `positions`."""
    if not layer.is_spatial:
        if layer.node.attrs.get("transA", 0):
            source = source.T
        return source.reshape(-1, 1, source.shape[-1])[positions]
    spatial = result.shape[2:]
    batch, *outer = np.unravel_index(positions, (len(result), *spatial))
    kernel = layer.weight.shape[2:]
    rank = len(kernel)
    strides = layer.node.attrs.get("strides") or [1] * rank
    dilations = layer.node.attrs.get("dilations") or [1] * rank
    begins = _begins(layer, source.shape[2:], spatial)
    inside = np.ones((len(positions), *kernel), bool)
    index = []
    for axis in range(rank):
        taps = np.arange(kernel[axis]) * dilations[axis]
        if layer.op == "Conv":
            at = outer[axis][:, None] * strides[axis] - begins[axis] + taps
            valid = np.ones(at.shape, bool)
        else:
            reached = outer[axis][:, None] + begins[axis] - taps
            at, rest = np.divmod(reached, strides[axis])
            valid = rest == 0
        size = source.shape[2 + axis]
        valid &= (at >= 0) & (at < size)
        shape = [len(positions), *[1] * rank]
        shape[1 + axis] = -1
        index.append(np.clip(at, 0, size - 1).reshape(shape))
        inside &= valid.reshape(shape)
    moved = np.moveaxis(source, 1, -1)
    found = moved[(batch.reshape(-1, *[1] * rank), *index)]  # [P, k..., C]
    if not inside.all():
        found = found * inside[..., None]
    found = np.moveaxis(found, -1, 1)
    return np.ascontiguousarray(found).reshape(len(positions), layer.group, -1)


def _begins(layer: Layer, sizes: Sequence[int], results: Sequence[int]) -> list[int]:
    """Return the padding before the first element of each axis; SAME pads follow from the sizes."""
    attrs = layer.node.attrs
    rank = len(sizes)
    auto = attrs.get("auto_pad", "NOTSET")
    if auto == "VALID":
        return [0] * rank
    explicit = [int(pad) for pad in attrs.get("pads") or [0] * (2 * rank)]
    if auto == "NOTSET" and "output_shape" not in attrs:
        return explicit[:rank]
    strides = attrs.get("strides") or [1] * rank
    dilations = attrs.get("dilations") or [1] * rank
    begins = []
    for axis, (size, result) in enumerate(zip(sizes, results, strict=True)):
        reach = (layer.weight.shape[2 + axis] - 1) * dilations[axis] + 1
        if layer.op == "Conv":
            total = max(0, (result - 1) * strides[axis] + reach - size)
        else:
            extra = (attrs.get("output_padding") or [0] * rank)[axis]
            total = max(0, (size - 1) * strides[axis] + extra + reach - result)
        more_before = auto == "SAME_LOWER" if layer.op == "Conv" else auto != "SAME_UPPER"
        begins.append(total - total // 2 if more_before else total // 2)
    return begins
