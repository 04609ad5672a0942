"""Weights on grids whose scales belong to channels, or to blocks of one channel.

    w ~ s (q - z)                                  one s, and one z, for each row of weights
    s = max |w| / qmax                             `max`: nothing is cut off, |w - w'| <= s/2
    s = argmin sum (w - s (q(w; s) - z))^2         `mse`: cutting off a few large weights costs
                                                   less than a coarse step costs all others

A row is what shares one scale: a channel, or `size` weights in a row along an axis. The least
squares are found from candidates s = f max|w| / qmax, each a valid grid, and then by turns: with q
fixed, s = <w, q-z> / <q-z, q-z> is the best step, and with s fixed, rounding gives the best q, so
the error falls at every turn and is never above that of `max`.

Source: ONNX operator DequantizeLinear, opset 21 (`block_size`); the turns are Lloyd's algorithm
("Least squares quantization in PCM", 1982) on a uniform grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .formats import IntegerFormat
from .grid import grid_of_range, lattice_steps

Array = np.ndarray[Any, Any]
Search = Literal["max", "mse"]

_FACTORS = np.linspace(1.0, 0.4, 25)
_TURNS = 4
_CHUNK = 1 << 17  # weights looked at together, so that the search takes little memory


@dataclass(frozen=True)
class Blocks:
    """Which weights share a scale: those of one index of `axis`, or `size` in a row along it."""

    axis: int
    size: int | None = None

    def rows(self, values: Array) -> Array:
        """Return `values` as [scales, weights a scale]; the last block of a line ends in zeros."""
        if self.size is None:
            return np.moveaxis(values, self.axis, 0).reshape(values.shape[self.axis], -1)
        lines = np.moveaxis(values, self.axis, -1)
        missing = -lines.shape[-1] % self.size
        if missing:
            lines = np.pad(lines, [(0, 0)] * (lines.ndim - 1) + [(0, missing)])
        return lines.reshape(-1, self.size)

    def parameters(self, found: Array, shape: tuple[int, ...]) -> Array:
        """Return one value a row as DequantizeLinear wants them for weights of `shape`.

        [shape[axis]], or `shape` with ceil(shape[axis] / size) in the place of the axis.
        """
        if self.size is None:
            return found
        others = (*shape[: self.axis], *shape[self.axis + 1 :])
        lines = found.reshape(*others, -(-shape[self.axis] // self.size))
        return np.ascontiguousarray(np.moveaxis(lines, -1, self.axis))

    def spread(self, parameters: Array, shape: tuple[int, ...]) -> Array:
        """Return `parameters` so that they broadcast against weights of `shape`."""
        if self.size is None:
            return parameters.reshape(*[-1 if i == self.axis else 1 for i in range(len(shape))])
        each = np.repeat(parameters, self.size, axis=self.axis)
        return np.take(each, range(shape[self.axis]), axis=self.axis)

    def count(self, shape: tuple[int, ...]) -> int:
        """Return the number of scales that weights of `shape` need."""
        length = shape[self.axis]
        if self.size is None:
            return length
        return math.prod(shape) // max(length, 1) * -(-length // self.size)


@dataclass(frozen=True)
class BlockGrid:
    """Scales (float32 or float16, positive) and zero points (int64), as `Blocks.parameters`."""

    scale: Array
    zero_point: Array
    format: IntegerFormat
    blocks: Blocks

    def quantize(self, x: Array) -> Array:
        """Return the integers of `x` in the format's stored type."""
        scale, zero = self._spread(x.shape)
        whole = np.rint(np.asarray(x, np.float64) / scale) + zero
        clipped = np.clip(whole, self.format.qmin, self.format.qmax)
        return np.asarray(clipped.astype(np.int32).astype(self.format.dtype))

    def dequantize(self, q: Array) -> Array:
        """Return the float32 values of the integers `q`."""
        scale, zero = self._spread(q.shape)
        return np.asarray((q.astype(np.float64) - zero) * scale).astype(np.float32)

    def _spread(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        scale = self.blocks.spread(self.scale.astype(np.float64), shape)
        return scale, self.blocks.spread(self.zero_point, shape)


def fit_grid(
    weights: Array,
    form: IntegerFormat,
    blocks: Blocks,
    *,
    symmetric: bool = True,
    search: Search = "mse",
    scale_type: Any = np.float32,
) -> BlockGrid:
    """Return the grid of `weights`, which must be finite.

    Rows that lie on a symmetric grid already, as rounding passes, training and dequantization
    leave them, keep its step, so that nothing changes. `scale_type`: float32 or float16; float16
    is widened to float32 where it would move a step that must be kept, or is too small for it. A
    few rows of weights far smaller than the others (dead channels) do not count as too small: they
    get a coarser step, which is still far finer than that of the others.
    """
    rows = np.ascontiguousarray(blocks.rows(weights), np.float32)
    scale = np.ones(len(rows), np.float64)
    zero = np.zeros(len(rows), np.int64)
    kept = np.zeros(len(rows), bool)
    step = max(1, _CHUNK // max(rows.shape[1], 1))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        found = _fit(rows[part].astype(np.float64), form, symmetric, search)
        scale[part], zero[part], kept[part] = found
    if np.dtype(scale_type) != np.float32:
        raised = _raise_tiny(scale, kept, np.dtype(scale_type))
        if _fits(raised, kept & (raised == scale), np.dtype(scale_type)):
            scale = raised
        else:
            scale_type = np.float32
    stored = scale.astype(scale_type)
    if search == "max":  # rounding a step down would cut off the largest weight
        stored = np.where(stored < scale, np.nextafter(stored, stored.dtype.type(np.inf)), stored)
    shape = weights.shape
    return BlockGrid(blocks.parameters(stored, shape), blocks.parameters(zero, shape), form, blocks)


def _fit(
    rows: Array, form: IntegerFormat, symmetric: bool, search: Search
) -> tuple[Array, Array, Array]:
    """Return step, zero point, and whether the row lies on its grid already, for each of `rows`."""
    low, high = rows.min(axis=1, initial=0.0), rows.max(axis=1, initial=0.0)
    grid = grid_of_range(low, high, form, symmetric=symmetric)
    scale, zero = grid.scale.astype(np.float64), grid.zero_point
    steps = lattice_steps(rows, 2 ** (form.bits - 1) - 1)
    kept = ~np.isnan(steps)
    scale = np.where(kept, steps, scale)
    if not symmetric:
        lowest = np.rint(form.qmin - low / scale).astype(np.int64)
        zero = np.where(kept, np.clip(lowest, form.qmin, form.qmax), zero)
    if search == "mse" and not kept.all():
        free = ~kept
        scale[free] = _least_squares(rows[free], scale[free], zero[free], form)
    return scale, zero, kept


def _least_squares(rows: Array, scale: Array, zero: Array, form: IntegerFormat) -> Array:
    """Return the steps of least squared error near `scale`, never worse than `scale`."""
    best, least = scale.copy(), _error(rows, scale, zero, form)
    for factor in _FACTORS[1:]:
        best, least = _better(rows, factor * scale, zero, form, best, least)
    for _ in range(_TURNS):
        centred = _centred(rows, best, zero, form)
        square = (centred * centred).sum(axis=1)
        step = (rows * centred).sum(axis=1) / np.where(square > 0, square, 1.0)
        best, least = _better(rows, np.where(step > 0, step, best), zero, form, best, least)
    return best


def _better(
    rows: Array, tried: Array, zero: Array, form: IntegerFormat, best: Array, least: Array
) -> tuple[Array, Array]:
    error = _error(rows, tried, zero, form)
    return np.where(error < least, tried, best), np.minimum(error, least)


def _error(rows: Array, scale: Array, zero: Array, form: IntegerFormat) -> Array:
    difference = rows - scale[:, None] * _centred(rows, scale, zero, form)
    return np.asarray((difference * difference).sum(axis=1))


def _centred(rows: Array, scale: Array, zero: Array, form: IntegerFormat) -> Array:
    """Return q - z: the integers of `rows`, counted from the zero point."""
    low, high = form.qmin - zero[:, None], form.qmax - zero[:, None]
    return np.asarray(np.clip(np.rint(rows / scale[:, None]), low, high))


def _raise_tiny(scale: Array, kept: Array, dtype: np.dtype[Any]) -> Array:
    """Return `scale` with the steps that `dtype` is too coarse for raised to the least it is not.

    As long as that is a sixteenth of what half of the rows have: so the error of these rows stays
    far below that of the others. Where most rows lie on a grid already, such rows keep theirs too;
    where few do, they do by chance, being multiples of the least float that they were rounded to.
    """
    least = _least(dtype)
    if not scale.size or 16 * least > float(np.median(scale)):
        return scale
    tiny = scale < least
    if 2 * np.count_nonzero(kept) >= len(kept):
        tiny &= ~kept
    return np.where(tiny, least, scale)


def _least(dtype: np.dtype[Any]) -> float:
    """Return the least step that `dtype` holds with six bits, below its normal numbers."""
    return 64 * float(np.finfo(dtype).smallest_subnormal)


def _fits(scale: Array, kept: Array, dtype: np.dtype[Any]) -> bool:
    """Say whether steps lose nothing that matters in `dtype`: no range, no grid kept exactly.

    Steps below the normal numbers do as long as they keep six bits: weights are rounded to what is
    stored.
    """
    info = np.finfo(dtype)
    if (scale < _least(dtype)).any() or (scale > info.max / 2).any():
        return False
    return bool((scale[kept].astype(dtype).astype(np.float64) == scale[kept]).all())
