"""Between which numbers the results of an operator on integers lie, were they not to overflow.

    x in [a, b], y in [c, d]:  x + y in [a + c, b + d],  x y in the hull of a c, a d, b c, b d

(Moore, Interval Analysis, 1966).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import onnx_graphsurgeon as gs

from .clips import Range
from .traits import traits_of

UNBOUNDED: Range = (-math.inf, math.inf)


def integer_range(
    node: gs.Node, opset: int, operands: Sequence[Range | None], elements: int | None
) -> Range:
    """Return bounds of the results of `node`.

    `operands`: those of its inputs, None for what holds no integers; `elements`: how many the first
    input has, where that is known. `UNBOUNDED` where nothing is known.
    """
    given = [operands[i] for i in traits_of(node, opset).data_of(len(operands))]
    known = [each for each in given if each is not None]
    if not known:
        return UNBOUNDED
    rule = _RULES.get(node.op)
    if rule is not None:
        return rule(known)
    if node.op in _SUMS:
        return UNBOUNDED if elements is None else _times(known[0], (0, max(elements, 1)))
    if traits_of(node, opset).integers.may_overflow:
        return UNBOUNDED
    return min(low for low, _ in known), max(high for _, high in known)


def _plus(a: Range, b: Range) -> Range:
    return a[0] + b[0], a[1] + b[1]


def _times(a: Range, b: Range) -> Range:
    products = [x * y if x and y else 0 for x in a for y in b]  # 0 * inf is 0 here
    return min(products), max(products)


def _negative(a: Range) -> Range:
    return -a[1], -a[0]


def _up_to(a: Range) -> Range:
    """Return all whose absolute value is no larger: of quotients, remainders, magnitudes."""
    most = max(map(abs, a))
    return -most, most


_RULES: dict[str, Callable[[Sequence[Range]], Range]] = {
    "Abs": lambda given: _up_to(given[0]),
    "Add": lambda given: functools.reduce(_plus, given),
    "Cast": lambda given: given[0],
    "Div": lambda given: _up_to(given[0]),
    "Mod": lambda given: _up_to(given[0]),
    "Mul": lambda given: functools.reduce(_times, given),
    "Neg": lambda given: _negative(given[0]),
    "Sign": lambda given: (-1, 1),
    "Sub": lambda given: _plus(given[0], _negative(given[1])),
    "Sum": lambda given: functools.reduce(_plus, given),
}
_SUMS = frozenset({"CumSum", "ReduceSum"})
