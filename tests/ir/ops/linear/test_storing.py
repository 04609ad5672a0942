"""What is stored of weights computed in float64: rounding, and nothing worse."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from planish.ir.core.decline import DeclinedError
from planish.ir.ops.linear.kernel import Kernel
from planish.ir.ops.linear.storing import is_storable, need_kept, need_storable, stored

TYPES = [np.dtype(t) for t in (np.float16, ml_dtypes.bfloat16, np.float32)]


def kernel(values, bias=None):
    """Return a matrix [outputs, inputs] as a kernel of one group."""
    return Kernel(np.asarray(values, np.float64)[None], bias)


def test_what_does_not_fit_its_type_is_refused():
    big = np.array([1e5])
    assert np.isinf(stored(big, np.dtype(np.float16))).all()
    need_storable(Kernel(np.ones((1, 1, 1)), big), np.dtype(np.float32))
    for each in (
        Kernel(np.ones((1, 1, 1)), big),
        Kernel(np.full((1, 1, 1), 1e5), None),
        Kernel(np.full((1, 1, 1), np.nan), None),
    ):
        with pytest.raises(DeclinedError, match="not finite"):
            need_storable(each, np.dtype(np.float16))


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: t.name)
def test_what_becomes_subnormal_or_zero_is_refused(dtype):
    limits = ml_dtypes.finfo(dtype)
    least, step = float(limits.smallest_normal), float(limits.smallest_subnormal)
    assert is_storable(kernel([[least, 3 * least]]), dtype)
    for small in (2.4 * step, 0.4 * step):
        with pytest.raises(DeclinedError, match="lose their digits"):
            need_storable(kernel([[small, small]]), dtype)
    assert is_storable(kernel([[0.0, least]]), dtype)  # a zero that was one
    assert is_storable(kernel([[3 * step]]), dtype)  # a subnormal that is held exactly


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: t.name)
def test_a_weight_is_judged_beside_those_of_its_row_and_its_column(dtype):
    limits = ml_dtypes.finfo(dtype)
    small = 2.4 * float(limits.smallest_subnormal)
    large = float(limits.smallest_normal) * 64  # whose last digit hides it
    assert is_storable(kernel([[large, large], [large, small]]), dtype)
    assert not is_storable(kernel([[large, large], [small, small]]), dtype)
    assert not is_storable(kernel([[large, small], [large, small]]), dtype)


def test_a_dead_channel_is_nothing():
    live, dead = np.full(4, 0.1), np.full(4, 1e-41)
    assert is_storable(kernel([live, dead]), np.dtype(np.float32))
    assert not is_storable(kernel([dead, dead]), np.dtype(np.float32))


def test_a_bias_is_judged_beside_the_weights_of_its_row():
    small = np.array([1e-7])
    assert is_storable(kernel([[0.1]], small), np.dtype(np.float16))
    assert not is_storable(kernel([[2.0**-16]], small), np.dtype(np.float16))


def test_values_of_which_nothing_is_known_stand_for_themselves():
    values = np.array([1.0, 1e-7])
    need_kept(values, np.dtype(np.float16), 1.0)
    with pytest.raises(DeclinedError, match="lose their digits"):
        need_kept(values, np.dtype(np.float16))
    with pytest.raises(DeclinedError, match="as said"):
        need_kept(values * 1e6, np.dtype(np.float16), what="as said")


def test_taps_belong_to_the_row_and_to_the_column():
    """Of [1, 2, 2, k, k]: the largest weight that hides a small one may stand at another tap."""
    for shape in ((1, 2, 2, 2), (1, 2, 2, 2, 2)):
        values = np.full(shape, 1e-41)
        values[..., -1] = 1e-28
        assert is_storable(Kernel(values, None), np.dtype(np.float32))
        values[:, 1] = 1e-41  # a whole row
        assert not is_storable(Kernel(values, None), np.dtype(np.float32))


def test_a_bias_has_as_many_rows_as_there_are_groups_and_outputs():
    weight = np.array([[[1.0], [0.0]], [[0.0], [1.0]]])  # two groups of two
    bias = np.array([1e-41, 0.0, 0.0, 1e-41])
    assert is_storable(Kernel(weight, bias), np.dtype(np.float32))
    assert not is_storable(Kernel(weight, bias[[1, 0, 3, 2]]), np.dtype(np.float32))


def test_columns_are_those_of_a_group():
    weight = np.full((2, 2, 2), 1e-28)
    weight[0, :, 1] = [1e-41, 0.0]  # a small column of the first group, not of the second
    assert not is_storable(Kernel(weight, None), np.dtype(np.float32))
    weight[0, 1, 1] = 1e-28
    weight[1, :, 1] = 0.0
    assert is_storable(Kernel(weight, None), np.dtype(np.float32))


def test_no_weights_are_storable():
    for shape in ((1, 0, 3), (1, 3, 0), (1, 2, 2, 0)):
        assert is_storable(Kernel(np.zeros(shape), None), np.dtype(np.float16))


def test_the_type_is_named_that_would_lose_digits():
    with pytest.raises(DeclinedError, match="float16 would lose"):
        need_kept(np.array([1e-7]), np.dtype(np.float16))


def test_what_is_stored_is_in_order_and_keeps_its_rank():
    values = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    assert stored(values, np.dtype(np.float32)).flags.c_contiguous
    assert stored(np.array(1.5), np.dtype(np.float32)).shape == ()


def test_what_does_not_fit_is_no_warning():
    with np.errstate(all="raise"):
        assert np.isinf(stored(np.array([1e300]), np.dtype(np.float32))).all()


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: t.name)
def test_a_bias_beside_no_weights_is_judged_alone(dtype):
    small = 0.4 * float(ml_dtypes.finfo(dtype).smallest_subnormal)
    with pytest.raises(DeclinedError, match="lose their digits"):
        need_storable(Kernel(np.ones((1, 1, 0)), np.array([small])), dtype)
    with pytest.raises(DeclinedError, match="not finite"):
        need_storable(Kernel(np.ones((1, 1, 0)), np.array([np.inf])), dtype)
