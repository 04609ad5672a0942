"""The noise that quantizing a layer's weights and input will add to its result.

With scale t_i on input channel i (weights W_ji / t_i), c channel ranges [l_i, h_i], powers e_i:

    input    R^2 / 12 L^2 * sum_i W_ji^2 / t_i^2                R = max_i t_i h_i - min_i t_i l_i
    weights  D_j^2 / 12 Q^2 * sum_i t_i^2 e_i                   D_j = max_i |W_ji| / t_i
    both over the power sum_i W_ji^2 e_i that row j would give of uncorrelated channels

averaged over rows j; L and Q are the integer steps of a range. A scale on output channel j changes
neither where each row of weights has its own grid, so that with `per_channel` every tensor is a
problem of its own. With one grid for all rows D_j = max_k |W_k| u_k / u_j, u the output scales, and
scaling one tensor moves the optimum of the next.

On the samples that showed a range, filling it always pays; on others it does where enough of them
showed it. So the input's noise is taken once more from samples held back: of parts of the samples,
each on the grid of the range that the others have, what that range clips included (`extremes`).
Channels as they are have a range that calibration widens as far as the same parts ask for; once
scaled by all samples none of these exceeds the range, so that calibration would not widen it.

Errors are taken as uniform and independent, as in
Meller et al., "Same, Same But Different" (ICML 2019), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...analysis.channels.cells import Array
from ..extremes import HeldBack
from ..grids.formats import IntegerFormat
from .channel_ranges import ChannelRanges
from .scalable_channels import ScalableLayer


@dataclass(frozen=True)
class NoiseFormats:
    """How finely weights and activations will be quantized, and whether each row has its grid."""

    weights: IntegerFormat
    activations: IntegerFormat
    per_channel: bool


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The noise of one layer, of the scales of its input [C] and output channels [M]."""

    steps: NoiseFormats
    low: Array  # [C]
    high: Array  # [C]
    power: Array  # [C]
    magnitude: Array  # largest |W| over the kernel's taps, float32 [group, M/group, C/group]
    gain: Array  # mean over rows of W^2 over the row's power [C]
    rows: Array  # taps over the row's power, over the number of rows [M]
    held_back: HeldBack

    def __call__(self, before: Array, after: Array) -> float:
        """Return the noise over the signal for input scales `before` and output scales `after`."""
        return self._of_input(before) + self._of_weights(before, after)

    def on_others(self, before: Array, after: Array, margin: float) -> Array:
        """Return the noise on each part of the samples [F], on `margin` times the others' range.

        Scales come as all samples, and as all parts of them but one, lead to them: [1 + F, C] and
        [1 + F, M].
        """
        error = self.held_back.errors(before[1:], self._levels, margin) / before[1:] ** 2
        return np.asarray(error @ self.gain + self._of_weights(before[0], after[0]))

    @property
    def _levels(self) -> int:
        return self.steps.activations.qmax - self.steps.activations.qmin

    def _of_input(self, before: Array) -> float:
        span = (before * self.high).max(initial=0) - (before * self.low).min(initial=0)
        return float((span / self._levels) ** 2 / 12 * (self.gain / before**2).sum())

    def _of_weights(self, before: Array, after: Array) -> float:
        group, outputs, _ = self.magnitude.shape
        largest = self.row_ranges(before, after)
        if not self.steps.per_channel:
            largest = largest.max(initial=0) / after
        power = (before**2 * self.power).reshape(group, -1).sum(axis=1).repeat(outputs)
        return float(((largest / self.steps.weights.qmax) ** 2 / 12 * power * self.rows).sum())

    def row_ranges(self, before: Array, after: Array) -> Array:
        """Return the largest weight of each output channel [M]; per channel, whatever `after`."""
        ranges: Array = self._scaled(before).max(axis=2, initial=0).reshape(-1)
        return ranges if self.steps.per_channel else ranges * after

    def channel_shares(self, before: Array) -> Array:
        """Return the part of the input's range that each channel takes, 0 to 1.

        Seen by all samples, and by all parts of them but one: [1 + F, C], as `before` is.
        """
        reach = before * np.vstack([np.maximum(self.high, -self.low), self.held_back.reach])
        return _over(reach, reach.max(axis=1, keepdims=True, initial=0))

    def column_shares(self, before: Array, after: Array) -> Array:
        """Return how far each channel's weights reach into the range of their grid [C], 0 to 1."""
        ranges = self.row_ranges(before, after)
        scaled = self._scaled(before)
        group, outputs, _ = scaled.shape
        if not self.steps.per_channel:
            scaled = scaled * after.reshape(group, outputs, 1)
            ranges = np.full(len(ranges), ranges.max(initial=0))
        shares = _over(scaled, ranges.reshape(group, outputs, 1))
        return np.asarray(shares.max(axis=1, initial=0).reshape(-1))

    def row_shares(self, before: Array, after: Array) -> Array:
        """Return how far the weights of each output channel reach into the one grid [M]."""
        ranges = self.row_ranges(before, after)
        return _over(ranges, ranges.max(initial=0))

    def _scaled(self, before: Array) -> Array:
        return self.magnitude / before.reshape(len(self.magnitude), 1, -1)


def noise_of(reached: ScalableLayer, seen: ChannelRanges, steps: NoiseFormats) -> Noise | None:
    """Return the noise of a layer whose input was `seen`; None where one sample showed it."""
    held_back = seen.extremes.held_back()
    if held_back is None:
        return None
    weight = reached.layer.kernel().weight
    taps = weight.reshape(*weight.shape[:3], -1)
    group, _, inputs, size = taps.shape
    magnitude = np.abs(taps).max(axis=3, initial=0)
    squares = np.square(taps).sum(axis=3)
    power = seen.power.reshape(group, 1, inputs)
    signal = (squares * power).sum(axis=2)
    count = max(int(np.count_nonzero(signal)), 1)
    weighing = _over(np.full(signal.shape, 1 / count), signal)
    gain = (squares * weighing[:, :, None]).sum(axis=1).reshape(-1)
    return Noise(
        steps=steps,
        low=seen.low,
        high=seen.high,
        power=seen.power,
        magnitude=magnitude.astype(np.float32),
        gain=gain,
        rows=weighing.reshape(-1) * size,
        held_back=held_back,
    )


def _over(part: Array, whole: Array) -> Array:
    """Return part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)
