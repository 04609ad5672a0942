"""What an operator makes of zero, NaN, infinity, of nothing, and of what leaves it alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from planish.ir.ops.traits import Traits

from tests.ir.ops.traits.cases import Array, Case
from tests.ir.ops.traits.samples import RNG, F, assert_near, is_float, same, sample


def neutral(case: Case, t: Traits) -> None:
    x = sample(case)[0]
    other = np.full(x.shape, t.neutral).astype(x.dtype)
    assert np.array_equal(case.of(x, other), x)
    if t.commutative:
        assert np.array_equal(case.of(other, x), x)
    assert not all(same(case.of(x, np.full(x.shape, n).astype(x.dtype)), x) for n in (0, 1))


def zero(case: Case, t: Traits) -> None:
    zeros = [np.zeros_like(case.inputs[i]) for i in case.data]
    assert not case.of(*zeros).astype(np.float64).any()
    if is_float(case):
        assert not case.of(*(-x for x in zeros)).astype(np.float64).any()


def negative_zero(case: Case, t: Traits) -> None:
    for sign in (1, -1):
        result = case.of(*(np.full_like(case.inputs[i], 0.0 * sign) for i in case.data))
        assert not result.any()
        assert (np.signbit(result) == (sign < 0)).all()


def nan(case: Case, t: Traits) -> None:
    """Whatever changes with an element is NaN where that element is."""
    data = sample(case)
    before = case.of(*data)
    for which, array in enumerate(data):
        seen = False
        # Of some, such as Where, half of the elements are not looked at.
        for index in RNG.permutation(array.size)[: array.size if t.elementwise else 1]:
            place = tuple(map(int, np.unravel_index(index, array.shape)))
            seen |= _is_nan_behind(case, data, which, place, before)
            if seen:
                break
        assert seen or not t.elementwise


def _is_nan_behind(
    case: Case, data: list[Array], which: int, place: tuple[int, ...], before: Array
) -> bool:
    """Check the NaN behind one element; say whether anything depends on it."""

    def result(value: float) -> Array:
        changed = [x.copy() for x in data]
        changed[which][place] = value
        return case.of(*changed)

    moved = np.zeros(before.shape, bool)
    for value in (0.3, -0.4, 0.9, 2.5, -2.5, 100, -100):
        other = result(value)
        moved |= (other != before) & ~np.isnan(before) & ~np.isnan(other)
    assert np.isnan(result(math.nan)[moved]).all()
    return bool(moved.any())


def ends(case: Case, t: Traits) -> None:
    assert t.ends is not None
    found = case.of(np.array([-math.inf, math.inf], F))
    assert_near(found, np.array(t.ends, F), 1e-6)
    for at, sign in zip(t.ends, np.signbit(found), strict=True):
        assert at != 0 or math.copysign(1, at) == (-1 if sign else 1)


def of_nothing(case: Case, t: Traits) -> None:
    assert t.reduction or t.pooling
    if t.pooling:
        # Both taps of the one window lie in the pads. Pools give the lowest number for infinity.
        window = {"kernel_shape": [2], "dilations": [2], "pads": [1, 1]}
        if case.opset >= 10 and len(case.inputs) == 1:
            result = replace(case, attrs=window).run((np.ones((1, 1, 1), F),))
            assert result.reshape(-1).tolist() == [np.nan_to_num(F(t.of_nothing))]
        return
    empty = np.zeros((2, 0, 3), F)
    if case.attrs.get("axes", [1]) != [1] or (
        len(case.inputs) > 1 and case.inputs[1].tolist() != [1]
    ):
        return
    result = case.of(empty)
    assert result.size
    assert set(result.reshape(-1).tolist()) == {t.of_nothing}
