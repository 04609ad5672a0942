"""Weights, and a check of what is left of a graph."""

from __future__ import annotations

import numpy as np

import planish

from tests.helpers import assert_same_function, model_of, ops, run_pass

GENERATOR = np.random.default_rng(8)  # weights restart it: no test has those of another order


PASS = "push-affine"


C = 6


def normal(*shape, dtype=np.float32):
    return GENERATOR.standard_normal(shape).astype(dtype)


def weights(dtype=np.float32):
    GENERATOR.bit_generator.state = np.random.default_rng(8).bit_generator.state
    return {
        "gain": normal(C, dtype=dtype),
        "bias": normal(C, dtype=dtype),
        "mean": (0.5 * normal(C)).astype(dtype),
        "var": GENERATOR.uniform(0.1, 2, C).astype(dtype),
        "s": (normal(C, 1, 1) + 3).astype(dtype),
        "t": normal(C, 1, 1, dtype=dtype),
        "k": np.array(0.4, dtype),
        "w": normal(4, C, 3, 3, dtype=dtype),
        "w1": normal(4, C, 1, 1, dtype=dtype),
        "depthwise": normal(C, 1, 3, 3, dtype=dtype),
        "grouped": normal(4, C // 2, 3, 3, dtype=dtype),
        "transposed": normal(C, 2, 3, 3, dtype=dtype),
        "cb": normal(4, dtype=dtype),
        "m": normal(C, 5, dtype=dtype),
        "flat": normal(C * 35, 5, dtype=dtype),
        "flat_t": normal(5, C * 35, dtype=dtype),
        "mb": normal(5, dtype=dtype),
        "axes": np.array([2, 3]),
        "shape": np.array([-1, C * 35]),
    }


def check(body, expected, size="N, 6, 7, 5", feed=None, tolerance=3e-6, pipeline=PASS, **more):
    model = model_of(f"g (float[{size}] x) => (float[] y) {{ {body} }}", {**weights(), **more})
    result = run_pass(planish.load(model), pipeline)
    assert ops(result.graph) == expected
    shape = feed or [2 if d == "N" else int(d) for d in size.split(", ")]
    assert_same_function(model, result.graph, {"x": normal(*shape)}, tolerance)
    return result


BN = "z = BatchNormalization <epsilon = 0.01> (x, gain, bias, mean, var)"


NORMALIZED = "c = Sub(x, t) z = Div(c, s)"
