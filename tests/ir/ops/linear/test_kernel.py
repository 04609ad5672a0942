"""The algebra of kernels, against the reference runtime in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from planish.ir.ops.linear.kernel import (
    Kernel,
    add_taps,
    compose,
    depthwise,
    from_conv,
    from_conv_transpose,
    from_matrix,
    matrix_blocks,
    to_conv,
    to_conv_transpose,
    to_matrix,
)

from tests.helpers import Array

G = np.random.default_rng(1)
X = G.standard_normal((2, 6, 7, 5))


def _reference(op: str, x: Array, weight: Array, bias: Array | None, **attrs: Any) -> Array:
    """Run one operator on onnx.reference in float64."""
    held = {"x": x, "w": weight, **({} if bias is None else {"b": bias})}
    info = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, v.shape) for n, v in held.items()]
    graph = helper.make_graph(
        [helper.make_node(op, list(held), ["y"], **attrs)],
        "g",
        info,
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None] * x.ndim)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model)
    (y,) = ReferenceEvaluator(model).run(None, held)
    return np.asarray(y)


def _conv(kernel: Kernel, x: Array = X, **attrs: Any) -> Array:
    return _reference("Conv", x, to_conv(kernel), kernel.bias, group=kernel.group, **attrs)


def _transposed(kernel: Kernel, x: Array = X, **attrs: Any) -> Array:
    """Run group by group: the reference runtime gets ConvTranspose with groups wrong."""
    parts = zip(
        np.split(x, kernel.group, axis=1),
        np.split(to_conv_transpose(kernel), kernel.group),
        np.split(kernel.full_bias(), kernel.group),
        strict=True,
    )
    return np.concatenate([_reference("ConvTranspose", *part, **attrs) for part in parts], axis=1)


def _kernel(group: int, outs: int, ins: int, *size: int, biased: bool = True) -> Kernel:
    bias = G.standard_normal(group * outs) if biased else None
    return Kernel(G.standard_normal((group, outs, ins, *size)), bias)


RUNS = {"Conv": _conv, "ConvTranspose": _transposed}
GROUPS = [(1, 4, 6), (2, 3, 3), (3, 1, 2), (6, 2, 1)]


@pytest.mark.parametrize(("group", "outs", "ins"), GROUPS)
def test_a_convolution_survives_the_round_trip(group, outs, ins):
    weight, bias = G.standard_normal((group * outs, ins, 3, 2)), G.standard_normal(group * outs)
    kernel = from_conv(weight.astype(np.float32), bias, group)
    assert (kernel.group, kernel.outputs, kernel.inputs) == (group, group * outs, 6)
    assert kernel.size == (3, 2)
    assert kernel.weight.dtype == np.float64
    np.testing.assert_array_equal(to_conv(kernel), weight.astype(np.float32))
    np.testing.assert_array_equal(kernel.bias, bias)


@pytest.mark.parametrize(("group", "outs", "ins"), GROUPS)
def test_a_transposed_convolution_survives_the_round_trip(group, outs, ins):
    weight = G.standard_normal((group * ins, outs, 3, 2))
    kernel = from_conv_transpose(weight, None, group)
    assert (kernel.group, kernel.outputs, kernel.inputs) == (group, group * outs, 6)
    assert kernel.bias is None
    np.testing.assert_array_equal(to_conv_transpose(kernel), weight)
    bias = G.standard_normal(group * outs)
    np.testing.assert_array_equal(from_conv_transpose(weight, bias, group).bias, bias)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_matrix_survives_the_round_trip(transposed):
    weight = G.standard_normal((4, 6) if transposed else (6, 4))
    kernel = from_matrix(weight, np.ones((1, 4)), transposed=transposed)
    assert (kernel.inputs, kernel.outputs, kernel.size) == (6, 4, ())
    assert kernel.is_pointwise
    assert kernel.bias.shape == (4,)
    np.testing.assert_array_equal(to_matrix(kernel, transposed=transposed), weight)
    np.testing.assert_array_equal(to_matrix(kernel), weight.T if transposed else weight)


def test_a_matrix_is_inputs_by_outputs_unless_transposed():
    weight = G.standard_normal((6, 4))
    assert from_matrix(weight, None).outputs == 4
    np.testing.assert_array_equal(matrix_blocks(weight), weight.T[None])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_all_of_it_is_float64(dtype):
    weight, bias = np.ones((4, 6), dtype), np.ones((1, 4), dtype)
    kernel = from_matrix(weight, bias, transposed=True)
    assert (kernel.weight.dtype, kernel.bias.dtype) == (np.float64, np.float64)
    third = dtype(1) / dtype(3)
    assert (depthwise(np.array([third]), (1,)).weight == np.float64(third)).all()
    squared = depthwise(np.full(1, 60000, dtype), (1,)).then_affine(np.full(1, 60000, dtype), None)
    assert np.isfinite(squared.weight).all()


@pytest.mark.parametrize("op", RUNS)
@pytest.mark.parametrize(("group", "outs", "ins"), GROUPS)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("shifted", [False, True])
def test_an_affine_map_after(op, group, outs, ins, biased, shifted):
    kernel = _kernel(group, outs, ins, 3, 2, biased=biased)
    scale = G.standard_normal(group * outs)
    shift = G.standard_normal(group * outs) if shifted else None
    expected = RUNS[op](kernel) * scale[:, None, None]
    if shift is not None:
        expected += shift[:, None, None]
    np.testing.assert_allclose(RUNS[op](kernel.then_affine(scale, shift)), expected, atol=1e-12)


@pytest.mark.parametrize("op", RUNS)
@pytest.mark.parametrize(("group", "outs", "ins"), GROUPS)
def test_a_scale_before(op, group, outs, ins):
    kernel, scale = _kernel(group, outs, ins, 3, 2), G.standard_normal(6)
    found = RUNS[op](kernel.after_scale(scale), pads=[1, 0, 1, 1])
    expected = RUNS[op](kernel, X * scale[:, None, None], pads=[1, 0, 1, 1])
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("group", "outs", "ins"), GROUPS)
def test_a_constant_input(group, outs, ins):
    kernel, values = _kernel(group, outs, ins, 3, 2, biased=False), G.standard_normal(6)
    y = _conv(kernel, np.broadcast_to(values[:, None, None], X.shape).copy())
    expected = np.broadcast_to(kernel.of_constant(values)[:, None, None], y.shape)
    np.testing.assert_allclose(y, expected, atol=1e-12)


@pytest.mark.parametrize("op", RUNS)
def test_outputs_and_inputs_in_another_order(op):
    kernel, order = _kernel(1, 5, 6, 3, 2), np.array([3, 0, 4, 4, 1])
    np.testing.assert_allclose(
        RUNS[op](kernel.take_outputs(order)), RUNS[op](kernel)[:, order], atol=1e-12
    )
    assert kernel.take_outputs(order).bias is not None
    assert replace(kernel, bias=None).take_outputs(order).bias is None
    order = np.array([5, 1, 0, 2, 4, 3])
    found = RUNS[op](kernel.take_inputs(order), X[:, order])
    np.testing.assert_allclose(found, RUNS[op](kernel), atol=1e-12)


def test_taps_are_placed_on_every_axis():
    with pytest.raises(ValueError, match="argument 2"):
        add_taps(np.zeros((1, 2, 2, 5, 5)), _kernel(1, 2, 2, 3, 3), (0,))


@pytest.mark.parametrize(("group", "outs", "ins"), GROUPS)
def test_the_largest_product_of_each_input(group, outs, ins):
    kernel, values = _kernel(group, outs, ins, 3, 2), G.standard_normal(6)
    expected = np.zeros(6)
    for channel in range(6):
        x = np.zeros((1, 6, 5, 4))
        x[0, channel, 2, 2] = values[channel]
        y = _conv(replace(kernel, bias=None), x, pads=[2, 1, 2, 1])
        expected[channel] = np.abs(y).max()
    np.testing.assert_allclose(kernel.largest_of(values), expected, rtol=1e-14)
    nothing = Kernel(np.zeros((group, 0, ins, 3, 2)), None)
    np.testing.assert_array_equal(nothing.largest_of(values), np.zeros(6))


def test_channels_of_groups_cannot_be_taken_apart():
    kernel = _kernel(2, 3, 3, 1, 1)
    with pytest.raises(ValueError, match="2 groups"):
        kernel.take_outputs(np.arange(6))
    with pytest.raises(ValueError, match="2 groups"):
        kernel.take_inputs(np.arange(6))


@pytest.mark.parametrize("op", RUNS)
@pytest.mark.parametrize(
    ("group", "into"), [(6, 1), (6, 2), (6, 3), (6, 6), (2, 1), (3, 1), (1, 1)]
)
def test_groups_joined(op, group, into):
    kernel = _kernel(group, 2, 6 // group, 3, 2)
    joined = kernel.regrouped(into)
    assert joined.group == into
    np.testing.assert_allclose(
        RUNS[op](joined, pads=[1, 1, 0, 1]), RUNS[op](kernel, pads=[1, 1, 0, 1]), atol=1e-12
    )
    if into == 1:
        np.testing.assert_array_equal(kernel.ungrouped().weight, joined.weight)


def test_a_full_bias():
    np.testing.assert_array_equal(_kernel(2, 2, 3, biased=False).full_bias(), np.zeros(4))
    kernel = _kernel(2, 2, 3)
    np.testing.assert_array_equal(kernel.full_bias(), kernel.bias)


@pytest.mark.parametrize("group", [1, 2, 3, 6])
@pytest.mark.parametrize("at", [(0, 0), (1, 2), (2, 0)])
def test_taps_added_at_a_place(group, at):
    """A 3x3 kernel and a depthwise 1x1 standing at one of its taps."""
    wide, point = _kernel(group, 6 // group, 6 // group, 3, 3, biased=False), G.standard_normal(6)
    total = wide.weight.copy()
    add_taps(total, depthwise(point, (1, 1)), at)
    x = G.standard_normal((2, 6, 9, 8))
    rows, columns = at
    shifted = x[:, :, rows : rows + 7, columns : columns + 6]
    expected = _conv(wide, x) + shifted * point[:, None, None]
    np.testing.assert_allclose(_conv(Kernel(total, None), x), expected, atol=1e-12)


def test_a_depthwise_kernel_sums_its_taps():
    scale = G.standard_normal(6)
    expected = sum(X[:, :, i : i + 6, j : j + 3] for i in (0, 1) for j in (0, 1, 2))
    found = _conv(depthwise(scale, (2, 3)))
    np.testing.assert_allclose(found, expected * scale[:, None, None], atol=1e-12)


@pytest.mark.parametrize(
    ("second", "first"), [((1, 1), (3, 2)), ((3, 2), (1, 1)), ((1, 1), (1, 1))]
)
@pytest.mark.parametrize(
    ("outer", "inner", "group"), [(1, 1, 1), (2, 2, 2), (1, 6, 1), (2, 6, 2), (6, 3, 3), (2, 3, 1)]
)
@pytest.mark.parametrize("biases", [(True, True), (True, False), (False, True), (False, False)])
def test_composed(second, first, outer, inner, group, biases):
    a = _kernel(outer, 12 // outer, 12 // outer, *second, biased=biases[0])
    b = _kernel(inner, 12 // inner, 6 // inner, *first, biased=biases[1])
    both = compose(a, b, group)
    assert (both.group, both.outputs, both.inputs) == (group, 12, 6)
    np.testing.assert_allclose(_conv(both), _conv(a, _conv(b)), atol=1e-10)


@pytest.mark.parametrize("first_is_point", [False, True])
def test_composed_with_a_transposed_convolution(first_is_point):
    point = _kernel(1, 4, 6, 1, 1, biased=not first_is_point)
    if first_is_point:
        wide = _kernel(1, 3, 4, 3, 2)
        expected = _transposed(wide, _conv(point), strides=[2, 1])
        both = compose(wide, point, 1)
    else:
        wide = _kernel(1, 5, 6, 3, 2)
        point = _kernel(1, 4, 5, 1, 1)
        expected = _conv(point, _transposed(wide, strides=[2, 1]))
        both = compose(point, wide, 1)
    np.testing.assert_allclose(_transposed(both, strides=[2, 1]), expected, atol=1e-10)


def test_composed_matrices():
    a, b = _kernel(1, 3, 5), _kernel(1, 5, 4)
    x = G.standard_normal((2, 4))
    expected = (x @ to_matrix(b) + b.bias) @ to_matrix(a) + a.bias
    both = compose(a, b, 1)
    np.testing.assert_allclose(x @ to_matrix(both) + both.bias, expected, atol=1e-12)
