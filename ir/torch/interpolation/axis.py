"""One axis of a tensor that PyTorch interpolates: its sizes, and when ONNX's Resize has them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

# No image is larger: what holds up to here is taken to hold.
_LONGEST = 1 << 15
# Factors of so few bits times such sizes are exact in float32.
_EXACT = 1 << 9
_Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class InterpolatedAxis:
    """An axis of `before` elements that is to have `after`, where results are 1 / `factor` apart.

    Without a factor they are before / after apart. Sizes are numbers of Python or of torch.export,
    which stand for any; where `after` is None, it is before * factor, rounded down.
    """

    before: Any
    after: Any
    factor: float | None

    @classmethod
    def of(cls, before: Any, after: Any, factor: float | None) -> InterpolatedAxis:
        """Return the axis, its size computed where it can be."""
        if after is None and isinstance(before, int) and factor is not None:
            after = int(before * factor)
        return cls(before, after, factor)

    @cached_property
    def is_known(self) -> bool:
        """Say whether both sizes are numbers."""
        return isinstance(self.before, int) and isinstance(self.after, int)

    @cached_property
    def times(self) -> int | None:
        """Return how often `before` goes into `after`, where that is known and leaves no rest."""
        if self.after is None:
            return int(self.factor) if self.factor == int(self.factor or 0) else None
        ratio = _expression(self.after) / _expression(self.before)
        return int(ratio) if ratio.is_Integer else None

    @cached_property
    def step(self) -> np.float32:
        """Return the step between results, in float32; a factor or both sizes are known."""
        if self.factor is None:
            return np.float32(self.before) / np.float32(self.after)
        return np.float32(1 / self.factor)

    def pixels(self) -> _Integers:
        """Return which elements PyTorch picks in nearest interpolation; both sizes are known."""
        steps = np.arange(self.after, dtype=np.float32) * self.step
        places: _Integers = np.minimum(np.floor(steps).astype(np.int64), self.before - 1)
        return places

    def enough(self) -> np.float32:
        """Return a factor by which Resize yields no less than `after` elements."""
        nearest = np.float32(self.factor)
        if self.is_known:
            single, double = np.float32(self.before) * nearest, self.before * float(nearest)
            if min(int(single), int(double)) >= self.after:
                return nearest
        elif self.yields(nearest):
            return nearest
        return np.float32(np.float64(self.factor) * (1 + 2.0**-23))

    def yields(self, factor: np.float32) -> bool:
        """Say whether Resize by `factor` yields `after` elements, in float32 and in doubles."""
        if self.is_known:
            single = int(np.float32(self.before) * factor)
            return bool(single == int(self.before * float(factor)) == self.after)
        if self.after is not None:
            return bool(self.times == factor == self.factor)
        return float(factor) == self.factor and float(np.frexp(factor)[0] * _EXACT).is_integer()

    def picks_the_same(self) -> bool:
        """Say whether Resize picks what PyTorch does, in float32 and in doubles."""
        if self.factor is not None and not self.yields(np.float32(self.factor)):
            return False
        if not self.is_known:
            factor = self.times if self.factor is None else self.factor
            if factor is None:
                return False
            return InterpolatedAxis(_LONGEST**2, _LONGEST, float(factor))._pixels_agree()
        return self._pixels_agree()

    def _pixels_agree(self) -> bool:
        results = np.arange(self.after)
        if self.factor is None:
            scale = np.float32(self.after) / np.float32(self.before)
            exact = results * self.before // self.after
        else:
            scale = np.float32(self.factor)
            exact = np.floor(results / float(scale)).astype(np.int64)
        single = np.floor(results.astype(np.float32) / scale).astype(np.int64)
        return all(
            np.array_equal(self.pixels(), np.minimum(found, self.before - 1))
            for found in (single, exact)
        )


def _expression(size: Any) -> Any:
    """Return a size as sympy has it."""
    import sympy

    return sympy.Integer(size) if isinstance(size, int) else size.node.expr
