"""Constants that cancel in exact arithmetic, where the size in between decides: they stay.

(x + c) - c rounds x to the last digit of c. It is spelled here in every form in which passes merge
constants, and what all exact passes make of it is compared with the runtime, element for element.
"""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import Array, model_of, ops, run_ort

# 1.5 * 2^n rounds to integers; 2^n / 2^k to multiples of 2^-k.
_BITS = {np.float16: 10, np.float32: 23, np.float64: 52}
_NAMES = {np.float16: "float16", np.float32: "float", np.float64: "double"}

SPELLINGS = {
    "Add, Sub": "a = Add(x, c) y = Sub(a, c)",
    "Sub, Add": "a = Sub(x, c) y = Add(a, c)",
    "from the constant": "a = Sub(c, x) y = Sub(c, a)",
    "two constants of half": "a = Add(x, c) b = Sub(a, half) y = Sub(b, half)",
    "scaled": "p = Mul(x, ten) a = Add(p, c) b = Sub(a, c) y = Div(b, ten)",
    "by channel": "a = Add(x, each) y = Sub(a, each)",
    "BatchNormalization": "a = BatchNormalization(x, one4, c4, zero4, one4) y = Sub(a, c)",
    "behind a Transpose": (
        "a = Add(x, c) t = Transpose<perm = [0, 2, 3, 1]>(a) s = Sub(t, c)"
        " y = Transpose<perm = [0, 3, 1, 2]>(s)"
    ),
    "behind a Reshape": "a = Add(x, c) r = Reshape(a, flat) y = Sub(r, c)",
    "the bias of Gemm": (
        "r = Reshape(x, rows) a = Gemm(r, square, c4) s = Sub(a, c) y = Reshape(s, image)"
    ),
    "a bias behind MatMul": (
        "r = Reshape(x, rows) p = MatMul(r, square) a = Add(c4, p) s = Sub(a, c)"
        " y = Reshape(s, image)"
    ),
    "into the next Gemm": (
        "r = Reshape(x, rows) a = Add(r, c) s = Gemm(a, square, less4) y = Reshape(s, image)"
    ),
    "the bias of Conv": "a = Conv(x, eye, c4) y = Sub(a, c)",
    "a bias of its own": "a = Conv(x, eye) b = Add(a, each) y = Sub(b, each)",
    "into the next Conv": "a = Add(x, c) b = Conv(a, eye) y = Sub(b, c)",
    "Conv after Conv": "a = Conv(x, eye, c4) y = Conv(a, eye, less4)",
    "parallel Conv": "a = Conv(x, eye, c4) b = Conv(x, eye, less4) y = Add(a, b)",
    "Conv in a long sum": "a = Conv(x, eye) b = Add(a, each) d = Add(b, x) y = Add(d, less)",
    "a branch beside Conv": "a = Add(x, each) b = Sub(a, each) d = Conv(x, eye) y = Add(d, b)",
    "behind a Concat": (
        "a = Conv(x, eye, c4) b = Conv(x, turned, c4) d = Concat<axis = 1>(a, b) y = Sub(d, c)"
    ),
    "a channel that is constant": "a = Conv(x, three, last) y = Conv(a, joined, less4)",
    "before a pool": "a = Add(x, c) b = Sub(a, c) y = AveragePool<kernel_shape = [2, 2]>(b)",
    "Neg between": "a = Add(x, c) b = Neg(a) y = Add(b, c)",
}


