"""Quantization grids: real = scale * (integer - zero_point).

    scale      = (max - min) / (qmax - qmin)                 min <= 0 <= max
    zero_point = clip(round(qmin - min / scale), qmin, qmax)
    q          = clip(round(x / scale) + zero_point, qmin, qmax)      round half to even

as ONNX's QuantizeLinear and DequantizeLinear have it. The range is widened to contain 0, which then
is an integer exactly: padding, Relu and absent taps stay what they are. The formula that is often
printed, floor((max - x) / (max - min) * (bmax - bmin) + bmin), runs backwards (the largest x gets
the smallest integer), floors (a bias of half a step instead of an error of at most half a step
either way) and has no zero point, so 0 falls between two integers.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (CVPR 2018), section 2.1; ONNX operator specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .formats import IntegerFormat

Array = np.ndarray[Any, Any]

# A float32 scale below this has no float32 reciprocal, and products with it are denormal.
_LEAST_SCALE = float(np.finfo(np.float32).tiny) * 2.0**8
# Largest distance from an integer that the float32 product scale * integer leaves behind.
_ON_GRID = 1e-4


@dataclass(frozen=True)
class QuantizationGrid:
    """`scale` (float32, positive) and `zero_point` (integers in int64) of a tensor.

    Both have rank 0, or rank 1 with one entry for each index of `axis`.
    """

    scale: Array
    zero_point: Array
    format: IntegerFormat
    axis: int | None = None

    def quantize(self, x: Array) -> Array:
        """Return the integers of `x` in the format's stored type; NaN becomes the zero point."""
        scale, zero = self._aligned(x.ndim)
        whole = np.rint(np.asarray(x, np.float64) / scale) + zero
        whole = np.where(np.isnan(whole), zero, whole)
        clipped = np.clip(whole, self.format.qmin, self.format.qmax)
        found: Array = clipped.astype(np.int32).astype(self.format.dtype)
        return found

    def dequantize(self, q: Array) -> Array:
        """Return the float32 values of the integers `q`."""
        scale, zero = self._aligned(q.ndim)
        centred = q.astype(np.int32).astype(np.float64) - zero
        return np.asarray(centred * scale).astype(np.float32)

    def round(self, x: Array) -> Array:
        """Return `x` moved to the nearest value of the grid, in float32."""
        return self.dequantize(self.quantize(x))

    def _aligned(self, rank: int) -> tuple[Array, Array]:
        scale, zero = self.scale.astype(np.float64), self.zero_point
        if self.axis is None:
            return scale, zero
        shape = [1] * rank
        shape[self.axis] = -1
        return scale.reshape(shape), zero.reshape(shape)


def grid_of_range(
    minimum: Array | float,
    maximum: Array | float,
    form: IntegerFormat,
    *,
    symmetric: bool = False,
    axis: int | None = None,
) -> QuantizationGrid:
    """Return the grid whose integers span [`minimum`, `maximum`], widened to contain 0.

    `minimum`, `maximum`: scalars, or one entry for each index of `axis`. `symmetric`: the range
    becomes [-m, m] with m the larger magnitude, and the zero point 0 (the middle of an unsigned
    format). A range of one point, 0, gets the scale 1.
    """
    low = np.minimum(np.asarray(minimum, np.float64), 0.0)
    high = np.maximum(np.asarray(maximum, np.float64), 0.0)
    qmin, qmax = form.qmin, form.qmax
    if symmetric:
        zero = np.full(low.shape, 0 if form.signed else (qmax + 1) // 2, np.int64)
        scale = np.maximum(-low, high) / (qmax - zero)
    else:
        scale = (high - low) / (qmax - qmin)
    empty = scale < _LEAST_SCALE
    scale = np.asarray(np.where(empty, 1.0, scale), np.float32)
    if not symmetric:
        zero = np.clip(np.rint(qmin - low / scale), qmin, qmax).astype(np.int64)
    return QuantizationGrid(scale, zero, form, axis)


def grid_of_weights(weights: Array, form: IntegerFormat, axis: int | None) -> QuantizationGrid:
    """Return the symmetric grid of `weights`, one scale for each index of `axis` (None: one).

    Of an unsigned format the zero point is its middle.

    Weights that lie on a grid already, as rounding passes, training and dequantization leave them,
    keep that grid, so that quantizing them changes nothing; others get scale = max |w| / qmax.
    """
    rows = _rows(weights, axis)
    most = np.abs(rows).max(axis=1, initial=0.0)
    grid = grid_of_range(-most, most, form, symmetric=True, axis=axis)
    steps = lattice_steps(rows, form.qmax - int(grid.zero_point[0]) if len(rows) else form.qmax)
    scale = np.where(np.isnan(steps), grid.scale, steps).astype(np.float32)
    empty = most < _LEAST_SCALE
    if empty.any() and not empty.all():
        # Any scale does for zeros; a small one keeps the digits of the bias, which is stored at it.
        scale[empty] = scale[~empty].min()
    shape = () if axis is None else scale.shape
    return QuantizationGrid(scale.reshape(shape), grid.zero_point.reshape(shape), form, axis)


def lattice_steps(rows: Array, qmax: int) -> Array:
    """Return, for each row, the step s of which every value is an integer multiple, NaN for none.

    The largest multiple lies in the upper half of 1 to `qmax`, as rounding to a grid of that many
    leaves it. A row with fewer than two values that are not 0 has no step of its own.
    """
    values = np.abs(rows).astype(np.float64)
    largest = values.max(axis=1, initial=0.0)
    most = np.arange(qmax, qmax // 2, -1)
    found = np.full(len(values), np.nan)
    candidates = np.count_nonzero(values, axis=1) >= 2
    steps = np.where(candidates, largest, 1.0)[:, None] / most
    # A few values rule out nearly every step, so that few rows are looked at as a whole.
    for column in _probes(values.shape[1]):
        steps = np.where(_is_whole(values[:, column, None] / steps), steps, np.inf)
    for row in np.flatnonzero(candidates & np.isfinite(steps).any(axis=1)):
        for step in steps[row][np.isfinite(steps[row])]:
            if _is_whole(values[row] / step).all():
                found[row] = step
                break
    return found


def _probes(length: int) -> list[int]:
    return sorted({0, length // 3, length // 2, length - 1} - {-1})


def _is_whole(values: Array) -> Array:
    return np.asarray(np.abs(values - np.rint(values)) <= _ON_GRID)


def _rows(weights: Array, axis: int | None) -> Array:
    if axis is None:
        return weights.reshape(1, -1)
    return np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
