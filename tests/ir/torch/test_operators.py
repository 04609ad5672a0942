"""Operators in PyTorch against ONNX Runtime: random networks, and what these draw rarely."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings

import planish
from planish.passes.trust.rounding import measure_rounding

from tests.effort import examples
from tests.helpers import model_using, relative_error, run_ort
from tests.strategies import networks

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def assert_same(model, feeds, tolerance=1e-5):
    """Check the module of `model` against ONNX Runtime, in types, shapes and values."""
    expected = run_ort(model, feeds)
    graph = planish.load(model)
    module = planish.to_fx(graph)
    inputs = [torch.from_numpy(feeds[t.name]) for t in graph.inputs if t.name in feeds]
    with torch.no_grad():
        found = module(*inputs)
    found = found if isinstance(found, tuple) else (found,)
    for want, got in zip(expected.values(), found, strict=True):
        assert relative_error(want, got.numpy()) <= tolerance
    return module


@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(networks())
def test_random_networks(case):
    # What NaN does in a maximum is up to each runtime.
    assume(np.isfinite(case.feeds["x"]).all())
    # Branches and loops have no counterpart, and say so.
    if {n.op_type for n in case.model.graph.node} & {"If", "Loop"}:
        with pytest.raises(planish.PlanishError, match=r"(If|Loop) has no counterpart"):
            planish.to_fx(planish.load(case.model))
        return
    expected = run_ort(case.model, case.feeds)
    assume(all(np.isfinite(array).all() for array in expected.values()))
    # A network that amplifies its own rounding is held to ten times that, as passes are.
    graph = planish.load(case.model)
    rounding = measure_rounding(graph, [case.feeds], [expected], seed=0)
    assert_same(case.model, case.feeds, max(1e-5, 10 * rounding))


WEIGHTS = {
    "w": normal(4, 3, 3, 3),
    "v": normal(3, 4, 3, 3),
    "deep": normal(6, 1, 3, 3),
    "b": normal(4),
    "m": normal(9, 5),
    "slope": normal(3, 1, 1),
    "scale": np.abs(normal(3)) + 0.5,
    "shift": normal(3),
    "mean": normal(3),
    "var": np.abs(normal(3)) + 0.2,
    "sizes": ints(2, 3, 11, 14),
    "up": np.array([1, 1, 2, 3], np.float32),
    "odd": np.array([1, 1, 1.7, 0.6], np.float32),
    "pads": ints(0, 0, 1, -1, 0, 0, 2, 3),
    "starts": ints(-1, 1),
    "ends": ints(-1000, 7),
    "axes": ints(3, 2),
    "steps": ints(-2, 2),
    "index": ints(2, -1, 0),
    "grid": normal(2, 5, 6, 2),
    "cols": ints(2, 12, 18),  # of 18 blocks
    "block": ints(2, 2),
    "image": ints(1, 6),
    "larger": ints(7, 7),
    "line": ints(19),
    "pair": ints(2),
    "one": ints(1),
    "two": ints(2),
    "shape": ints(0, -1, 3),
    "wide": ints(2, 1, 1, 1, 9),
}
SHAPE = (2, 3, 8, 9)
BODIES = [
    'y = Conv <auto_pad = "SAME_UPPER", strides = [2, 3]> (x, w, b)',
    'y = Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (x, w)',
    'y = Conv <auto_pad = "VALID"> (x, w, b)',
    "y = Conv <pads = [0, 1, 2, 0], strides = [2, 1]> (x, w, b)",
    "y = Conv <group = 3, pads = [1, 1, 1, 1], dilations = [2, 1]> (x, deep)",
    "y = ConvTranspose <strides = [2, 3], pads = [1, 0, 1, 0], output_padding = [1, 2]> (x, v, b)",
    "y = ConvTranspose <strides = [2, 2], pads = [0, 1, 2, 0]> (x, v)",
    "y = ConvTranspose <strides = [2, 3], output_shape = [17, 26]> (x, v, b)",
    'y = ConvTranspose <strides = [2, 2], auto_pad = "SAME_UPPER"> (x, v, b)',
    'y = ConvTranspose <strides = [2, 2], auto_pad = "SAME_LOWER"> (x, v, b)',
    "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x)",
    "y = MaxPool <kernel_shape = [3, 2], pads = [2, 0, 1, 1], dilations = [1, 2]> (x)",
    'y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], auto_pad = "SAME_LOWER"> (x)',
    "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x)",
    "y = AveragePool <kernel_shape = [3, 2], pads = [1, 0, 2, 1], count_include_pad = 1> (x)",
    "y = AveragePool <kernel_shape = [3, 2], pads = [1, 0, 2, 1]> (x)",
    "y = AveragePool <kernel_shape = [2, 2], dilations = [2, 3]> (x)",
    'y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER"> (x)',
    "y = LpPool <kernel_shape = [2, 3], p = 2> (x)",
    "y = GlobalMaxPool(x)",
    'y = Resize <mode = "linear"> (x, , odd)',
    'y = Resize <mode = "linear"> (x, , up)',
    'y = Resize <mode = "linear"> (x, , , sizes)',
    'y = Resize <mode = "linear", coordinate_transformation_mode = "align_corners"> (x, , , sizes)',
    'y = Resize <mode = "cubic"> (x, , , sizes)',
    'y = Resize <mode = "nearest"> (x, , odd)',
    'y = Resize <mode = "nearest"> (x, , up)',
    'y = Resize <coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, , odd)',
    "y = Pad (x, pads)",
    'y = Pad <mode = "reflect"> (x, pads)',
    'y = Pad <mode = "edge"> (x, pads)',
    "y = Slice (x, starts, ends, axes, steps)",
    "y = Gather <axis = 3> (x, index)",
    "y = PRelu (x, slope)",
    "y = MatMul (x, m)",
    "y = Reshape (x, shape)",
    "y = Expand (x, wide)",
    "a, y = Split <axis = 3, num_outputs = 2> (x)",
    "y = LRN <size = 3, alpha = 0.1> (x)",
    "y = BatchNormalization <epsilon = 0.01> (x, scale, shift, mean, var)",
    "y = InstanceNormalization (x, scale, shift)",
    "y = Softmax <axis = 1> (x)",
    "y = HardSigmoid (x)",
    "y = Clip (x)",
    "y = ReduceMean <keepdims = 0> (x, two)",
    "y = DepthToSpace <blocksize = 1> (x)",
    "t = Transpose <perm = [0, 2, 3, 1]> (x)  y = MatMul (x, m)",
    "y = GridSample (x, grid)",
    'y = GridSample <mode = "nearest", padding_mode = "border"> (x, grid)',
    'y = GridSample <mode = "cubic", align_corners = 1> (x, grid)',
    'y = GridSample <mode = "linear", padding_mode = "reflection"> (x, grid)',
    "f = Reshape (x, cols)  y = Col2Im <pads = [1, 0, 2, 1]> (f, image, block)",
    "f = Reshape (x, cols)  y = Col2Im <dilations = [2, 1], strides = [2, 1]> (f, larger, block)",
    "f = Reshape (x, cols)  y = Col2Im (f, line, pair)",
    "a, i = MaxPool <kernel_shape = [2, 3], strides = [2, 3]> (x)"
    "  y = MaxUnpool <kernel_shape = [2, 3], strides = [2, 3]> (a, i)",
    # Sizes computed from a shape, as exporters leave them behind.
    "s = Shape (x)  n = Gather (s, one)  h = Shape <start = 2, end = 4> (x)"
    "  d = Mul (h, two)  c = Concat <axis = 0> (one, n, n)  k = Slice (s, one, two)"
    "  e = Concat <axis = 0> (k, d)  f = ReduceProd <keepdims = 1> (e)  y = Cast <to = 1> (f)",
]


@pytest.mark.parametrize("body", BODIES)
def test_operator(body):
    model = model_using(WEIGHTS, body, "float[N, 3, H, W] x", opset=18 if "Dil" in body else 20)
    assert_same(model, {"x": RNG.standard_normal(SHAPE).astype(np.float32)})


@pytest.mark.parametrize(
    "attributes",
    [
        "strides = [2, 1]",
        "pads = [1, 0, 1, 2], dilations = [1, 2]",
        "storage_order = 1, pads = [1, 1, 1, 1]",
        "strides = [2, 2], ceil_mode = 1",
        "pads = [1, 2, 0, 0], strides = [2, 2], ceil_mode = 1",
    ],
)
def test_where_the_largest_lie(attributes):
    body = f"a, i = MaxPool <kernel_shape = [3, 3], {attributes}> (x)  y = Cast <to = 1> (i)"
    model = model_using({}, body, "float[N, 3, H, W] x", outputs="float[] a, ")
    assert_same(model, {"x": RNG.standard_normal(SHAPE).astype(np.float32)})


def test_pooling_and_normalization_as_convolutions_of_one_dimension():
    weights = {"w": normal(4, 3, 3), "scale": np.abs(normal(4)) + 0.5, "shift": normal(4)}
    weights |= {"mean": normal(4), "var": np.abs(normal(4)) + 0.5}
    body = """a = Conv <pads = [1, 1]> (x, w)
        b = BatchNormalization(a, scale, shift, mean, var)
        y = MaxPool <kernel_shape = [3], strides = [2]> (b)"""
    module = assert_same(model_using(weights, body, "float[N, 3, L] x"), {"x": normal(2, 3, 9)})
    kinds = {type(m) for m in module.modules()}
    assert {torch.nn.Conv1d, torch.nn.BatchNorm1d, torch.nn.MaxPool1d} <= kinds


def test_channels_last_as_tensorflow_exports_it():
    weights = {"w": normal(4, 3, 3, 3), "b": normal(4), "k": normal(4, 5), "c": normal(5)}
    body = """t = Transpose <perm = [0, 3, 1, 2]> (x)
        a = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (t, w, b)
        r = Relu(a)
        u = Transpose <perm = [0, 2, 3, 1]> (r)
        g = ReduceMean <keepdims = 0> (u, axes)
        h = MatMul(g, k)
        y = Add(h, c)"""
    weights["axes"] = ints(1, 2)
    module = assert_same(
        model_using(weights, body, "float[N, 9, 10, 3] x"), {"x": normal(2, 9, 10, 3)}
    )
    kinds = {type(m) for m in module.modules()}
    assert {torch.nn.Conv2d, torch.nn.Linear, torch.nn.ReLU} <= kinds
