"""What ONNX Runtime computes of tensors without elements, it computes afterwards as well."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import model_of, relative_error, run_ort

GENERATOR = np.random.default_rng(3)
STATISTICS = {name: GENERATOR.uniform(0.5, 1.5, 2).astype(np.float32) for name in "sbmv"}
WEIGHTS = {
    **STATISTICS,
    "w": GENERATOR.standard_normal((2, 2, 1, 1)).astype(np.float32),
    "k": GENERATOR.standard_normal((2, 2, 3, 3)).astype(np.float32),
    "hw": np.array([2, 3], np.int64),
    "wide": np.array([0, 0, 2, 2, 0, 0, 2, 2], np.int64),
    "narrow": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
}
BODIES = {
    "the mean of positions": "y = ReduceMean <keepdims = 1> (x, hw)",
    "the mean of positions, without their axes": "y = ReduceMean <keepdims = 0> (x, hw)",
    "squeeze and excite": """q = ReduceMean <keepdims = 1> (x, hw) c = Conv(q, w) r = Relu(c)
        d = Conv(r, w) g = HardSigmoid(d) y = Mul(x, g)""",
    "a normalization beside a convolution": """q = GlobalAveragePool(z) c = Conv(q, w)
        a = Mul(c, x) y = BatchNormalization(a, s, b, m, v)""",
    "padding that a convolution reads alone": "p = Pad(x, wide) y = Conv(p, k)",
    "padding that a pool reads alone": """p = Pad(x, narrow)
        y = AveragePool <kernel_shape = [2, 2], count_include_pad = 1> (p)""",
    "what a pool leaves": """c = Conv(x, w)
        y = AveragePool <kernel_shape = [3, 3], strides = [2, 2]> (c)""",
}


@pytest.mark.parametrize("size", [0, 1, 2, 3])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_open_sizes_may_be_zero(body, size):
    used = {k: v for k, v in WEIGHTS.items() if f" {k})" in body or f" {k}," in body}
    inputs = "float[N, 2, H, V] x, float[N, 2, 4, 4] z"
    model = model_of(f"g ({inputs}) => (float[] y) {{ {body} }}", used)
    feeds = {
        "x": GENERATOR.standard_normal((1, 2, size, size)).astype(np.float32),
        "z": GENERATOR.standard_normal((1, 2, 4, 4)).astype(np.float32),
    }
    try:
        expected = run_ort(model, feeds)["y"]
    except Exception:  # the binding raises one class per status code
        assert size < 2, "only the smallest are refused"
        return
    graph = planish.Pipeline.parse("exact").run(planish.load(model), verify="off").graph
    found = run_ort(planish.to_model(graph, portable=True), feeds)["y"]
    assert relative_error(expected, found) <= 1e-5
