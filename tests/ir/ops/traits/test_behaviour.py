"""Every trait of every operator, shown on a runtime: ONNX Runtime, or the reference where it lacks.

For each operator of the table a node is made in every version and form (`cases`); each trait that
the table states of it is a check below. A false entry fails the check of its trait.
"""

from __future__ import annotations

import itertools
import math
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np
import pytest

from planish.ir.ops.traits import Homogeneous, Integers, Kind, Movement, Traits
from planish.ir.ops.traits.functions import function_with
from planish.ir.ops.traits.lookup import _TABLE
from planish.ir.ops.traits.recognized import RECOGNIZED
from planish.ir.ops.traits.schemas import schema_of

from tests.ir.ops.traits.cases import Array, Case, NoRuntimeError, cases_of, cases_of_function

F = np.float32
RNG = np.random.default_rng()  # its state is set for each case
# Where functions of real numbers are defined.
_DOMAINS = {
    "Acos": (-1, 1),
    "Acosh": (1, 6),
    "Asin": (-1, 1),
    "Atanh": (-0.95, 0.95),
    "Log": (0.05, 6),
    "Sqrt": (0, 6),
    "Bernoulli": (0, 1),
}
_EXTREMES = np.array(
    [
        *(0, -0.0, np.nan, np.inf, -np.inf, 1e-40, -1e-40, 1e-30, 3.4e38, -3.4e38),
        *(1, -1, 0.5, -0.5, 2.5, -2.5, 20, -20, 88.8, -88.8, 1e4, -1e4, 4e9, -4e9),
    ],
    F,
)


def is_float(case: Case) -> bool:
    return all(case.inputs[i].dtype == F for i in case.data)


def sample(case: Case, low: float = -3, high: float = 3) -> list[Array]:
    """Return random data, in the domain of the operator."""
    least, most = _DOMAINS.get(case.op, (-math.inf, math.inf))
    low = max(low, least)
    high = max(min(high, most), low)
    return [_random(case.inputs[i], low, high) for i in case.data]


def _random(like: Array, low: float, high: float) -> Array:
    if like.dtype == F:
        return RNG.uniform(low, high, like.shape).astype(F)
    if like.dtype.kind in "OU":
        return RNG.permutation(like.reshape(-1)).reshape(like.shape)
    top = 2 if like.dtype == bool else 9
    return RNG.integers(0, top, like.shape).astype(like.dtype)


def extremes(case: Case) -> list[Array]:
    return [RNG.choice(_EXTREMES, case.inputs[i].shape) for i in case.data]


def as_real(array: Array) -> Array:
    return array.astype(np.float64)


