"""Which sums and products may be computed beforehand: against numpy's own rounding."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from planish.ir.core.decline import DeclinedError
from planish.ir.ops.linear.affine import Composition
from planish.ir.ops.linear.conditioning import need_conditioned, need_in_range

# What verification grants of the range, or a unit in the last place where that is more.
TYPES = {np.float16: 1e-3, ml_dtypes.bfloat16: 8e-3, np.float32: 1e-5, np.float64: 1e-5}


def declines(question, *given):
    try:
        question(*given)
    except DeclinedError:
        return True
    return False


@pytest.mark.parametrize(("dtype", "granted"), TYPES.items(), ids=str)
def test_what_is_granted_is_what_rounding_leaves_of_a_sum(dtype, granted):
    x = np.random.default_rng(0).uniform(-1, 1, 1000).astype(dtype)
    for power in range(-2, min(60, int(ml_dtypes.finfo(dtype).maxexp) - 1)):
        c = np.array(2.0**power, dtype)
        lost = np.abs(((x + c) - c).astype(np.float64) - x.astype(np.float64)).max()
        if not declines(need_conditioned, 2.0**power, 1.0, dtype):
            assert lost <= granted
    assert not declines(need_conditioned, 1.0, 1.0, dtype)
    assert declines(need_conditioned, 1.5 * 2.0 ** np.finfo(np.float64).nmant, 1.0, dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: t.__name__)
def test_factors_that_leave_the_range_are_not_merged(dtype):
    largest, least = (float(getattr(ml_dtypes.finfo(dtype), n)) for n in ("max", "smallest_normal"))
    one = np.array(1.0)
    for factor in (largest / 2, least / 2):
        size = np.array(factor)
        assert declines(need_in_range, np.minimum(size, 1), np.maximum(size, 1), one, dtype)
    # Where the whole product is as large, nothing is passed through.
    assert not declines(need_in_range, one, np.array(largest / 2), np.array(largest / 2), dtype)
    assert not declines(need_in_range, np.array(0.0), one, np.array(0.0), dtype)


def chain(steps, bias=0.0):
    total = Composition.of(np.array(bias))
    for scale, shift in steps:
        total = total.then(np.array(scale), np.array(shift), None)
    return total


TRICK = 1.5 * 2**23

DECIDED = {
    "(x + c) - c": [(1.0, TRICK), (1.0, -TRICK)],
    "(x - c) + c": [(1.0, -TRICK), (1.0, TRICK)],
    "c - (c - x)": [(-1.0, TRICK), (-1.0, TRICK)],
    "three steps": [(1.0, TRICK), (1.0, -TRICK / 2), (1.0, -TRICK / 2)],
    "scaled on the way": [(0.5, TRICK), (2.0, -2 * TRICK)],
    "scaled before and after": [(255.0, 0.0), (1.0, TRICK), (1.0, -TRICK), (1 / 255, 0.0)],
    "(x * c) / c": [(1e30, 0.0), (1e-30, 0.0)],
    "(x / c) * c": [(1e-30, 0.0), (1e30, 0.0)],
    "in two steps each": [(1e15, 0.0), (1e15, 0.0), (1e-15, 0.0), (1e-15, 0.0)],
}
FREE = {
    "one step": [(1.0, TRICK)],
    "sums that stay large": [(1.0, TRICK), (1.0, TRICK)],
    "normalization of pixels": [(1 / 255, 0.0), (1.0, -0.485), (1 / 0.229, 0.0)],
    "from [0, 255] to [-1, 1]": [(1.0, -127.5), (1 / 127.5, 0.0)],
    "a large factor that stays": [(1e20, 0.0), (1e10, 0.0)],
    "a shift that is scaled away": [(1.0, 1e4), (1e-4, 0.0), (1e4, 0.0), (1.0, 0.5)],
}


@pytest.mark.parametrize("name", DECIDED)
def test_a_chain_whose_steps_decide(name):
    assert declines(chain(DECIDED[name]).need_conditioned, np.float32)


def test_the_first_step_may_be_the_bias_of_a_layer():
    assert declines(chain([(1.0, -TRICK)], bias=TRICK).need_conditioned, np.float32)


@pytest.mark.parametrize("name", FREE)
def test_a_chain_whose_result_decides(name):
    assert not declines(chain(FREE[name]).need_conditioned, np.float32)


def test_a_reason_is_given():
    with pytest.raises(DeclinedError, match=r"^as said$"):
        need_conditioned(65.0, 1.0, np.float32, "as said")
    with pytest.raises(DeclinedError, match="rounding would show"):
        need_conditioned(65.0, 1.0, np.float32)
    with pytest.raises(DeclinedError, match="the range would show"):
        need_in_range(np.array(1.0), np.array(1e30), np.array(1.0), np.float32)


@pytest.mark.parametrize(
    ("dtype", "most"), [(np.float64, 2.0**30), (np.float32, 64.0), (np.float16, 2.0)]
)
def test_as_much_larger_as_is_granted(dtype, most):
    parts = np.array([0.0, -most])
    assert not declines(need_conditioned, parts, np.array([0.5, -1.0]), dtype)
    assert declines(need_conditioned, parts * 1.01, np.array([0.5, -1.0]), dtype)
    assert not declines(need_conditioned, np.zeros(0), np.zeros(0), dtype)
    assert not declines(need_conditioned, np.zeros(0), np.array([0.001]), dtype)
    assert declines(need_conditioned, np.array(0.01), np.zeros(0), dtype)


@pytest.mark.parametrize(("dtype", "above", "below"), [(np.float32, 32, 32), (np.float16, 4, 13)])
def test_as_much_room_as_is_granted(dtype, above, below):
    one = np.array(1.0)
    for end in (2.0**-3, 1.0, 2.0**3):
        high, low = 2.0**above * max(end, 1), 2.0**-below * min(end, 1)
        assert not declines(need_in_range, one, np.array(high), np.array(-end), dtype)
        assert declines(need_in_range, one, np.array(high * 1.01), np.array(-end), dtype)
        assert not declines(need_in_range, np.array(low), one, np.array(end), dtype)
        assert declines(need_in_range, np.array(low / 1.01), one, np.array(end), dtype)


def test_a_shift_moves_where_it_is_not_large_beside_what_is_given():
    known = (np.array([0.5, -3.0]), np.array([1.0, 2.0]))
    total = Composition.of(np.zeros(2)).then(np.ones(2), np.array([180.0, 0.0]), known)
    assert not declines(total.need_movable, np.float32)
    total = Composition.of(np.zeros(2)).then(np.ones(2), np.array([200.0, 0.0]), known)
    assert declines(total.need_movable, np.float32)
    assert not declines(chain([(1.0, 63.0)]).need_movable, np.float32)
    with pytest.raises(DeclinedError, match=r"^its shift is so large beside what it gives that"):
        chain([(1.0, 65.0)]).need_movable(np.float32)


def test_what_a_normalization_gives_counts_as_left():
    known = (np.array(2.0), np.array(0.5))
    steps = chain([(1.0, 100.0), (1.0, -100.0)])
    assert declines(steps.need_conditioned, np.float32)
    first = Composition.of(np.array(0.0)).then(np.array(1.0), np.array(100.0), known)
    for center, spread in ((2.0, 0.5), (0.5, -2.0)):
        last = first.then(np.array(1.0), np.array(-100.0), (np.array(center), np.array(spread)))
        assert not declines(last.need_conditioned, np.float32)


def test_what_is_granted_is_that_of_the_type():
    steps = chain([(1.0, 100.0), (1.0, -99.0)])
    assert declines(steps.need_conditioned, np.float32)
    assert not declines(steps.need_conditioned, np.float64)


def test_room_beyond_the_largest_number_is_no_warning():
    one, end = np.array(1.0), np.array(float(np.finfo(np.float64).max))
    with np.errstate(all="raise"):
        assert not declines(need_in_range, one, end, end, np.float64)


def test_steps_beyond_the_largest_number_are_no_warning():
    large = np.array([1e300, np.inf])
    first = Composition.of(np.zeros(2)).then(large, np.zeros(2), (np.ones(2), np.ones(2)))
    with np.errstate(all="raise"):
        total = first.then(np.array([1e300, 0.0]), np.ones(2), None)
    assert np.isinf(total.scale[0])
    assert np.isnan(total.scale[1])


def test_a_shift_moves_the_center_of_what_is_given():
    given = (np.array(2.0), np.array(0.5))
    first = Composition.of(np.array(0.0)).then(np.array(1.0), np.array(0.0), given)
    center, spread = first.then(np.array(-3.0), np.array(1.0), None).typical
    assert (center, spread) == (-5.0, 1.5)
