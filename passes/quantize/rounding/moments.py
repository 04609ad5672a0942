"""What a layer's rounding needs to know of its data: second moments, streamed.

    y = W x + b              the float layer            x^ = what it reads once others are rounded
    E |y - (Q x^ + c)|^2  =  Q H Q' - 2 Q T' + var y    at c = E[y] - Q E[x^], the best bias,
    H = cov(x^, x^)  [K, K]          T = cov(y, x^)  [M, K]

Only H and T are kept, not samples; of x itself nothing is needed. Sums are taken around the means
of the first batch, so that a mean far from zero costs no digits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Moments:
    """Moments of inputs x^ [P, G, K] and float outputs y [P, G, M], over batches of positions.

    Without `centred` the moments are taken around 0: for a layer that can have no bias.
    """

    def __init__(self, *, centred: bool = True, second: bool = True) -> None:
        self.count = 0
        self._centred = centred
        self._second = second

    def add(self, inputs: Array, outputs: Array) -> None:
        """Take in a batch of positions."""
        x, y = (np.ascontiguousarray(part.swapaxes(0, 1)) for part in (inputs, outputs))
        if self.count == 0:
            self._start(x, y)
        self.count += x.shape[1]
        x, y = x - self._origin_x[:, None], y - self._origin_y[:, None]
        self._sum_x += x.sum(axis=1, dtype=np.float64)
        self._sum_y += y.sum(axis=1, dtype=np.float64)
        if self._second:
            turned = x.swapaxes(1, 2)
            self._xx += turned @ x
            self._yx += y.swapaxes(1, 2) @ x

    def _start(self, x: Array, y: Array) -> None:
        groups, k, m = len(x), x.shape[2], y.shape[2]
        centred = np.float32(self._centred)
        self._origin_x, self._origin_y = x.mean(axis=1) * centred, y.mean(axis=1) * centred
        self._sum_x, self._sum_y = np.zeros((groups, k)), np.zeros((groups, m))
        if self._second:
            self._xx, self._yx = np.zeros((groups, k, k)), np.zeros((groups, m, k))

    @property
    def mean_input(self) -> Array:
        """E[x^], [G, K]."""
        return np.asarray(self._origin_x + self._sum_x / self.count)

    @property
    def mean_output(self) -> Array:
        """E[y], [G, M]."""
        return np.asarray(self._origin_y + self._sum_y / self.count)

    def input_moment(self) -> Array:
        """H, [G, K, K]."""
        return self._xx / self.count - self._product(self._sum_x, self._sum_x)

    def cross_moment(self) -> Array:
        """T, [G, M, K]."""
        return self._yx / self.count - self._product(self._sum_y, self._sum_x)

    def _product(self, left: Array, right: Array) -> Array:
        if not self._centred:
            return np.zeros(())
        return np.asarray(left[..., None] * right[:, None, :] / self.count**2)
