"""A second `int8` finds nothing left to do in what the first gave, and neither does `exact`."""

import numpy as np
import pytest

import planish

from tests.helpers import graph_of, run_pass

INT8 = "int8{measure=false,guard=off}"
BODIES = {
    "constants that are alike": "r = Relu(x) a = Conv(r, w, b) e = Relu(a) y = Conv(e, v, b)",
    "movements between pairs": (
        "a = Conv(x, w, b) t = Transpose<perm=[0, 2, 3, 1]>(a) m = MatMul(t, k) "
        "u = Transpose<perm=[0, 3, 1, 2]>(m) y = Conv(u, v)"
    ),
    "an activation that stays float": "s = Sigmoid(x) p = Mul(x, s) y = Conv(p, w, b)",
    "an activation on integers": "a = Conv(x, w, b) s = Sigmoid(a) p = Mul(a, s) y = Conv(p, v)",
    "operands of unlike ranges": (
        "a = Conv(x, w, b) e = Mul(a, far) k = Concat<axis=1>(a, e) h = Conv(k, wide) "
        "i = Conv(a, v) y = Add(h, i)"
    ),
}


def normal(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


CONSTANTS = {
    "w": normal(4, 4, 1, 1, seed=0),
    "v": normal(4, 4, 1, 1, seed=1),
    "b": normal(4, seed=2),
    "k": normal(4, 4, seed=3),
    "wide": normal(4, 8, 1, 1, seed=4),
    "far": np.float32([9]).reshape(()),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_nothing_is_left(body):
    text = f"g (float[N, 4, 5, 5] x) => (float[] y) {{ {body} }}"
    used = {k: v for k, v in CONSTANTS.items() if f", {k})" in body or f", {k}, " in body}
    feeds = [{"x": normal(2, 4, 5, 5, seed=seed)} for seed in range(4)]
    made = run_pass(graph_of(text, used), INT8, feeds=feeds, verify="off").graph
    assert any(node.op == "QuantizeLinear" for node in made.nodes)
    again = planish.Pipeline.parse("exact,quantize{measure=false}").run(made, feeds, verify="off")
    assert again.edits == 0, [r for r in again.records if r.edits]
