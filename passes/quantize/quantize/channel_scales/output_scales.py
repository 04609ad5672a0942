"""Scales of the channels that a convolution gives to float operators.

    y / t = (W / t) x + b / t        the integers of W stay, each row has a scale of its own anyway

Nothing has to be weighed against the gain but what channels give on other samples: one that few
samples show to be small is cut off on others. So all have a margin, chosen on samples held back;
and so is where the zero point lies, which channels on both sides of 0 share.

    min over p, m, z of  mean over parts f of sum_c w_c ( (t_c s)^2 / 12 + c_fc )
    t_c = min(1, m max(h_c / h(z), l_c / l(z))^p)         w_c = 1 / (power of c + a part of all)

Errors count as parts of each channel's own power: what reads them may well scale small ones up.
That of the part with the largest has most weight: a few values cut off far reach through a network
where the rounding of all others averages out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...equalize_ranges.channel_ranges import ChannelRanges
from ...extremes import MARGINS, HeldBack
from ..calibration.observers import Range
from .scales import ScaledTensor

Array = np.ndarray[Any, Any]

# Scales go down to this: with a channel that was never seen to be more nothing is won.
_LEAST = 2.0**-8
# The part of the mean power that every channel counts with.
_FLOOR = 2.0**-6
_LEAST_GAIN = 0.05
_POWERS = (1.0, 0.75, 0.5, 0.25)
_ZERO_SHARES = np.linspace(0, 1, 17)
_TINY = 1e-300


def output_scales(
    seen: ChannelRanges, whole: Range, levels: int, *, free_zero: bool
) -> ScaledTensor | None:
    """Return the scales of what was `seen`, calibrated to `whole`; None where they gain little.

    `levels`: steps of the grid. `free_zero`: whether the zero point may move.
    """
    held_back = seen.extremes.held_back()
    length = whole.length
    if held_back is None or not length:
        return None
    power = seen.power
    weights = 1 / np.maximum(power + _FLOOR * power.mean(), _TINY)
    used = held_back.counts > 0

    def noise(scale: Array, low: Array, high: Array) -> Array:
        """Return the noise of each part for scales [F, C] and ranges of what is over them [F]."""
        error = _errors(held_back, scale, low, high, levels)
        return np.asarray((error @ weights)[used])

    ones = np.ones_like(held_back.low)
    plain = min((noise(ones, *(m * e for e in _ends(held_back))) for m in MARGINS), key=_mean)
    own = max(-whole.minimum, 0.0) / length
    best: tuple[Array, _Choice] | None = None
    for choice in _choices(own, free_zero):
        others = choice.scales(held_back.low, held_back.high)
        if others is None:
            continue
        scale, reach = others
        found = noise(scale, -choice.share * reach, (1 - choice.share) * reach)
        if best is None or _mean(found) < _mean(best[0]):
            best = found, choice
    if best is None:
        return None
    found, choice = best
    gain = (plain - found) / max(float(plain.mean()), _TINY)
    if gain.mean() - gain.std(ddof=1) / np.sqrt(len(gain)) < _LEAST_GAIN:
        return None
    scaled = choice.scales(
        np.vstack([seen.low, held_back.low]), np.vstack([seen.high, held_back.high])
    )
    if scaled is None:
        return None
    # As much wider as calibration made the whole.
    shown = float(seen.high.max() - seen.low.min())
    wider = max(1.0, length / shown if shown else 1.0)
    found_for_all, *found_for_others = (
        ScaledTensor(scale, Range(-choice.share * span, (1 - choice.share) * span))
        for scale, span in zip(scaled[0], (wider * scaled[1]).tolist(), strict=True)
    )
    return replace(found_for_all, of_others=tuple(found_for_others))


@dataclass(frozen=True)
class _Choice:
    """How scales follow ranges: `share` of the range lies below 0."""

    share: float
    margin: float
    power: float

    def scales(self, low: Array, high: Array) -> tuple[Array, Array] | None:
        """Return scales [F, C] for ranges of channels [F, C], and the common range's length [F].

        None where a channel reaches to a side that has no range.
        """
        need = np.zeros(low.shape)
        for ends, part in ((-low, self.share), (high, 1 - self.share)):
            if part > 0:
                need = np.maximum(need, ends / part)
            elif ends.any():
                return None
        reach = need.max(axis=1)
        if not reach.all():
            return None
        parts = (need / reach[:, None]) ** self.power
        return np.clip(self.margin * parts, _LEAST, 1.0), reach


def _choices(own: float, free_zero: bool) -> Iterator[_Choice]:
    for share in (own, *(_ZERO_SHARES if free_zero else ())):
        for power in _POWERS:
            for margin in MARGINS[2::2]:
                yield _Choice(float(share), float(margin), power)


def _errors(held: HeldBack, scale: Array, low: Array, high: Array, levels: int) -> Array:
    """Return the mean squared error of each part's channels [F, C] on [low, high] times `scale`."""
    ends = high[:, None] * scale, low[:, None] * scale
    over = np.maximum(held.largest - ends[0][..., None], 0)
    under = np.maximum(ends[1][..., None] - held.smallest, 0)
    clipped = (np.square(over) + np.square(under)).sum(axis=2)
    rounded = np.square((high - low)[:, None] * scale / levels) / 12
    return np.asarray(rounded + clipped / np.maximum(held.counts, 1)[:, None])


def _ends(held: HeldBack) -> tuple[Array, Array]:
    return held.low.min(axis=1), held.high.max(axis=1)


def _mean(noise: Array) -> float:
    return float(noise.mean())