def values(dtype) -> dict[str, Array]:
    c = np.array(1.5 * 2.0 ** (_BITS[dtype] - 3), dtype)  # to multiples of an eighth
    four, eye = np.full(4, c, dtype), np.eye(4, dtype=dtype)
    return {
        "c": c,
        "half": np.array(c / 2, dtype),
        "ten": np.array(10, dtype),
        "each": four.reshape(1, 4, 1, 1),
        "less": -four.reshape(1, 4, 1, 1),
        "c4": four,
        "less4": -four,
        "one4": np.ones(4, dtype),
        "zero4": np.zeros(4, dtype),
        "square": eye,
        "eye": eye.reshape(4, 4, 1, 1),
        "turned": eye[::-1].reshape(4, 4, 1, 1),
        "three": (eye * [1, 1, 1, 0]).astype(dtype).reshape(4, 4, 1, 1),
        "last": four * np.array([0, 0, 0, 1], dtype),
        "joined": np.maximum(eye, np.array([0, 0, 0, 1], dtype)).reshape(4, 4, 1, 1),
        "flat": np.array([2, -1], np.int64),
        "rows": np.array([18, 4], np.int64),
        "image": np.array([2, 4, 3, 3], np.int64),
    }


@pytest.mark.parametrize("dtype", _BITS, ids=_NAMES.values())
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_rounding_that_is_spelled_out_stays(spelling, dtype):
    if dtype is np.float64 and ("Conv" in spelling or "Pool" in spelling):
        pytest.skip("ONNX Runtime has no such operator of float64")
    kind = _NAMES[dtype]
    model = model_of(f"g ({kind}[2, 4, 3, 3] x) => ({kind}[] y) {{ {spelling} }}", values(dtype))
    x = np.random.default_rng(0).uniform(-1, 1, (2, 4, 3, 3)).astype(dtype)
    expected = run_ort(model, {"x": x})["y"]
    steps = planish.Pipeline.parse("exact")
    result = steps.run(planish.load(model), verify="off")
    found = run_ort(planish.to_model(result.graph, portable=True), {"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * np.finfo(dtype).eps)
    assert steps.run(result.graph, verify="off").edits == 0


# Its scale says that what it gives is of order one.
SMALL = {name: body for name, body in SPELLINGS.items() if name != "BatchNormalization"}


@pytest.mark.parametrize("spelling", SMALL.values(), ids=SMALL)
def test_constants_that_cancel_stay_as_x_may_be_small(spelling):
    """No constant says how large x is; beside 10, a millionth is rounded to a few values."""
    numbers = values(np.float32)
    c = numbers["c"]
    ten = {k: v * (10 / c) if abs(v).max() in (c, c / 2) else v for k, v in numbers.items()}
    ten = {name: value.astype(numbers[name].dtype) for name, value in ten.items()}
    model = model_of(f"g (float[2, 4, 3, 3] x) => (float[] y) {{ {spelling} }}", ten)
    x = np.random.default_rng(0).uniform(-1e-6, 1e-6, (2, 4, 3, 3)).astype(np.float32)
    expected = run_ort(model, {"x": x})["y"]
    result = planish.Pipeline.parse("exact").run(planish.load(model), verify="off")
    found = run_ort(planish.to_model(result.graph, portable=True), {"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


SHOWN = {
    "an image": ("a = Div(x, large) b = Sub(a, mean) y = Div(b, std)", ["Mul", "Add"]),
    "a shift that is left": ("a = Add(x, mean) y = Add(a, std)", ["Add"]),
    "a normalization": (
        "a = BatchNormalization(x, one, ten, ten, one) y = Sub(a, t)",
        ["BatchNormalization"],
    ),
}


@pytest.mark.parametrize(("body", "left"), SHOWN.values(), ids=SHOWN)
def test_constants_are_merged_where_others_show_what_is_left(body, left):
    numbers = {"large": 255, "mean": 0.45, "std": 0.22, "t": 9}
    weights = {name: np.float32(value) for name, value in numbers.items()}
    weights |= {"one": np.ones(4, np.float32), "ten": np.full(4, 10, np.float32)}
    model = model_of(f"g (float[2, 4, 3, 3] x) => (float[] y) {{ {body} }}", weights)
    graph = planish.Pipeline.parse("fold-affine").run(planish.load(model), verify="off").graph
    assert ops(graph) == left


ACTIVATIONS = {
    "HardSigmoid": "a = Add(x, c) b = Sub(a, c) d = Div(b, ten) e = Add(d, h) y = Clip(e, o, i)",
    "HardSwish": "a = Add(x, c) b = Sub(a, less) d = Div(b, six) e = Clip(d, o, i) y = Mul(x, e)",
    "Sigmoid": "a = Sub(c, x) b = Sub(a, c) e = Exp(b) s = Add(e, i) y = Reciprocal(s)",
    "Silu": "a = Add(x, c) b = Sub(a, c) s = Sigmoid(b) y = Mul(x, s)",
    "Silu by division": ("a = Sub(c, x) b = Sub(a, c) e = Exp(b) s = Add(e, i) y = Div(x, s)"),
    "Gelu": "a = Add(x, c) b = Sub(a, c) r = Mul(b, root) e = Erf(r) p = Add(e, i) q = Mul(x, p)"
    " y = Mul(q, h)",
    "LeakyRelu": "p = Mul(x, large) q = Mul(p, small) y = Max(x, q)",
    "a sum of rectifiers": (
        "r = Relu(x) n = Neg(x) a = Add(n, c) b = Sub(a, c) s = Relu(b) p = Mul(s, h) y = Sub(r, p)"
    ),
}


@pytest.mark.parametrize("spelling", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_an_activation_of_a_rounded_number_is_not_that_of_the_number(spelling):
    numbers = {"six": 6, "h": 0.5, "o": 0, "i": 1, "root": 0.5**0.5, "large": 1e38, "small": 1e-39}
    numbers["less"] = values(np.float32)["c"] - 3
    model = model_of(
        f"g (float[64] x) => (float[] y) {{ {spelling} }}",
        values(np.float32) | {name: np.float32(value) for name, value in numbers.items()},
    )
    x = np.random.default_rng(0).uniform(-9, 9, 64).astype(np.float32)
    expected = run_ort(model, {"x": x})["y"]
    result = planish.Pipeline.parse("exact").run(planish.load(model), verify="off")
    found = run_ort(planish.to_model(result.graph, portable=True), {"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


RANGES = {
    "(x * c) / c": "a = Mul(x, big) y = Div(a, big)",
    "(x / c) * c": "a = Div(x, big) y = Mul(a, big)",
    "in steps": "a = Mul(x, big) b = Mul(a, big) d = Div(b, big) y = Div(d, big)",
    "behind Conv": "r = Conv(x, eye) a = Mul(r, big) y = Div(a, big)",
    "before Conv": "a = Mul(x, big) b = Div(a, big) y = Conv(b, eye)",
    "BatchNormalization": "a = BatchNormalization(x, big4, zero4, zero4, one4) y = Div(a, big)",
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32], ids=["float16", "float"])
@pytest.mark.parametrize("spelling", RANGES.values(), ids=RANGES)
def test_a_product_that_leaves_the_range_stays(spelling, dtype):
    kind, most = _NAMES[dtype], np.finfo(dtype).max
    model = model_of(
        f"g ({kind}[2, 4, 3, 3] x) => ({kind}[] y) {{ {spelling} }}",
        values(dtype) | {"big": np.array(most / 4, dtype), "big4": np.full(4, most / 4, dtype)},
    )
    x = np.random.default_rng(0).uniform(-9, 9, (2, 4, 3, 3)).astype(dtype)
    expected = run_ort(model, {"x": x})["y"]
    result = planish.Pipeline.parse("exact").run(planish.load(model), verify="off")
    found = run_ort(planish.to_model(result.graph, portable=True), {"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps)


def test_the_reason_is_told():
    model = model_of(
        "g (float[2, 4, 3, 3] x) => (float[] y) { a = Add(x, c) y = Sub(a, c) }",
        values(np.float32),
    )
    result = planish.Pipeline.parse("fold-affine").run(planish.load(model), verify="off")
    (record,) = result.records
    assert "rounding would show" in record.declined[0].reason
