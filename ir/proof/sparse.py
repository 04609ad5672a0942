"""Numbers that are 0 but at few places, so that each term of a sum is seen by itself.

Beside the other 4,607 terms of a sum, a wrong one that is small passes for rounding. So few enough
places hold a number that each result reads one, and is held against its own size
(`operators.magnitudes`): the places of a group that no two results share, as the columns of a
sparse Jacobian are grouped to be seen at once (A. R. Curtis, M. J. D. Powell and J. K. Reid, On
the Estimation of Sparse Jacobian Matrices, 1974). At the first point all is 0, where constants are
seen by themselves; elsewhere numbers are near 2^40, beside which constants vanish.

Which results places reach is seen once, by magnitudes. A place and its neighbour along an axis
reach other results (a batch, a channel of its own), the same (channels that are summed up) or some
of both (rows of a picture). Axes of the first kind are filled, of the second each index comes in
turn, and of the third as many do as are read by all taps that a result has: one in the middle,
behind a stride of two two. So each term is seen alone where `MOST_ELEMENTS` suffice for all; where
they do not, a random share of them is. One wrong term is found with that probability then, and k of
them are all missed with the k-th power of the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .scales import Scale
from .values import Array

Shape = tuple[int, ...]

_LARGE = 2.0**40
# Elements of the largest tensor, at all points of a window and at those of one draw.
MOST_ELEMENTS, _AT_ONCE = 1 << 23, 1 << 18
_MOST_POINTS = 1 << 12
# Of an axis, that are looked at: all, and of those whose neighbours share no result.
_MOST_POSITIONS, _FEW_POSITIONS = 32, 6


@dataclass(frozen=True)
class SparseDraw:
    """Places, by input: [points, count], as numbers of elements; -1 for none.

    `sign`: what numbers are multiplied by.
    """

    places: Mapping[str, Array]
    sign: float = 1.0

    def of_results(self) -> Scale:
        """Return the scale of what functions give, of which nothing is known."""
        return Scale((1.0,))

    def drawn(self, random: np.random.Generator, name: str, shape: Shape) -> Array:
        """Return numbers [points, *shape] of an input."""
        places = self.places[name]
        numbers = np.zeros((len(places), math.prod(shape) + 1))  # the last is for none
        chosen = random.uniform(1.0, 2.0, places.shape) * random.choice((-1.0, 1.0), places.shape)
        np.put_along_axis(numbers, places, chosen * (_LARGE * self.sign), axis=1)
        return numbers[:, :-1].reshape(len(places), *shape)


def probe(shapes: Mapping[str, Shape]) -> SparseDraw:
    """Return the draw by which `cells_of` sees what places reach.

    All is 0 at the first point; at those that follow a place of each input is not, and its
    neighbours along each axis, one by one.
    """
    wanted = {
        name: [_places(shape, {}), *(_places(shape, {a: _beside(n)}) for a, n in enumerate(shape))]
        for name, shape in shapes.items()
    }
    return _in_turn(wanted)


def _in_turn(wanted: Mapping[str, Sequence[int]]) -> SparseDraw:
    """Return the draw at which all is 0 but one place of one input, in turn; first, but none."""
    found, at, points = {}, 1, 1 + sum(map(len, wanted.values()))
    for name, places in wanted.items():
        found[name] = np.full((points, 1), -1)
        found[name][at : at + len(places), 0] = places
        at += len(places)
    return SparseDraw(found)


def _middle(size: int) -> int:
    """Return a position that strides do not pass over."""
    return 1 << (size.bit_length() - 2) if size >= 2 else 0


def _beside(size: int) -> int:
    return (_middle(size) + 1) % max(size, 1)


def _places(shape: Shape, other: Mapping[int, int]) -> int:
    """Return the number of the place in the middle, but for `other` positions by axis."""
    indices = [other.get(axis, _middle(size)) for axis, size in enumerate(shape)]
    return int(np.ravel_multi_index(indices, shape)) if shape else 0


@dataclass(frozen=True)
class InputCells:
    """The places of an input, in cells that results do not share.

    `shape`: of the input. `filled`, `summed`: its axes along which neighbours reach other results,
    or the same. `near`: those along which they reach some of both, with the positions to look at.
    """

    shape: Shape
    filled: tuple[int, ...]
    summed: tuple[int, ...]
    near: Mapping[int, tuple[int, ...]]

    @property
    def count(self) -> int:
        """How many cells there are."""
        return math.prod(self.shape[axis] for axis in self.filled)

    @property
    def turns(self) -> int:
        """At how many places of each cell its terms are seen."""
        summed = math.prod(self.shape[axis] for axis in self.summed)
        return summed * math.prod(map(len, self.near.values()))

    def places(self, random: np.random.Generator, points: int) -> Array:
        """Return places [points, cells]: each place of a cell once before one comes again."""
        total = points * self.count
        repeats = -(-total // max(self.turns, 1))
        turn = np.concatenate([random.permutation(self.turns) for _ in range(repeats)])[:total]
        cell = np.arange(total) % max(self.count, 1)
        indices: dict[int, Array] = {}
        for axis in self.summed:
            turn, indices[axis] = np.divmod(turn, self.shape[axis])
        for axis, positions in self.near.items():
            turn, at = np.divmod(turn, len(positions))
            indices[axis] = np.array(positions)[at]
        for axis in self.filled:
            cell, indices[axis] = np.divmod(cell, self.shape[axis])
        numbers = np.zeros(total, np.int64)
        for axis, size in enumerate(self.shape):
            numbers = numbers * size + indices[axis]
        return numbers.reshape(points, self.count)


Reached = Callable[[SparseDraw], Array]


def cells_of(
    magnitudes: Array, shapes: Mapping[str, Shape], reached: Reached
) -> dict[str, InputCells]:
    """Return the cells of each input, from what `probe` reaches; `reached`: what others do."""
    rows, at = _moved(magnitudes), 1
    summed: dict[str, list[int]] = {}
    along: dict[str, list[tuple[int, list[int]]]] = {}  # axes with positions to look at
    for name, shape in shapes.items():
        own, others = rows[at], rows[at + 1 : at + 1 + len(shape)]
        summed[name] = [
            axis
            for axis, size in enumerate(shape)
            if size > 1 and np.array_equal(own, others[axis])
        ]
        along[name] = [
            (axis, _around(size, _FEW_POSITIONS if _share_none(own, others[axis]) else size))
            for axis, size in enumerate(shape)
            if axis not in summed[name] and size > 1
        ]
        at += 1 + len(shape)
    wanted = {
        name: [_places(shapes[name], {axis: p}) for axis, positions in each for p in positions]
        for name, each in along.items()
    }
    rows, at = _moved(reached(_in_turn(wanted))), 1
    found = {}
    for name, shape in shapes.items():
        near: dict[int, tuple[int, ...]] = {}
        for axis, positions in along[name]:
            sees = rows[at : at + len(positions)]
            at += len(positions)
            if int(sees.sum(axis=0).max(initial=0)) > 1:
                near[axis] = _enough(sees, positions)
        filled = set(range(len(shape))) - set(summed[name]) - near.keys()
        found[name] = InputCells(shape, tuple(sorted(filled)), tuple(summed[name]), near)
    return found


def _share_none(a: Array, b: Array) -> bool:
    return bool(a.any() and b.any() and not (a & b).any())


def _moved(magnitudes: Array) -> Array:
    """Say which results [points, count] are reached at which point."""
    rows = magnitudes.reshape(len(magnitudes), -1)
    return np.asarray(rows > 2 * rows[:1])


def _around(size: int, most: int) -> list[int]:
    """Return positions of an axis, those in the middle first."""
    middle = _middle(size)
    ordered = sorted(range(size), key=lambda at: (abs(at - middle), -at))
    return ordered[: min(most, _MOST_POSITIONS)]


def _enough(sees: Array, positions: Sequence[int]) -> tuple[int, ...]:
    """Return positions which results read by all taps that one has.

    `sees`: [positions, results]. A tap is told by its place among the positions that a result
    reads; the first of these lie before the axis where a result reads fewer than one behind it.
    """
    bits = np.left_shift(1, np.arange(len(sees), dtype=np.int64))
    read = sorted(
        sorted(position for at, position in enumerate(positions) if int(each) >> at & 1)
        for each in np.unique(bits @ sees)
    )
    most = max(map(len, read), default=0)
    first = next((at for at, each in enumerate(read) if len(each) == most), 0)
    taps: dict[int, set[int]] = {position: set() for position in positions}
    for at, each in enumerate(read):
        missing = most - len(each) if at < first else 0
        for tap, position in enumerate(each):
            taps[position].add(tap + missing)
    kept: list[int] = []
    left = set(range(most))
    while left:
        kept.append(max(positions, key=lambda each: len(taps[each] & left)))
        left -= taps[kept[-1]]
    return tuple(kept) or tuple(positions[:1])


def draws(
    random: np.random.Generator, cells: Mapping[str, InputCells], largest: int
) -> Iterator[SparseDraw]:
    """Yield draws at which results see one place of an input, of all inputs in turn and together.

    `largest`: elements of the largest tensor.
    """
    turns = len(cells) + (len(cells) > 1)
    each = max(-(-c.turns // max(c.count, 1)) for c in cells.values())
    needed = min(turns * each, max(MOST_ELEMENTS // largest, turns), _MOST_POINTS)
    whole = {name: each.places(random, needed) for name, each in cells.items()}
    for at, name in enumerate(cells):
        alone = np.arange(needed) % turns
        whole[name][(alone != at) & (alone != len(cells))] = -1
    step = max(_AT_ONCE // largest, 2)
    for begin in range(0, needed, step):
        part = slice(begin, begin + step)
        yield SparseDraw({name: places[part] for name, places in whole.items()})
