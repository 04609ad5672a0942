"""Zeros of either sign: told apart under one option, which every rule that confuses them asks."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import model_of, ops, run_ort

ZEROS = np.array([0.0, -0.0, 1.0, -1.0, -0.5, 2.0], np.float32)
CONSTANTS = {
    "z": np.float32(0),
    "n": np.float32(-0.0),
    "one": np.float32(1),
    "m": np.float32(-1),
    "six": np.float32(6),
    "g": np.ones(1, np.float32),
    "z1": np.zeros(1, np.float32),
    "v": np.full(1, 1 - 1e-5, np.float32),
}
CONFUSED = {
    "x + 0": "a = Add(x, z)",
    "0 + x": "a = Add(z, x)",
    "x - -0": "a = Sub(x, n)",
    "0 - x": "b = Sub(z, x) a = Mul(b, m)",
    "(x + 1) - 1": "b = Add(x, one) a = Sub(b, one)",
    "the size of what is not negative": "b = Sqrt(x) a = Abs(b)",
    "the size of a product": "b = Relu(x) a = Abs(b)",
    "the greater of x and 0": "a = Max(x, z)",
    "clipped twice": "b = Max(x, z) a = Min(b, six)",
    "clipped, then clipped": "b = Clip(x, n, six) a = Clip(b, z, six)",
    "the mean of a position": "b = Reshape(x, six1) c = GlobalAveragePool(b) a = Reshape(c, six0)",
    "the mean of one element": "b = Reshape(x, six1) c = ReduceMean(b, ax) a = Reshape(c, six0)",
    "the sum of one element": "b = Reshape(x, six1) c = ReduceSum(b, ax) a = Reshape(c, six0)",
    "a normalization that only shifts": (
        "b = Reshape(x, six1) c = BatchNormalization(b, g, z1, z1, v) a = Reshape(c, six0)"
    ),
}
KEPT = {
    "x + -0": "a = Add(x, n)",
    "x - 0": "a = Sub(x, z)",
    "x * 1": "a = Mul(x, one)",
    "--x": "b = Neg(x) a = Neg(b)",
}
SHAPES = {"six1": np.array([6, 1, 1, 1]), "six0": np.array([6]), "ax": np.array([1])}


def optimized(body, **options):
    model = model_of(
        f"g (float[6] x) => (float[6] y) {{ {body} y = Reciprocal(a) }}", CONSTANTS | SHAPES
    )
    result = planish.Pipeline.parse("exact").run(planish.load(model), verify="off", **options)
    after = planish.to_model(result.graph, portable=True)
    return result, *(run_ort(each, {"x": ZEROS})["y"] for each in (model, after))


@pytest.mark.parametrize("body", (CONFUSED | KEPT).values(), ids=CONFUSED | KEPT)
def test_under_the_option_zeros_keep_their_sign(body):
    _, expected, found = optimized(body, signed_zeros=True)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("body", (CONFUSED | KEPT).values(), ids=CONFUSED | KEPT)
def test_by_default_their_sign_alone_may_change(body):
    _, expected, found = optimized(body)
    np.testing.assert_array_equal(np.abs(found), np.abs(expected))


@pytest.mark.parametrize("body", KEPT.values(), ids=KEPT)
def test_what_keeps_signs_goes_under_the_option_too(body):
    result, _, _ = optimized(body, signed_zeros=True)
    assert ops(result.graph) == ["Reciprocal"]


def test_what_a_bound_of_zero_makes_of_zeros_is_left_to_the_runtime():
    body = CONFUSED["clipped, then clipped"]
    assert ops(optimized(body, signed_zeros=True)[0].graph) == ["Clip", "Clip", "Reciprocal"]
    assert ops(optimized(body)[0].graph) == ["Clip", "Reciprocal"]


LEFT_OUT = {
    "the value of a Pad": "a = Pad(x, ends, n)",
    "the value of a Pad before a Pad": "b = Pad(x, ends, n) a = Pad(b, ends)",
}


@pytest.mark.parametrize("body", LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_an_absent_input_stands_for_is_the_zero_without_sign(body):
    weights = CONSTANTS | SHAPES | {"ends": np.array([0, 1])}
    model = model_of(f"g (float[6] x) => (float[] y) {{ {body} y = Reciprocal(a) }}", weights)
    pipeline = planish.Pipeline.parse("exact")
    graph = pipeline.run(planish.load(model), verify="off", signed_zeros=True).graph
    expected, found = (
        run_ort(each, {"x": ZEROS})["y"] for each in (model, planish.to_model(graph))
    )
    np.testing.assert_array_equal(found, expected)
