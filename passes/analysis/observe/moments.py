"""What a layer's rounding needs to know of its data: second moments, streamed.

    y = W x + b              the float layer            x^ = what it reads once others are rounded
    E |y - (Q x^ + c)|^2  =  Q H Q' - 2 Q T' + var y    at c = E[y] - Q E[x^], the best bias,
    H = cov(x^, x^)  [K, K]          T = cov(y, x^)  [M, K]

Only H and T are kept, not samples; of x itself nothing is needed. Sums are taken around the means
of the first batch, so that a mean far from zero costs no digits.

What few samples say of others like them is seen by dealing them out to two halves, each of which
has moments of its own; those of all are the sums of both, moved to one origin.

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
# Which sums there are.
_X, _Y, _YY, _XX, _YX = range(5)


class Moments:
    """Moments of inputs x^ [G, K, P] and float outputs y [G, M, P], over batches of positions.

    Without `centred` the moments are taken around 0: for a layer that can have no bias. With
    `parts` H is [G parts, K', K'], with columns of zeros at the end of the last part, and there is
    no T. `halves`: those that these were joined of.
    """

    def __init__(self, *, centred: bool = True, second: bool = True, parts: int = 1) -> None:
        self.count = 0
        self.parts = parts
        self.halves: tuple[Moments, Moments] | None = None
        self._centred = centred
        self._second = second
        self._sums: list[Array] = []
        self._waiting: list[tuple[Array, ...]] = []

    @classmethod
    def joined(cls, first: Moments, other: Moments) -> Moments:
        """Return the moments of all that both, of the same kind, were given: they are its halves.

        Where one of them is empty it is the other, which has none.
        """
        if not (first.count and other.count):
            return first if first.count else other
        found = cls(centred=first._centred, second=first._second, parts=first.parts)
        found.halves, found.count = (first, other), first.count + other.count
        first._take_in()
        found._origin_x, found._origin_y = first._origin_x, first._origin_y
        found._sums = [a + b for a, b in zip(first._sums, other._around(first), strict=True)]
        return found

    def _around(self, other: Moments) -> list[Array]:
        """Return the sums around the origin of `other`."""
        self._take_in()
        dx = np.subtract(self._origin_x, other._origin_x, dtype=np.float64)
        dy = np.subtract(self._origin_y, other._origin_y, dtype=np.float64)
        x, y, *second = self._sums
        found = [x + self.count * dx, y + self.count * dy]
        if second:
            xs, by = (split_columns(v[..., None], self.parts)[..., 0] for v in (x, dx))
            found.append(second[0] + dy * (2 * y + self.count * dy))
            found.append(second[1] + _moved(xs, by, xs, by, self.count))
        if len(second) > _YX - _YY:
            found.append(second[2] + _moved(y, dy, x, dx, self.count))
        return found

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
        self._waiting = []
        if not self._sums:
            centred = np.float32(self._centred)
            self._origin_x, self._origin_y = _mean(x) * centred, _mean(y) * centred
        x, y = _roomy(x), _roomy(y)
        x -= self._origin_x[..., None]
        y -= self._origin_y[..., None]
        found = [x.sum(axis=2, dtype=np.float64), y.sum(axis=2, dtype=np.float64)]
        if self._second:
            split = split_columns(x, self.parts)
            found.append(np.einsum("gmp,gmp->gm", y, y, dtype=np.float64))
            found.append(split @ split.swapaxes(1, 2))
            if self.parts == 1:
                found.append(y @ x.swapaxes(1, 2))
        if not self._sums:
            self._sums = [np.asarray(each, np.float64) for each in found]
            return
        for total, each in zip(self._sums, found, strict=True):
            total += each

    @property
    def mean_input(self) -> Array:
        """E[x^], [G, K]."""
        total = self._sum(_X)
        return np.asarray(self._origin_x + total / self.count)

    @property
    def mean_output(self) -> Array:
        """E[y], [G, M]."""
        total = self._sum(_Y)
        return np.asarray(self._origin_y + total / self.count)

    def input_moment(self) -> Array:
        """H, [G, K, K]."""
        total = split_columns(self._sum(_X)[..., None], self.parts)[..., 0]
        return self._sum(_XX) / self.count - self._product(total, total)

    def cross_moment(self) -> Array:
        """T, [G, M, K]."""
        return self._sum(_YX) / self.count - self._product(self._sum(_Y), self._sum(_X))

    def output_moment(self) -> Array:
        """var y, [G, M]."""
        total = self._sum(_Y)
        return np.asarray((self._sum(_YY) - self._centred * total**2 / self.count) / self.count)

    def _sum(self, which: int) -> Array:
        self._take_in()
        return self._sums[which]

    def _product(self, left: Array, right: Array) -> Array:
        if not self._centred:
            return np.zeros(())
        return np.asarray(left[..., None] * right[:, None, :] / self.count**2)


def _moved(left: Array, by: Array, right: Array, along: Array, count: int) -> Array:
    """Return what sums of products gain where the origins of both factors move, [..., I, J]."""
    first = left[..., None] * along[..., None, :] + by[..., None] * right[..., None, :]
    return np.asarray(first + count * by[..., None] * along[..., None, :])


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
