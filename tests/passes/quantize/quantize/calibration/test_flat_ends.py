"""What readers do not tell apart needs no integers."""

import numpy as np
import pytest

import planish
from planish.passes.engine.context import Context
from planish.passes.quantize.quantize.calibration.calibrate import calibrate
from planish.passes.quantize.quantize.calibration.flat_ends import flat_ends

from tests.helpers import graph_of, run_ort, run_pass

SLOPE = 1 / 6
CASES = {
    # HardSigmoid of x / 6 + 1 / 2 alone, its product with x, and what sees all values beside them.
    f"h = HardSigmoid<alpha = {SLOPE}>(t) y = Exp(h)": (-3, 3),
    "h = HardSigmoid(t) y = Exp(h)": (-2.5, 2.5),
    f"h = HardSigmoid<alpha = {SLOPE}>(t) y = Mul(t, h)": (-3, np.inf),
    f"h = HardSigmoid<alpha = {SLOPE}>(t) y = Mul(h, t)": (-3, np.inf),
    f"h = HardSigmoid<alpha = {SLOPE}>(t) m = Mul(t, h) y = Add(m, t)": (-np.inf, np.inf),
    "h = HardSigmoid<alpha = -1.0>(t) y = Exp(h)": (-np.inf, np.inf),
    "h = HardSigmoid<beta = 2.0>(t) y = Exp(h)": (-np.inf, np.inf),
    "h = HardSigmoid(t) e = Exp(t) y = Mul(e, h)": (-np.inf, np.inf),
    "y = HardSwish(t)": (-3, np.inf),
    "y = Mul(t, t)": (-np.inf, np.inf),
}


def network(body, outputs="float[N, 4] y"):
    return graph_of(f"g (float[N, 4] x) => ({outputs}) {{ t = Neg(x) {body} }}")


@pytest.mark.parametrize(("body", "expected"), CASES.items())
def test_ends_are_where_readers_are_flat(body, expected):
    graph = network(body)
    tensor = graph.nodes[0].outputs[0]
    found = flat_ends(tensor, Context(graph).view())
    assert found == pytest.approx(expected, rel=1e-6)
    # The output for values beyond is that for the ends.
    x = np.random.default_rng(0).uniform(-9, 9, (64, 4)).astype(np.float32)
    clipped = -np.clip(-x, *expected).astype(np.float32)
    model = planish.to_model(graph)
    a, b = (run_ort(model, {"x": v})["y"] for v in (x, clipped))
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_an_output_shows_all_values():
    graph = network("y = HardSwish(t)", "float[N, 4] t, float[N, 4] y")
    assert flat_ends(graph.outputs[0], Context(graph).view()) == (-np.inf, np.inf)


PAIR = "p = QuantizeLinear(t, s) a = DequantizeLinear(p, s)"
BETWEEN_PAIRS = {
    "y = HardSwish(a)": (-3, np.inf),
    f"""b = DequantizeLinear(p, s) h = HardSigmoid<alpha = {SLOPE}>(a) q = QuantizeLinear(h, s)
        g = DequantizeLinear(q, s) y = Mul(b, g)""": (-3, np.inf),
    "y = Mul(a, a)": (-np.inf, np.inf),
    f"h = HardSigmoid<alpha = {SLOPE}>(a) m = Mul(a, h) y = Add(m, t)": (-np.inf, np.inf),
    f"h = HardSigmoid<alpha = {SLOPE}>(a) e = Neg(a) y = Mul(e, h)": (-np.inf, np.inf),
    "y = HardSwish(a) z = Identity(a)": (-np.inf, np.inf),
}


@pytest.mark.parametrize(("body", "expected"), BETWEEN_PAIRS.items())
def test_pairs_on_the_way_change_nothing(body, expected):
    outputs = "float[N, 4] y" + ", float[N, 4] z" * ("z = " in body)
    text = f"g (float[N, 4] x) => ({outputs}) {{ t = Neg(x) {PAIR} {body} }}"
    graph = graph_of(text, {"s": np.float32(0.1).reshape(())})
    found = flat_ends(graph.nodes[0].outputs[0], Context(graph).view())
    assert found == pytest.approx(expected, rel=1e-6)


def test_ranges_end_there():
    graph = network("y = HardSwish(t)")
    feeds = [{"x": np.linspace(-8, 20, 400, dtype=np.float32).reshape(-1, 4)}]
    for flat, low in ((False, -20), (True, -3)):
        found = calibrate(graph, ["t", "y"], feeds, method="min-max", flat=flat)
        assert found["t"].minimum == pytest.approx(low)
        assert found["t"].maximum == pytest.approx(8)
        assert found["y"].maximum == pytest.approx(8)


def test_a_hard_swish_behind_a_layer_gets_the_integers_for_what_it_reads():
    rng = np.random.default_rng(0)
    weights = {
        "a": rng.standard_normal((16, 16, 1, 1)).astype(np.float32) * 2,
        "b": (rng.standard_normal(16) - 20).astype(np.float32),
        "c": rng.standard_normal((4, 16, 1, 1)).astype(np.float32),
    }
    body = "t = Conv(x, a, b) h = HardSigmoid<alpha = 0.16666667>(t) m = Mul(t, h) y = Conv(m, c)"
    graph = graph_of(f"g (float[N, 16, 4, 4] x) => (float[N, 4, 4, 4] y) {{ {body} }}", weights)
    feeds = [{"x": 3 * rng.standard_normal((8, 16, 4, 4)).astype(np.float32)} for _ in range(4)]
    result = run_pass(graph, "quantize{measure=false,guard=off,calibration=min-max}", feeds=feeds)
    (scale,) = (
        float(n.inputs[1].values)
        for n in result.graph.nodes
        if n.op == "QuantizeLinear" and n.inputs[0].name == "t"
    )
    a, b = weights["a"][:, :, 0, 0], weights["b"]
    t = np.concatenate([np.einsum("oi,nihw->nohw", a, f["x"]) for f in feeds]) + b[:, None, None]
    assert t.min() < -30
    assert scale == pytest.approx((t.max() + 3) / 255, rel=1e-5)