def assert_near(found: Array, expected: Array, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    if found.dtype.kind not in "fiub":
        np.testing.assert_array_equal(found, expected)
        return
    a, b = as_real(found), as_real(expected)
    scale = np.abs(b[np.isfinite(b)]).max(initial=1e-30)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


def at_most(lower: Array, upper: Array, slack: float = 0.0) -> bool:
    """Say whether no element of `lower` is above that of `upper`, NaN left out.

    `slack` is a part of the largest element: runtimes approximate some functions no better.
    """
    a, b = as_real(lower), as_real(upper)
    known = np.isfinite(a) & np.isfinite(b)
    return bool(np.all((a - b)[known] <= slack * np.abs(b[known]).max(initial=0)))


def same(a: Array, b: Array) -> bool:
    if a.dtype.kind in "OU":
        return bool(np.array_equal(a, b))
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def differs(a: Array, b: Array) -> set[int]:
    """Return where two results of one shape differ, counted along all axes."""
    both = np.isnan(a) & np.isnan(b) if a.dtype.kind == "f" else np.zeros(a.shape, bool)
    return set(np.flatnonzero((a != b) & ~both).tolist())


# Families


def elementwise(case: Case, t: Traits) -> None:
    """An element decides its own result alone; operands broadcast as numpy's do."""
    positions = t.operands_of(len(case.inputs))
    assert len(positions) == (t.operands or len(case.inputs))
    assert all(case.inputs[i].size > 1 for i in positions)
    shape = np.broadcast_shapes(*(case.inputs[i].shape for i in positions))
    full = {i: np.broadcast_to(case.inputs[i], shape).copy() for i in positions}

    def result(operands: dict[int, Array]) -> Array:
        return case.run(tuple(operands.get(i, x) for i, x in enumerate(case.inputs)))

    before = result(full)
    assert before.shape == shape
    assert_near(case.run(), before)
    order = RNG.permutation(before.size)
    shuffled = {i: x.reshape(-1)[order].reshape(shape) for i, x in full.items()}
    assert_near(result(shuffled).reshape(-1), before.reshape(-1)[order])
    for position in positions:
        changed = dict(full)
        changed[position] = full[position].copy()
        other = changed[position].reshape(-1)
        place = RNG.integers(other.size)
        other[place] = other[place - 1]
        assert differs(result(changed), before) <= {place}
    if len(positions) > 1 and case.op != "PRelu" and not t.keeps_shape:
        shapes = [(2, 1, 4), (3, 1), (1,)][: len(positions)]
        parts = {
            i: full[i].reshape(-1)[: math.prod(s)].reshape(s)
            for i, s in zip(positions, shapes, strict=True)
        }
        wide = np.broadcast_shapes(*shapes)
        assert_near(
            result(parts), result({i: np.broadcast_to(x, wide).copy() for i, x in parts.items()})
        )


def comparison(case: Case, t: Traits) -> None:
    assert t.elementwise or case.opset < 7
    assert t.operands_of(len(case.inputs)) == range(2) or case.opset < 7
    assert case.run().dtype == bool
    assert "tensor(float)" in schema_of(case.op, max(case.opset, 11)).inputs[0].types


def logical(case: Case, t: Traits) -> None:
    kinds = schema_of(case.op, case.opset).inputs[0].types
    assert not any("float" in kind or "double" in kind for kind in kinds)
    assert t.elementwise or case.opset < 7


def movement(case: Case, t: Traits) -> None:
    """Elements come from the data; which, their values decide in a selection only."""
    sizes = [case.inputs[i].size for i in case.data]
    starts = np.cumsum([1, *sizes])
    numbered = [
        np.arange(start, start + size, dtype=F).reshape(case.inputs[i].shape)
        for i, start, size in zip(case.data, starts, sizes, strict=False)
    ]
    data = sample(case)
    if case.inputs[case.data[0]].dtype == bool:
        pytest.fail("a case of numbers is needed")
    outputs = case.run_all(case.with_data(*numbered))
    assert t.moved_outputs == 1 or len(outputs) > 1
    outputs = outputs if t.moved_outputs is None else outputs[: t.moved_outputs]
    found = np.concatenate([y.reshape(-1) for y in outputs]).astype(np.int64)
    filled = (found < 1) | (found > sum(sizes))
    assert t.fills or not filled.any()
    if t.movement <= Movement.PERMUTE:
        assert sorted(found.tolist()) == list(range(1, sum(sizes) + 1))
    if t.movement == Movement.RESHAPE:
        assert found.tolist() == list(range(1, sum(sizes) + 1))
    for given in (data, extremes(case)):
        flat = np.concatenate([x.reshape(-1) for x in given])
        others = case.run_all(case.with_data(*given))[: len(outputs)]
        result = np.concatenate([y.reshape(-1) for y in others])
        if t.movement <= Movement.TAKE:
            assert same(result[~filled], flat[found[~filled] - 1])
            if filled.any():
                assert len(set(result[filled].tolist())) == 1
        elif given is data:
            assert set(result.tolist()) <= set(flat.tolist())


def fills(case: Case, t: Traits) -> None:
    assert t.movement <= Movement.TAKE
    result = case.of(*(np.ones_like(case.inputs[i]) for i in case.data))
    assert set(result.reshape(-1).tolist()) - {1.0}


def reduction(case: Case, t: Traits) -> None:
    x = sample(case)[0]
    keeps = case.attrs.get("keepdims", 1)
    axes = case.attrs.get("axes") or (case.inputs[1].tolist() if len(case.inputs) > 1 else range(3))
    result = case.of(x)
    expected = [
        1 if i in axes else size for i, size in enumerate(x.shape) if keeps or i not in axes
    ]
    assert list(result.shape) == expected
    axis = axes[0]
    shuffled = x.take(RNG.permutation(x.shape[axis]), axis)
    assert_near(case.of(shuffled), result)


def arg_reduction(case: Case, t: Traits) -> None:
    x = sample(case)[0]
    function = {"ArgMax": np.argmax, "ArgMin": np.argmin}[case.op]
    np.testing.assert_array_equal(case.of(x)[0], function(x, axis=0))


def pooling(case: Case, t: Traits) -> None:
    """Each channel alone, one number for each window, or for all positions."""
    (x,) = sample(case)
    result = case.of(x)
    assert result.shape[:2] == x.shape[:2]
    if not t.windowed:
        assert result.shape[2:] == (1, 1)
    other = x.copy()
    other[0, 1] += 1
    moved = (case.of(other) != result).any((2, 3))
    assert moved.sum() == 1
    assert moved[0, 1]


def weighted(case: Case, t: Traits) -> None:
    """Linear in the data; outputs and inputs lie along the axes of the weight that are named."""
    w = t.weighted
    assert w is not None
    assert t.layer == case.op
    group = case.attrs.get("group", 1) if w.grouped else 1
    weight, x = case.inputs[w.weight], case.inputs[w.data]
    y = case.run()
    channels = -1 if weight.ndim == 2 else 1
    outputs = weight.shape[w.outputs] * (group if case.op == "ConvTranspose" else 1)
    inputs = weight.shape[w.inputs] * (1 if case.op == "ConvTranspose" else group)
    assert y.shape[channels] == outputs
    assert x.shape[channels] == inputs or case.op == "CausalConvWithState"

    def run(**parts: Array) -> Array:
        given = list(case.inputs)
        for name, array in parts.items():
            given[getattr(w, name)] = array
        return as_real(case.run(tuple(given)))

    if case.op == "CausalConvWithState":  # a depthwise one
        assert_near(run(data=-x) + run(data=x), 2 * run(data=np.zeros_like(x)))
        return
    if not w.quantized:
        nothing = run(data=np.zeros_like(x))
        assert_near(run(data=x + 3 * x) - nothing, 4 * (as_real(y) - nothing))
    order = RNG.permutation(weight.shape[w.outputs])
    if group == 1:
        bias = case.inputs[w.bias] if 0 <= w.bias < len(case.inputs) else None
        parts = {} if bias is None else {"bias": bias[order]}
        assert_near(
            run(weight=weight.take(order, w.outputs), **parts), as_real(y).take(order, channels)
        )
        order = RNG.permutation(weight.shape[w.inputs])
        if case.op != "DeformConv":
            assert_near(
                run(weight=weight.take(order, w.inputs), data=x.take(order, channels)), as_real(y)
            )
    if 0 <= w.bias < len(case.inputs):
        bias = case.inputs[w.bias].copy()
        bias[1] += 40
        changed = run(bias=bias) != as_real(y)
        others = tuple(axis for axis in range(y.ndim) if axis != channels % y.ndim)
        assert np.flatnonzero(changed.any(others)).tolist() == [1]
    else:
        assert w.bias < 0 or len(case.inputs) <= w.bias


def layer(case: Case, t: Traits) -> None:
    assert t.weighted is not None
    assert t.layer == case.op


def normalization(case: Case, t: Traits) -> None:
    """Statistics of the data, or ones that stand for them, scale or shift each element."""
    (x,) = sample(case)
    if case.op == "BatchNormalization":
        scale, bias, mean, var = (v.reshape(-1, 1, 1) for v in case.inputs[1:])
        assert_near(case.of(x), (x - mean) / np.sqrt(var + 1e-5) * scale + bias)
    elif case.op == "LRN":
        assert np.abs(case.of(x * 100)).sum() < 50 * np.abs(case.of(x)).sum()
    else:
        assert_near(case.of(x * 8), case.of(x * 4), 1e-4)


def softmax(case: Case, t: Traits) -> None:
    """Elements along the axis (all from there on, once) compete."""
    (x,) = sample(case)
    x[0, 0, 1] = 9
    result = case.of(x)
    other = x.copy()
    other[0, 0, 0] = 10
    moved = {tuple(place) for place in np.argwhere(case.of(other) != result).tolist()}
    inside = itertools.product([0], range(3) if case.opset < 13 else [0], range(4))
    assert moved <= set(inside)
    assert moved
    assert_near(case.of(x + 1), result if case.op != "LogSoftmax" else case.of(x))


def cumulative(case: Case, t: Traits) -> None:
    (x,) = sample(case, 0.5, 2)
    other = x.copy()
    other[0, 2] += 1
    moved = np.argwhere(case.of(other) != case.of(x)).tolist()
    first = 3 if case.attrs.get("exclusive") else 2
    expected = range(3) if case.attrs.get("reverse") else range(first, 5)
    assert moved == [[0, place] for place in expected]


def resampling(case: Case, t: Traits) -> None:
    """Positions are weighed with weights that sum to one."""
    if case.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize":
        (x,) = sample(case)
        assert case.of(x).shape != x.shape
        assert_near(case.of(np.full_like(x, 2.5)), np.full_like(case.of(x), 2.5))


def recurrent(case: Case, t: Traits) -> None:
    """A step sees what came before."""
    (x,) = sample(case)
    other = x.copy()
    other[2] += 1
    moved = (case.of(other) != case.of(x)).any((1, 2, 3))
    assert moved.tolist() == [False, False, True, True]


def quantizer(case: Case, t: Traits) -> None:
    assert {case.inputs[0].dtype.kind, case.run().dtype.kind} == {"f", "u"}


def constant(case: Case, t: Traits) -> None:
    assert t.data == ()
    results = [
        case.run(
            tuple(np.roll(x, 1) if i or x.dtype == F else x for i, x in enumerate(case.inputs))
        )
        for _ in range(2)
    ]
    assert same(*results)
    assert same(results[0], case.run())


def random(case: Case, t: Traits) -> None:
    assert not t.pure
    results = {case.run().tobytes() for _ in range(4)}
    assert len(results) > 1


def trains(case: Case, t: Traits) -> None:
    """Tested by name below."""
    assert case.op in ("BatchNormalization", "Dropout")


def pure(case: Case, t: Traits) -> None:
    assert same(case.run(), case.run())


def windowed(case: Case, t: Traits) -> None:
    assert "kernel_shape" in schema_of(case.op, case.opset).attributes


# Inputs


def commutative(case: Case, t: Traits) -> None:
    assert len(case.data) > 1
    for data in (sample(case), *([extremes(case)] if is_float(case) else [])):
        found, turned = case.of(*data), case.of(*data[::-1])
        assert same(found, turned) if len(data) == 2 else assert_near(turned, found) is None


# Values


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
        most = _DOMAINS.get(case.op, (0, math.inf))[1]
        high = [np.minimum(x, most).astype(F) for x in high]
        a, b = case.of(*low), case.of(*high)
        assert at_most(a, b, slack) if sign > 0 else at_most(b, a, slack)
        assert t.exact or not np.isnan(a).all()
    if t.monotone.is_strict:
        least, most = _DOMAINS.get(case.op, (-2.5, 2.5))
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
    least, most = _DOMAINS.get(case.op, (-4, 4))
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


_WIDER = {"int32": "int64", "uint8": "uint64", "int8": "int64"}


def integers(case: Case, t: Traits) -> None:
    """Against the same in 64 bits: equal, equal but for what wraps around, or not equal at all."""
    special = _SPECIAL_INTEGERS.get(case.op)
    if special is not None:
        special(case, t)
        return
    kinds = schema_of(case.op, case.opset).inputs[case.data[0]].types
    narrow = next(dtype for dtype in _WIDER if f"tensor({dtype})" in kinds)
    wide = _WIDER[narrow]
    if f"tensor({wide})" not in kinds:
        assert t.integers == Integers.EXACT  # of MaxPool and DequantizeLinear: against floats
        data = [_ends_of(narrow, case.inputs[i].shape) for i in case.data]
        if "tensor(float)" in kinds:
            assert_near(case.typed(narrow).of(*data), case.of(*(x.astype(F) for x in data)))
        return
    differs, wraps = False, True
    for draw in range(24):
        try:
            found, exact = _both(case, narrow, wide, draw)
        except NoRuntimeError:
            return
        differs |= not np.array_equal(found.astype(exact.dtype), exact)
        wraps &= np.array_equal(found, exact.astype(found.dtype))
        if differs and wraps == (t.integers != Integers.OVERFLOW):
            break
    assert t.integers != Integers.SATURATE
    assert differs == (t.integers != Integers.EXACT)
    assert wraps == (t.integers != Integers.OVERFLOW)


def _both(case: Case, narrow: str, wide: str, draw: int) -> tuple[Array, Array]:
    """Return what comes of the same extreme integers in both types."""
    inputs = list(case.typed(narrow).inputs)
    for position in case.alike:
        inputs[position] = _ends_of(narrow, inputs[position].shape, draw)
    if case.op in ("BitShift", "Pow"):
        inputs[1] = inputs[1] % 7 + 1  # more is undefined
    if case.op in ("Div", "Mod"):
        inputs[1] = np.where(inputs[1] == 0, -1, inputs[1]).astype(narrow)
    grown = [x.astype(wide) if i in case.alike else x for i, x in enumerate(inputs)]
    return case.run(tuple(inputs)), case.run(tuple(grown))


def _ends_of(dtype: str, shape: tuple[int, ...], draw: int = 99) -> Array:
    """Return integers at the ends of the range and around zero; all one in the first draws."""
    info = np.iinfo(dtype)
    ends = [info.max, info.min, info.min + 1, info.max - 1, 0, 1, 2, 3, 100]
    ends += [-1] if info.min < 0 else []
    chosen = ends[draw : draw + 1] or ends
    return RNG.choice(np.array(chosen, object), shape).astype(dtype)


def _cast_integers(case: Case, t: Traits) -> None:
    x = np.array([[2**40 + 3, -(2**40), -7, 1]], np.int64)
    like = (np.zeros(1, np.int32),) if case.op == "CastLike" else ()
    result = case.run((x, *like))
    into = "i" if result.dtype.kind == "i" else "f"
    assert (into == "i") == (t.integers == Integers.WRAP)
    if into == "i":
        np.testing.assert_array_equal(result, x.astype(np.int32))


def _products(case: Case, t: Traits) -> None:
    """Enough of them leave 32 bits."""
    count = 1 << 16
    shapes = {"MatMulInteger": [(1, count), (count, 1)]}.get(case.op, [(1, count, 1, 1)] * 2)
    assert t.integers == Integers.WRAP
    result = case.run(tuple(np.full(shape, 255, np.uint8) for shape in shapes))
    assert result.dtype == np.int32
    assert result.item() == np.int64(255 * 255 * count).astype(np.int32)


def _saturates(case: Case, t: Traits) -> None:
    assert t.integers == Integers.SATURATE
    scale, zero = np.array(1, F), np.array(0, np.uint8)
    if case.op == "QuantizeLinear":
        result = case.run((np.array([-300, 3, 300], F), scale, zero))
        assert result.tolist() == [0, 3, 255]
        return
    data, weight = (np.full(case.inputs[i].shape, 200, np.uint8) for i in (0, 3))
    rest = case.inputs[8:]
    result = case.run((data, scale, zero, weight, scale, zero, scale, zero, *rest))
    assert set(result.reshape(-1).tolist()) == {255}


_SPECIAL_INTEGERS = {
    "Cast": _cast_integers,
    "CastLike": _cast_integers,
    "ConvInteger": _products,
    "MatMulInteger": _products,
    "QLinearConv": _saturates,
    "QLinearMatMul": _saturates,
    "QuantizeLinear": _saturates,
}


# Shape


def keeps_shape(case: Case, t: Traits) -> None:
    assert case.run().shape == case.inputs[0].shape


def keeps_batch(case: Case, t: Traits) -> None:
    data = sample(case)
    before = case.of(*data)
    assert len(before) == len(data[0])
    if len(before) == 1:
        return
    changed = [x.copy() for x in data]
    for x in changed:
        x[1] = x[0]
    after = case.of(*changed)
    assert_near(after[0], before[0])
    assert_near(after[1], before[0])


_STATED = {
    "pure": pure,
    "windowed": windowed,
    "elementwise": elementwise,
    "comparison": comparison,
    "logical": logical,
    "movement": movement,
    "fills": fills,
    "reduction": reduction,
    "arg_reduction": arg_reduction,
    "pooling": pooling,
    "weighted": weighted,
    "layer": layer,
    "normalization": normalization,
    "softmax": softmax,
    "cumulative": cumulative,
    "resampling": resampling,
    "recurrent": recurrent,
    "quantizer": quantizer,
    "constant": constant,
    "random": random,
    "trains": trains,
    "commutative": commutative,
    "monotone": monotone,
    "homogeneous": homogeneous,
    "keeps_nonnegative": keeps_nonnegative,
    "keeps_nonpositive": keeps_nonpositive,
    "low": in_range,
    "high": in_range,
    "exact": exact,
    "rounds_once": rounds_once,
    "continuous": continuous,
    "loses_tails": loses_tails,
    "integral": integral,
    "gives_back": gives_back,
    "keeps_single": keeps_single,
    "keeps_uniform": keeps_uniform,
    "idempotent": idempotent,
    "involution": involution,
    "neutral": neutral,
    "zero": zero,
    "negative_zero": negative_zero,
    "nan": nan,
    "ends": ends,
    "of_nothing": of_nothing,
    "integers": integers,
    "keeps_shape": keeps_shape,
    "keeps_batch": keeps_batch,
}
# What the other checks ask for, or `test_lookup`.
_USED = {"op", "since", "bodies", "operands", "moved_outputs", "data"}
_NOTHING_SAID = Traits()


def test_every_trait_has_a_check():
    assert {field.name for field in fields(Traits)} == _STATED.keys() | _USED


def check(case: Case) -> list[str]:
    """Check every trait that the table states of a case; return their names."""
    traits = case.traits
    checked = []
    seed = zlib.crc32(str(case).encode())
    RNG.bit_generator.state = np.random.default_rng(seed).bit_generator.state
    for name, function in _STATED.items():
        if getattr(traits, name) != getattr(_NOTHING_SAID, name):
            try:
                function(case, traits)
            except NoRuntimeError:
                raise
            except Exception as error:
                raise AssertionError(f"{case}: {name}: {error!r}"[:2000]) from error
            checked.append(name)
    return checked


# Versions before opset 7 run where ONNX Runtime still does; later ones must, but for these.
_OLD = set(range(1, 7))
_NOWHERE = {"GlobalLpPool": {22}, "Multinomial": {22}, "Scatter": {11}, "Upsample": {10}}


@pytest.mark.parametrize("op", sorted(_TABLE))
def test_operators(op):
    _check_all(cases_of(op), _OLD | _NOWHERE.get(op, set()))


@pytest.mark.parametrize("name", sorted(set(RECOGNIZED) - {"LayerNormalization"}))
def test_functions_of_the_domain_planish(name):
    _check_all(cases_of_function(name), set())


def _check_all(cases: Iterable[Case], may_miss: set[int]) -> None:
    ran = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in cases:
            try:
                case.run()
            except NoRuntimeError:
                assert case.opset in may_miss, case
                continue
            check(case)
            ran += 1
    assert ran
