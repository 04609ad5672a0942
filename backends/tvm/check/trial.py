"""One kernel on random operands, beside what it should give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..spec.layout import Array, BufferSpec
from .chain import run_chain
from .draw import Draw, placed, usual_size
from .meanings import meaning_of, result_of
from .memory import fault_around, numbers, numpy_dtype, read_back, unwritten

# Of single steps, rounding in another order may change so many times what it was seen to change.
_TIMES = 2.0
# A sample of which so much is one number shows little: all clipped, or all zero.
_ALIKE = 0.9
_OTHER_SIZES = (1.0, 1 / 16, 16.0)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Operands of a kernel, as buffers `args`, and the stored values that it should give.

    `away`: how far each value may lie from it. `told`: whether the values differ enough to tell.
    """

    y: BufferSpec
    images: int
    args: tuple[Any, ...]
    expected: Array
    away: Array
    told: bool

    def result(self) -> Array:
        """Return the buffer that the kernel is to write."""
        return unwritten(self.y, self.images)

    def fault(self, buffer: Array) -> str:
        """Say what is wrong with what a kernel has written, "" where nothing is."""
        around = fault_around(buffer, self.y, self.images)
        if around:
            return around
        found = _as_compared(read_back(buffer, self.y, self.images), self.y)
        with np.errstate(invalid="ignore"):
            far = ~(np.abs(found - self.expected.astype(np.float64)) <= self.away)
        same = (found == self.expected) | (np.isnan(found) & np.isnan(self.expected))
        wrong = far & ~same & ~np.isnan(self.away)
        if not wrong.any():
            return ""
        place = tuple(int(at[0]) for at in np.nonzero(wrong))
        return (
            f"{int(wrong.sum())} of {wrong.size} values are wrong, the first at "
            f"{list(place)} of [N, C, D, H, W]: {found[place]:.6g} instead of "
            f"{self.expected[place]:.6g}"
        )


def draw_trial(op: Any, seed: int) -> Trial:
    """Return operands for the kernel of `op`, of a size that tells if there is one."""
    trials = []
    for size in _OTHER_SIZES:
        trials.append(_drawn(op, seed, size))
        if trials[-1].told:
            return trials[-1]
    return trials[0]


def _drawn(op: Any, seed: int, size: float) -> Trial:
    spec, chain, images = result_of(op)
    rng = np.random.default_rng(seed)
    draw = Draw(rng, images, size * usual_size(chain))
    meaning = meaning_of(op, draw)
    operands = draw.operands(chain, meaning.factor)
    y, told_first = placed(spec, rng)
    draw.args += told_first
    moved = meaning.accuracy * float(np.abs(meaning.value).max(initial=0))
    base, away = run_chain(chain, meaning.value, operands, moved, seed)
    steps = np.broadcast_to(base, (images, y.channels, *y.spatial))
    expected = _as_compared(_stored(steps, y), y)
    allowed = _allowed(expected, np.broadcast_to(away, expected.shape), y)
    return Trial(
        y=y,
        images=images,
        args=tuple(draw.args),
        expected=expected,
        away=allowed,
        told=_tells(expected[~np.isnan(allowed)]),
    )


def _allowed(expected: Array, away: Array, y: BufferSpec) -> Array:
    """Return how far each value may be off; NaN where rounding alone makes anything of it.

    That is where it makes no number of one, and where it changes one that is larger than all that
    it leaves alone, as next to a pole.
    """
    if numpy_dtype(y.dtype).kind in "iu":
        return away if (away >= 0.5).any() else np.zeros(expected.shape)
    size = np.abs(expected)
    with np.errstate(invalid="ignore"):
        steep = ~(away <= 1e-2 * size)
        calm = ~steep & np.isfinite(size)
        most = float(np.max(size, where=calm if calm.any() else np.isfinite(size), initial=0))
        unknown = ~np.isfinite(away) | (steep & (size > most))
    plain = 1e-5 * most + (size * 2.0**-7 if y.dtype == "bfloat16" else 0.0)
    return np.where(unknown, np.nan, plain + _TIMES * away)


def _stored(values: Array, y: BufferSpec) -> Array:
    return values.astype(numpy_dtype(y.dtype))


def _as_compared(stored: Array, y: BufferSpec) -> Array:
    """Return stored values as float32 numbers that can be compared."""
    return stored.astype(np.float32) if y.scale is None else numbers(stored, y)


def _tells(expected: Array) -> bool:
    sample = expected.reshape(-1)[:: max(1, expected.size // 4096)]
    _, counts = np.unique(sample, return_counts=True)
    return bool(sample.size) and int(counts.max()) <= max(1, _ALIKE * sample.size)
