"""What is stated of the values that an operator gives: order, sign, range and rounding."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from planish.ir.ops.traits import Homogeneous, Kind, Traits
from planish.ir.ops.traits.functions import function_with

from tests.ir.ops.traits.cases import Case, NoRuntimeError
from tests.ir.ops.traits.samples import (
    DOMAINS,
    RNG,
    F,
    as_real,
    assert_near,
    at_most,
    extremes,
    is_float,
    same,
    sample,
)


def commutative(case: Case, t: Traits) -> None:
    assert len(case.data) > 1
    for data in (sample(case), *([extremes(case)] if is_float(case) else [])):
        found, turned = case.of(*data), case.of(*data[::-1])
        assert same(found, turned) if len(data) == 2 else assert_near(turned, found) is None


def monotone(case: Case, t: Traits) -> None:
    if not is_float(case):
        low, high = (np.array([0, 3, 7], np.uint8).reshape(3, 1), np.array([1, 3, 250], np.uint8))
        a, b = case.of(np.minimum(low[:, 0], high)), case.of(high)
        assert at_most(a, b) if t.monotone.increases else at_most(b, a)
        return
    slack = 0 if t.exact else 2e-6
    sign = 1 if t.monotone.increases else -1
    for span in (3, 50):
        low = sample(case, -span, span)
        high = [x + np.where(RNG.random(x.shape) < 0.5, RNG.random(x.shape), 0) for x in low]
        most = DOMAINS.get(case.op, (0, math.inf))[1]
        high = [np.minimum(x, most).astype(F) for x in high]
        a, b = case.of(*low), case.of(*high)
        assert at_most(a, b, slack) if sign > 0 else at_most(b, a, slack)
        assert t.exact or not np.isnan(a).all()
    if t.monotone.is_strict:
        least, most = DOMAINS.get(case.op, (-2.5, 2.5))
        steps = np.linspace(max(least, -2.5), min(most, 2.5), 24, dtype=F).reshape(2, 3, 4)
        grid = as_real(case.of(*([steps] * len(case.data)))).reshape(-1)
        assert np.all(np.diff(grid) * sign > 0)
        for which, x in enumerate(data := sample(case, -2, 2)):
            for place in range(0, x.size, 5):
                other = [y.copy() for y in data]
                other[which].reshape(-1)[place] = np.clip(x.reshape(-1)[place] + 0.5, least, most)
                assert not same(case.of(*other), case.of(*data))


def homogeneous(case: Case, t: Traits) -> None:
    data = sample(case)
    for factor in (2.0, 0.25, 3.0) + (
        (-1.0, -2.0, 0.0) if t.homogeneous == Homogeneous.ANY else ()
    ):
        scaled = case.of(*(x * F(factor) for x in data))
        assert_near(scaled, case.of(*data) * F(factor))


def keeps_nonnegative(case: Case, t: Traits) -> None:
    _keeps_sign(case, 1)


def keeps_nonpositive(case: Case, t: Traits) -> None:
    _keeps_sign(case, -1)


def _keeps_sign(case: Case, sign: int) -> None:
    for span in (1e-4, 0.5, 3, 50):
        data = [np.abs(x) * F(sign) for x in sample(case, -span, span)]
        with np.errstate(all="ignore"):
            assert not (case.of(*data) * sign < 0).any()
    data = [np.abs(x) * F(sign) for x in extremes(case)]
    assert not (case.of(*data) * sign < 0).any()


def in_range(case: Case, t: Traits) -> None:
    spans = (1, 6, 300) if is_float(case) else ()
    results = [case.run(), *(case.of(*sample(case, -span, span)) for span in spans)]
    if is_float(case) and case.data and not t.random:
        results.append(case.of(*extremes(case)))
    for result in map(as_real, results):
        assert np.nanmin(result, initial=math.inf) >= t.low
        assert np.nanmax(result, initial=-math.inf) <= t.high


def exact(case: Case, t: Traits) -> None:
    """What is computed in a wider type is the same."""
    if not is_float(case):
        assert case.run().dtype.kind != "f"
        return
    wide = case.typed(np.float64)
    for data in (sample(case), sample(case, -1e-3, 1e-3), sample(case, -1e6, 1e6)):
        try:
            expected = wide.of(*map(as_real, data))
        except NoRuntimeError:
            return
        same_runtime = case if wide.runtime() == case.runtime() else case.on_reference()
        assert same(as_real(same_runtime.of(*data)), as_real(expected))


def rounds_once(case: Case, t: Traits) -> None:
    """What is computed in a wider type and rounded is the same."""
    if not is_float(case):
        return  # there is nothing to round
    wide = case.typed(np.float64)
    for data in (sample(case), sample(case, -1e-3, 1e-3), sample(case, 0, 9)):
        try:
            expected = wide.of(*map(as_real, data))
        except NoRuntimeError:
            return
        same_runtime = case if wide.runtime() == case.runtime() else case.on_reference()
        found = same_runtime.of(*data)
        assert same(found, expected.astype(F) if found.dtype == F else expected)


def continuous(case: Case, t: Traits) -> None:
    step = 1e-4
    least, most = DOMAINS.get(case.op, (-4, 4))
    grid = np.arange(least, most, step, dtype=F) + F(step / 3)
    values = as_real(case.of(grid))
    near = np.abs(values) < 30
    jumps = np.abs(np.diff(values))[near[1:] & near[:-1]]
    assert np.nanmax(jumps) < 0.15  # a slope of 900, as that of tan where it is 30


def loses_tails(case: Case, t: Traits) -> None:
    """It is right to a unit of 1, and to nothing better."""
    grid = np.linspace(-100, 100, 401, dtype=F)
    function = function_with(case.op, {}, case.opset)
    assert np.abs(as_real(case.of(grid)) - function(grid)).max() <= 2**-23
    if "runtime" in case.runtime().lower():
        assert as_real(case.of(np.full(8, -40, F))).max() == 0 < function(np.array(-40.0))


def integral(case: Case, t: Traits) -> None:
    for data in [sample(case)] + ([extremes(case)] if is_float(case) and t.elementwise else []):
        result = as_real(case.of(*data))
        assert same(np.rint(result), result)


def gives_back(case: Case, t: Traits) -> None:
    for span in (1, 5, 1e5):
        data = [np.abs(x) for x in sample(case, -span, span)]
        if t.gives_back == Kind.INTEGRAL:
            data = [np.rint(x) for x in sample(case, -span, span)]
        assert np.array_equal(case.of(*data), data[0])


def keeps_single(case: Case, t: Traits) -> None:
    x = np.array([1.7, -0.3], F)
    if t.elementwise:
        assert same(case.run((x,)), x)
        return
    x = x.reshape(2, 1, 1) if t.reduction else x.reshape(1, 2, 1, 1)
    if t.windowed:
        attrs = {"kernel_shape": [1, 1]}
    elif "axes" in case.attrs or len(case.inputs) > 1:
        attrs = case.attrs
    else:
        x, attrs = x[:1], case.attrs
    single = replace(case, attrs=attrs)
    result = single.of(x)
    assert same(result.reshape(-1), x.reshape(-1))


def keeps_uniform(case: Case, t: Traits) -> None:
    for value in (2.5, -0.75):
        result = case.of(*(np.full_like(case.inputs[i], value) for i in case.data))
        assert_near(result, np.full_like(result, value))


def idempotent(case: Case, t: Traits) -> None:
    for data in (sample(case), extremes(case)):
        once = case.of(*data)
        assert same(case.of(once), once)


def involution(case: Case, t: Traits) -> None:
    for data in (sample(case), *([extremes(case)] if is_float(case) else [])):
        assert same(case.of(case.of(*data)), data[0])
