"""What a layer's rounding needs to know of its data: second moments, streamed.

    y = W x + b              the float layer            x^ = what it reads once others are rounded
    E |y - (Q x^ + c)|^2  =  Q H Q' - 2 Q T' + var y    at c = E[y] - Q E[x^], the best bias,
    H = cov(x^, x^)  [K, K]          T = cov(y, x^)  [M, K]

Only H and T are kept, not samples; of x itself nothing is needed. Sums are taken around the means
of the first batch, so that a mean far from zero costs no digits.

Samples differ, and H of few of them is a guess. Of the samples' own H_i no more is kept than
sum |n_i H_i|^2, from which it follows how far H is off, and how much of a sphere to mix in:

    l = b^2 / |H - m I|^2 <= 1,     b^2 = (sum |n_i H_i|^2 - |H|^2 sum n_i^2) / n^2,    m = tr H / K

Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices"
(2004), with samples in place of positions, which are not independent within one.

Of a layer with very many columns H is kept in `parts` blocks on its diagonal alone: the columns of
each are a layer of their own, whose float output is that of its part of W. T is then W H, and
errors of the layers before it are not made up for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .squares import fits

Array = np.ndarray[Any, Any]

# Positions that are gathered before a product is taken: with few, adding it to the sums would cost
# more than the product.
_BATCH = 512


class Moments:
    """Moments of inputs x^ [G, K, P] and float outputs y [G, M, P], over batches of positions.

    Without `centred` the moments are taken around 0: for a layer that can have no bias. With
    `parts` H is [G parts, K', K'], with columns of zeros at the end of the last part, and there is
    no T.
    """

    def __init__(self, *, centred: bool = True, second: bool = True, parts: int = 1) -> None:
        self.count = 0
        self.parts = parts
        self._centred = centred
        self._second = second
        self._waiting: list[tuple[Array, ...]] = []
        self._samples = 0
        self._squared_counts = 0
        self._squares = 0.0

    def add(self, inputs: Array, outputs: Array) -> None:
        """Take in a batch of positions, any float type.

        Products of a batch are summed in float32, or in float64 where they would leave its range.
        """
        self._waiting.append(tuple(np.asarray(a, np.float32) for a in (inputs, outputs)))
        self.count += inputs.shape[2]
        if sum(x.shape[2] for x, _ in self._waiting) >= _BATCH:
            self._take_in()

    def _take_in(self) -> None:
        if not self._waiting:
            return
        x, y = (np.concatenate(parts, axis=2) for parts in zip(*self._waiting, strict=True))
        ends = np.cumsum([given.shape[2] for given, _ in self._waiting])
        self._waiting = []
        if not hasattr(self, "_sum_x"):
            self._start(x, y)
        x, y = _roomy(x), _roomy(y)
        x -= self._origin_x[..., None]
        y -= self._origin_y[..., None]
        self._sum_x += x.sum(axis=2, dtype=np.float64)
        self._sum_y += y.sum(axis=2, dtype=np.float64)
        if self._second:
            split = split_columns(x, self.parts)
            for sample in np.split(split, ends[:-1], axis=2):
                self._square(sample)
            self._xx += split @ split.swapaxes(1, 2)
            self._yy += np.einsum("gmp,gmp->gm", y, y, dtype=np.float64)
            if self.parts == 1:
                self._yx += y @ x.swapaxes(1, 2)

    def _start(self, x: Array, y: Array) -> None:
        groups, k, m = len(x), x.shape[1], y.shape[1]
        centred = np.float32(self._centred)
        self._origin_x, self._origin_y = _mean(x) * centred, _mean(y) * centred
        self._sum_x, self._sum_y = np.zeros((groups, k)), np.zeros((groups, m))
        if self._second:
            self._yy = np.zeros((groups, m))
            self._yx = np.zeros((groups, m, k if self.parts == 1 else 0))
            width = -(-k // self.parts)
            self._xx = np.zeros((groups * self.parts, width, width))

    def _square(self, sample: Array) -> None:
        """Add |x x'|^2 = |x' x|^2 of one sample's positions."""
        self._samples += 1
        self._squared_counts += sample.shape[2] ** 2
        wide = sample.shape[2] > sample.shape[1]
        gram = sample @ sample.swapaxes(1, 2) if wide else sample.swapaxes(1, 2) @ sample
        self._squares += float(np.square(gram, dtype=np.float64).sum())

    def shrinkage(self) -> float:
        """Return l, 0 to 1: how much of a sphere to mix into H; 0 where one sample was seen."""
        self._take_in()
        if self._samples < 2:
            return 0.0
        found = self.input_moment()
        size = found.shape[1]
        middle = np.trace(found, axis1=1, axis2=2)[:, None, None] / size
        apart = float(np.square(found - middle * np.eye(size)).sum())
        own = float(np.square(self._xx / self.count).sum())
        off = (self._squares - own * self._squared_counts) / self.count**2
        off *= self._samples / (self._samples - 1)
        return float(np.clip(off / apart, 0.0, 1.0)) if apart > 0 else 1.0

    @property
    def mean_input(self) -> Array:
        """E[x^], [G, K]."""
        self._take_in()
        return np.asarray(self._origin_x + self._sum_x / self.count)

    @property
    def mean_output(self) -> Array:
        """E[y], [G, M]."""
        self._take_in()
        return np.asarray(self._origin_y + self._sum_y / self.count)

    def input_moment(self) -> Array:
        """H, [G, K, K]."""
        self._take_in()
        total = split_columns(self._sum_x[..., None], self.parts)[..., 0]
        return self._xx / self.count - self._product(total, total)

    def cross_moment(self) -> Array:
        """T, [G, M, K]."""
        self._take_in()
        return self._yx / self.count - self._product(self._sum_y, self._sum_x)

    def output_moment(self) -> Array:
        """var y, [G, M]."""
        self._take_in()
        return np.asarray((self._yy - self._centred * self._sum_y**2 / self.count) / self.count)

    def _product(self, left: Array, right: Array) -> Array:
        if not self._centred:
            return np.zeros(())
        return np.asarray(left[..., None] * right[:, None, :] / self.count**2)


def _roomy(values: Array) -> Array:
    """Return `values` in float64 where products of them are too large or too small for float32."""
    most = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
    return values if fits(most) else values.astype(np.float64)


def _mean(values: Array) -> Array:
    """Return the mean of each row in float32, wherever it lies: sums may leave the range."""
    return np.asarray(_roomy(values).mean(axis=2)).astype(np.float32)


def split_columns(columns: Array, parts: int) -> Array:
    """Return [G, K, P] as [G parts, K', P], filled up with zeros where `parts` does not divide."""
    groups, size, positions = columns.shape
    width = -(-size // parts)
    if width * parts != size:
        filled = np.zeros((groups, width * parts, positions), columns.dtype)
        filled[:, :size] = columns
        columns = filled
    return columns.reshape(groups * parts, width, positions)


def join_columns(split: Array, parts: int, size: int) -> Array:
    """Return [G parts, K', P] as [G, K, P]: what `split_columns` was given."""
    groups, _, positions = split.shape
    return split.reshape(groups // parts, -1, positions)[:, :size]
