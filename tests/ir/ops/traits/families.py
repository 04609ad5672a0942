"""What operators of one family do: of elements, windows, layers, and so on."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from planish.ir.ops.traits import Movement, Traits
from planish.ir.ops.traits.schemas import schema_of

from tests.ir.ops.traits.cases import Array, Case
from tests.ir.ops.traits.samples import (
    RNG,
    F,
    as_real,
    assert_near,
    differs,
    extremes,
    same,
    sample,
)


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
