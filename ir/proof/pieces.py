"""Functions of one number that are a polynomial on each of finitely many pieces.

Relu, Clip, HardSwish, Max with a constant, comparisons and what chooses by them are such, and so
are their sums, products and compositions. Written with steps, s_b(x) = 1 where x > b, and points,
d_b(x) = 1 where x = b, each is

    f(x) = p(x) + sum over breaks b of (q_b(x) s_b(x) + c_b d_b(x))

for polynomials p and q_b and numbers c_b that f alone decides. So two of them are equal where these
are, whatever x is.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Polynomial = tuple[float, ...]  # coefficients, of the constant first

MOST_BREAKS = 16
MOST_COEFFICIENTS = 5
_JOINED = 2.0**-40


class NotInPiecesError(Exception):
    """A function that is not represented."""


@dataclass(frozen=True)
class Pieces:
    """`polynomials` between `breaks`, which ascend, and the values `points` at these."""

    breaks: tuple[float, ...]
    polynomials: tuple[Polynomial, ...]
    points: tuple[float, ...]

    def at(self, x: float) -> float:
        """Return the value at a number."""
        place = bisect.bisect_left(self.breaks, x)
        if place < len(self.breaks) and self.breaks[place] == x:
            return self.points[place]
        return _value(self.polynomials[place], x)

    @property
    def is_increasing(self) -> bool:
        """Whether it never falls; False where that is not seen."""
        if any(len(p) > 2 or _slope(p) < 0 for p in self.polynomials):
            return False
        for place, x in enumerate(self.breaks):
            before, after = (_value(p, x) for p in self.polynomials[place : place + 2])
            if not before <= self.points[place] <= after:
                return False
        return True

    def within(self, low: float, high: float) -> Pieces:
        """Return a function that is equal between `low` and `high`, without breaks elsewhere."""
        kept = [
            place
            for place, x in enumerate(self.breaks)
            if low < x < high or (x in (low, high) and not self._is_joined(place, x, low))
        ]
        if not kept:
            inside = bisect.bisect_right(self.breaks, low)
            return Pieces((), (self.polynomials[min(inside, len(self.breaks))],), ())
        first, last = kept[0], kept[-1]
        return Pieces(
            self.breaks[first : last + 1],
            self.polynomials[first : last + 2],
            self.points[first : last + 1],
        )

    def _is_joined(self, place: int, x: float, low: float) -> bool:
        """Say whether the value at a break that ends the domain is that of the piece inside."""
        inside = self.polynomials[place + 1 if x == low else place]
        return self.points[place] == _value(inside, x)

    def is_joined(self, x: float, step: Polynomial, point: float) -> bool:
        """Say whether the function bends at a break, and does not jump."""
        size = max(1.0, *(abs(c) * max(1.0, abs(x)) ** at for at, c in enumerate(step)))
        return max(abs(_value(step, x)), abs(point)) <= _JOINED * size

    def jumps(self) -> list[tuple[float, Polynomial, float]]:
        """Return each break with the polynomial of its step and the value of its point."""
        found = []
        for place, x in enumerate(self.breaks):
            left, right = self.polynomials[place : place + 2]
            found.append((x, _plus(right, left, -1.0), self.points[place] - _value(left, x)))
        return found


def number(value: float) -> Pieces:
    """Return the function that is `value` everywhere."""
    return Pieces((), ((value,),), ())


IDENTITY = Pieces((), ((0.0, 1.0),), ())


def plus(a: Pieces, b: Pieces) -> Pieces:
    """Return the sum."""
    return _pointwise(a, b, _plus, lambda x, y: x + y)


def minus(a: Pieces, b: Pieces) -> Pieces:
    """Return the difference."""
    return _pointwise(a, b, lambda p, q: _plus(p, q, -1.0), lambda x, y: x - y)


def times(a: Pieces, b: Pieces) -> Pieces:
    """Return the product."""
    return _pointwise(a, b, _times, lambda x, y: x * y)


def greater(a: Pieces, b: Pieces) -> Pieces:
    """Return 1 where a > b, else 0."""
    apart = minus(a, b)
    breaks = sorted({*apart.breaks, *_roots(apart)})
    signs = [_sign(apart, x) for x in _between(breaks)]
    points = [
        float(apart.at(x) > 0) if x in apart.breaks else 0.0  # a root, up to rounding
        for x in breaks
    ]
    return _made(breaks, [(float(sign > 0),) for sign in signs], points)


def choose(condition: Pieces, a: Pieces, b: Pieces) -> Pieces:
    """Return a where the condition is 1, and b where it is 0."""
    breaks = sorted({*condition.breaks, *a.breaks, *b.breaks})
    polynomials = [_piece(a if condition.at(x) else b, x) for x in _between(breaks)]
    points = [(a if condition.at(x) else b).at(x) for x in breaks]
    return _made(breaks, polynomials, points)


def largest(a: Pieces, b: Pieces) -> Pieces:
    """Return the larger of both."""
    return choose(greater(a, b), a, b)


def smallest(a: Pieces, b: Pieces) -> Pieces:
    """Return the smaller of both."""
    return choose(greater(b, a), a, b)


def compose(outer: Pieces, inner: Pieces) -> Pieces:
    """Return x -> outer(inner(x)), for an inner function that is linear on each piece."""
    if any(len(p) > 2 for p in inner.polynomials):
        raise NotInPiecesError
    breaks = set(inner.breaks)
    ends = [-math.inf, *inner.breaks, math.inf]
    for (low, high), p in zip(itertools.pairwise(ends), inner.polynomials, strict=True):
        if _slope(p):
            found = ((each - p[0]) / p[1] for each in outer.breaks)
            breaks.update(x for x in found if low < x < high)
    ordered = sorted(breaks)
    polynomials = []
    for x in _between(ordered):
        p = _piece(inner, x)
        polynomials.append(_substituted(_piece(outer, _value(p, x)), p))
    places: dict[float, float] = {}
    for (low, high), p in zip(itertools.pairwise(ends), inner.polynomials, strict=True):
        if _slope(p):
            places.update(
                ((each - p[0]) / p[1], value)
                for each, value in zip(outer.breaks, outer.points, strict=True)
                if low < (each - p[0]) / p[1] < high
            )
    points = [outer.at(inner.at(x)) if x in inner.breaks else places[x] for x in ordered]
    return _made(ordered, polynomials, points)


def _pointwise(
    a: Pieces,
    b: Pieces,
    polynomial: Callable[[Polynomial, Polynomial], Polynomial],
    value: Callable[[float, float], float],
) -> Pieces:
    breaks = sorted({*a.breaks, *b.breaks})
    polynomials = [polynomial(_piece(a, x), _piece(b, x)) for x in _between(breaks)]
    return _made(breaks, polynomials, [value(a.at(x), b.at(x)) for x in breaks])


def _made(
    breaks: Sequence[float], polynomials: Sequence[Polynomial], points: Sequence[float]
) -> Pieces:
    """Return the function without the breaks at which nothing changes."""
    short = [_short(p) for p in polynomials]
    kept = [
        place
        for place, x in enumerate(breaks)
        if short[place] != short[place + 1] or points[place] != _value(short[place], x)
    ]
    if len(kept) > MOST_BREAKS or any(len(p) > MOST_COEFFICIENTS for p in short):
        raise NotInPiecesError
    return Pieces(
        tuple(breaks[place] for place in kept),
        tuple(short[place] for place in (*kept, len(breaks))),
        tuple(points[place] for place in kept),
    )


def _piece(function: Pieces, x: float) -> Polynomial:
    return function.polynomials[bisect.bisect_right(function.breaks, x)]


def _between(breaks: Sequence[float]) -> list[float]:
    """Return a number inside each piece."""
    if not breaks:
        return [0.0]
    inner = [(a + b) / 2 for a, b in itertools.pairwise(breaks)]
    return [breaks[0] - max(1.0, abs(breaks[0])), *inner, breaks[-1] + max(1.0, abs(breaks[-1]))]


def _roots(function: Pieces) -> list[float]:
    found = []
    ends = [-math.inf, *function.breaks, math.inf]
    for (low, high), p in zip(itertools.pairwise(ends), function.polynomials, strict=True):
        if len(p) > 1:
            real = [float(r.real) for r in np.roots(p[::-1]) if abs(r.imag) <= 1e-12 * abs(r)]
            found += [x for x in real if low < x < high]
    return found


def _sign(function: Pieces, x: float) -> float:
    return float(np.sign(_value(_piece(function, x), x)))


def _value(p: Polynomial, x: float) -> float:
    total = 0.0
    for coefficient in reversed(p):
        total = total * x + coefficient
    return total


def _slope(p: Polynomial) -> float:
    return p[1] if len(p) > 1 else 0.0


def _short(p: Polynomial) -> Polynomial:
    size = len(p)
    while size > 1 and not p[size - 1]:
        size -= 1
    return p[:size]


def _plus(p: Polynomial, q: Polynomial, times_q: float = 1.0) -> Polynomial:
    pairs = itertools.zip_longest(p, q, fillvalue=0.0)
    return _short(tuple(a + times_q * b for a, b in pairs))


def _times(p: Polynomial, q: Polynomial) -> Polynomial:
    found = [0.0] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            found[i + j] += a * b
    return _short(tuple(found))


def _substituted(outer: Polynomial, inner: Polynomial) -> Polynomial:
    found: Polynomial = (0.0,)
    for coefficient in reversed(outer):
        found = _plus(_times(found, inner), (coefficient,))
    return found
