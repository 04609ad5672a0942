"""Nodes that interpolate a tensor, in PyTorch's exporter's graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..sizes.numbers import noted_value
from .axis import InterpolatedAxis

_SPATIAL = 2  # the first axis that is interpolated


class Resized:
    """What is written for one value, `x`; `sizes` and `factors` are PyTorch's, or None."""

    def __init__(self, x: Any, sizes: Any, factors: Sequence[float | None]) -> None:
        from onnxscript.onnx_opset import opset18

        self._op: Any = opset18
        self._x = x
        before = noted_value(x).shape[_SPATIAL:]
        self._sizes = list(sizes or [None] * len(before))
        self._axes = [
            InterpolatedAxis.of(size, _noted_size(given), factor)
            for size, given, factor in zip(
                before, self._sizes, factors or [None] * len(before), strict=True
            )
        ]

    def nearest(self) -> Any:
        """Return the elements that PyTorch picks."""
        factors = [axis.factor for axis in self._axes]
        of_a_kind = None not in factors or not any(factors)
        if of_a_kind and all(axis.picks_the_same() for axis in self._axes):
            return self._resize("nearest", "asymmetric", 0, factors)
        y = self._x
        for i in range(len(self._axes)):
            y = self._op.Gather(y, self._pixels(i), axis=_SPATIAL + i)
        return y

    def smooth(self, mode: str, antialias: int, corners: bool) -> Any:
        """Return linear or cubic interpolation; `corners` stay where they are."""
        factors = [axis.factor for axis in self._axes]
        if corners:
            if any(axis.factor is None or axis.factor != axis.times for axis in self._axes):
                factors = []
            return self._resize(mode, "align_corners", antialias, factors)
        if None in factors:
            if any(factor is not None for factor in factors):
                raise ValueError("it interpolates by a factor along some axes alone")
            return self._resize(mode, "half_pixel", antialias, [])
        enough = [axis.enough() for axis in self._axes]
        y = self._resize(mode, "half_pixel", antialias, enough)
        more = [i for i, axis in enumerate(self._axes) if not axis.yields(enough[i])]
        if not more:
            return y
        ends = self._op.Concat(*map(self._after, more), axis=0)
        axes = [_SPATIAL + i for i in more]
        return self._op.Slice(y, self._integers([0] * len(axes)), ends, self._integers(axes))

    def _resize(self, mode: str, coordinates: str, antialias: int, factors: Sequence[Any]) -> Any:
        """Return Resize by `factors`, or to the sizes where there are none."""
        import onnx_ir as ir

        op = self._op
        scales = sizes = None
        if factors and None not in factors:
            single = np.array([1, 1, *factors], np.float32)
            scales = op.Constant(value=ir.tensor(single))
        else:
            spatial = map(self._after, range(len(self._axes)))
            sizes = op.Concat(op.Shape(self._x, start=0, end=_SPATIAL), *spatial, axis=0)
        return op.Resize(
            self._x,
            None,
            scales,
            sizes,
            mode=mode,
            coordinate_transformation_mode=coordinates,
            nearest_mode="floor",
            cubic_coeff_a=-0.5 if antialias else -0.75,
            antialias=antialias,
            exclude_outside=antialias,
        )

    def _pixels(self, i: int) -> Any:
        """Return the indices that PyTorch picks along an axis, in its arithmetic."""
        import onnx_ir as ir

        op, axis = self._op, self._axes[i]
        if axis.is_known:
            return self._integers(axis.pixels())
        before, after = op.Squeeze(self._before(i)), op.Squeeze(self._after(i))
        if axis.factor is None:
            step = op.Div(*(op.Cast(size, to=ir.DataType.FLOAT) for size in (before, after)))
        else:
            step = op.Constant(value=ir.tensor(axis.step))
        results = op.Range(self._integers(0), after, self._integers(1))
        places = op.Floor(op.Mul(op.Cast(results, to=ir.DataType.FLOAT), step))
        last = op.Sub(before, self._integers(1))
        return op.Min(op.Cast(places, to=ir.DataType.INT64), last)

    def _before(self, i: int) -> Any:
        """Return the size of an axis of `x`, a vector of one."""
        return self._op.Shape(self._x, start=_SPATIAL + i, end=_SPATIAL + i + 1)

    def _after(self, i: int) -> Any:
        """Return the size of an axis of the result, a vector of one."""
        import onnx_ir as ir

        op, axis, given = self._op, self._axes[i], self._sizes[i]
        if isinstance(axis.after, int):
            return self._integers([axis.after])
        if given is not None:
            return op.Reshape(given, self._integers([1]))
        factor = op.Constant(value=ir.tensor(float(axis.factor or 0), ir.DataType.DOUBLE))
        product = op.Mul(op.Cast(self._before(i), to=ir.DataType.DOUBLE), factor)
        return op.Cast(product, to=ir.DataType.INT64)

    def _integers(self, values: Any) -> Any:
        import onnx_ir as ir

        return self._op.Constant(value=ir.tensor(np.asarray(values, np.int64)))


def _noted_size(given: Any) -> Any:
    """Return what torch.export knows of a size that the exporter has as a number or a value."""
    return given if isinstance(given, int | None) else noted_value(given)
