"""Scales that would make weights subnormal or zero where they are stored: they stay where they are.

Spelled in every form in which passes multiply weights, and compared with the runtime.
"""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import Array, model_of, reasons, run_ort

GENERATOR = np.random.default_rng(2)

SPELLINGS = {
    "Mul behind Conv": "a = Conv(x, w) y = Mul(a, k)",
    "Div behind Conv": "a = Conv(x, w) y = Div(a, large)",
    "by channel": "a = Conv(x, w) y = Mul(a, each)",
    "Mul before Conv": "a = Mul(x, k) y = Conv(a, w)",
    "by channel before Conv": "a = Mul(x, each) y = Conv(a, w)",
    "one input channel before Conv": "s = Mul(x, back) a = Mul(s, one) y = Conv(a, usual)",
    "behind ConvTranspose": "a = ConvTranspose(x, w) y = Mul(a, k)",
    "BatchNormalization": "a = Conv(x, w) y = BatchNormalization(a, k4, zero4, zero4, one4)",
    "behind a Concat": ("a = Conv(x, w) b = Conv(x, v) d = Concat<axis = 1>(a, b) y = Mul(d, k)"),
    "Conv after Conv": "a = Conv(x, w) y = Conv(a, tiny)",
    "a branch beside Conv": "a = Mul(x, k) b = Conv(x, w) d = Conv(a, w) y = Add(d, d)",
    "two Mul": "a = Mul(x, k) b = Mul(a, k) y = Relu(b)",
    "Gemm": "r = Reshape(x, rows) a = Gemm(r, square) y = Mul(a, k)",
    "Gemm with alpha": "r = Reshape(x, rows) y = Gemm<alpha = 0.00001>(r, square)",
    "MatMul": "r = Reshape(x, rows) a = MatMul(r, square) y = Mul(k, a)",
}


def values(dtype, small, scale) -> dict[str, Array]:
    """Return weights of size `small`, which `scale` takes below the range of `dtype`."""
    w = GENERATOR.uniform(0.5, 1, (4, 4, 1, 1)) * small
    first = np.array([scale**2, 1, 1, 1]).reshape(1, 4, 1, 1)
    found = {
        "w": w,
        "v": w[::-1],
        "tiny": GENERATOR.uniform(0.5, 1, (4, 4, 1, 1)) * scale,
        "usual": w / small,
        "square": w.reshape(4, 4),
        "k": np.array(scale),
        "large": np.array(1 / scale),
        "each": np.full((1, 4, 1, 1), scale),
        "one": first,
        "back": np.array([1 / scale, 1e-3, 1e-3, 1e-3]).reshape(1, 4, 1, 1),
        "k4": np.full(4, scale),
        "zero4": np.zeros(4),
        "one4": np.ones(4),
    }
    return {name: array.astype(dtype) for name, array in found.items()} | {
        "rows": np.array([18, 4], np.int64)
    }


@pytest.mark.parametrize("passes", ["exact", "fold-affine", "push-affine", "fold-batchnorm"])
@pytest.mark.parametrize(
    ("kind", "dtype", "small", "scale", "size"),
    [("float16", np.float16, 1e-3, 1e-4, 1e4), ("float", np.float32, 1e-25, 1e-18, 1e30)],
    ids=["float16", "float32"],
)
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_weights_keep_their_digits(spelling, kind, dtype, small, scale, size, passes):
    model = model_of(
        f"g ({kind}[2, 4, 3, 3] x) => ({kind}[] y) {{ {spelling} }}", values(dtype, small, scale)
    )
    x = (GENERATOR.uniform(0.5, 1, (2, 4, 3, 3)) * size).astype(dtype)
    expected = run_ort(model, {"x": x})["y"]
    steps = planish.Pipeline.parse(passes)
    result = steps.run(planish.load(model), verify="off")
    found = run_ort(planish.to_model(result.graph, portable=True), {"x": x})["y"]
    rounding = 1e-5 if dtype is np.float32 else 4e-3
    # Results that are subnormal themselves have no more digits than that.
    step = np.finfo(dtype).smallest_subnormal * 4
    np.testing.assert_allclose(found, expected, rtol=rounding, atol=step)
    assert steps.run(result.graph, verify="off").edits == 0


def test_a_scale_that_leaves_them_normal_goes_in():
    model = model_of(
        "g (float16[2, 4, 3, 3] x) => (float16[] y) { a = Conv(x, w) y = Mul(a, k) }",
        values(np.float16, 1.0, 1e-3),
    )
    result = planish.Pipeline.parse("fold-affine").run(planish.load(model), verify="off")
    assert [node.op for node in result.graph.nodes] == ["Conv"]


def test_the_reason_is_told():
    model = model_of(
        "g (float16[2, 4, 3, 3] x) => (float16[] y) { a = Conv(x, w) y = Mul(a, k) }",
        values(np.float16, 1e-3, 1e-4),
    )
    result = planish.Pipeline.parse("fold-affine").run(planish.load(model), verify="off")
    assert reasons(result) == {
        "the folded weights are so small that float16 would lose their digits"
    }
