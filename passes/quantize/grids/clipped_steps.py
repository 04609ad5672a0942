"""Steps of weights that cut off what meets little signal.

    min over s  of  sum_k p_k (w_k - s clip(round(w_k / s)))^2        s = max |w| / qmax * 2^(-i/4)

One large weight takes the whole grid of its row, and the others round to nothing. Where its channel
is next to silent, as in front of a normalization whose variance was 0 in training and which was
folded since, cutting it off costs less. p_k is the mean square of what weight k multiplies, errors
taken as independent; of parts of the samples the largest is taken, since what some of them show may
come again.

Sources: Choukroun et al., "Low-bit Quantization of Neural Networks for Efficient Inference" (2019),
clipping for the least squared error; Ding et al., "RepVGG" (2021), networks of that kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Quarters of an octave, down to 2^-10: below it, the integers left would say nothing.
_SHARES = 2.0 ** (-np.arange(41) / 4)
# The error must fall to this part: what is gained is certain, what is cut off may come.
_WORTHWHILE = 0.7
# Rows whose largest weight is less than this many times the mean of the others, at 8 bits, have
# steps so fine that nothing is gained.
_PEAKED = 16 / 127


def is_peaked(rows: Array, qmax: int) -> Array:
    """Say which of `rows` [R, K] have a step that is coarse beside most of their weights [R]."""
    sizes = np.abs(rows)
    largest = sizes.max(axis=1, initial=0)
    others = (sizes.sum(axis=1, dtype=np.float64) - largest) / max(rows.shape[1] - 1, 1)
    return np.asarray(largest > _PEAKED * qmax * others)


def clipped_steps(rows: Array, power: Array, qmax: int) -> Array:
    """Return the step of each of `rows` [R, K] on a grid of -`qmax` to `qmax`, float64 [R].

    `power`: the mean square of what each weight multiplies [K]. NaN for rows that are best reached
    to their largest weight.
    """
    found = np.full(len(rows), np.nan)
    for index in np.flatnonzero(is_peaked(rows, qmax)):
        row = np.abs(rows[index]).astype(np.float64)
        steps = row.max() / qmax * _SHARES[:, None]
        error = np.square(row - steps * np.minimum(np.rint(row / steps), qmax)) @ power
        best = int(error.argmin())
        if error[best] < _WORTHWHILE * error[0]:
            found[index] = steps[best, 0]
    return found
