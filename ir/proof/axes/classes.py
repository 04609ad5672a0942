"""Which axes of the tensors of a window grow and shrink together, and at which rates.

Each axis of each tensor is a member of a class. Before a stride of two, sizes change by two where
those behind it change by one: a class has a unit, and each member the ratio of its step to that.
"""

from __future__ import annotations

from fractions import Fraction

Axis = tuple[int, int]  # a tensor, by id, and an axis
Ratio = int | Fraction  # an int where it is whole, which most are: fractions are slow


def over(a: Ratio, b: Ratio) -> Ratio:
    """Return a / b."""
    if b == 1:
        return a
    found = Fraction(a) / b
    return found.numerator if found.denominator == 1 else found


class AxisClasses:
    """Disjoint sets of axes, each with the ratio of its step to that of the root.

    `kept`: the roots of classes along which something is not local. `reach`: of a class, how many
    positions of the root see begin or end, of both sides.
    """

    def __init__(self) -> None:
        self._parent: dict[Axis, tuple[Axis, Ratio]] = {}
        self.kept: set[Axis] = set()
        self.reach: dict[Axis, list[Ratio]] = {}

    def find(self, key: Axis) -> tuple[Axis, Ratio]:
        """Return the root of an axis, and its step in steps of the root."""
        path: list[tuple[Axis, Ratio]] = []
        while key in self._parent:
            parent, step = self._parent[key]
            path.append((key, step))
            key = parent
        ratio: Ratio = 1
        for member, step in reversed(path):
            ratio = step if ratio == 1 else ratio * step
            self._parent[member] = (key, ratio)
        return key, ratio

    def tie(self, a: Axis, b: Axis, ratio: Ratio = 1) -> None:
        """Have the step of `a` be `ratio` times that of `b`."""
        (x, of_a), (y, of_b) = self.find(a), self.find(b)
        step = over(ratio * of_b, of_a)  # of root x, in steps of y
        if x == y:
            if step != 1:
                self.kept.add(x)
            return
        self._parent[x] = (y, step)
        if x in self.kept:
            self.kept.add(y)
        for side, reach in enumerate(self.reach.pop(x, [])):
            self._add(y, side, over(reach, step))

    def keep(self, key: Axis) -> None:
        """Note that something is not local along the class of an axis."""
        self.kept.add(self.find(key)[0])

    def add_reach(self, key: Axis, side: int, reach: Ratio) -> None:
        """Note that an operator of a side has `reach` more positions of `key` see begin or end."""
        root, ratio = self.find(key)
        self._add(root, side, over(reach, ratio))

    def _add(self, root: Axis, side: int, reach: Ratio) -> None:
        self.reach.setdefault(root, [0, 0])[side] += reach
