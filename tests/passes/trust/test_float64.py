"""A graph in float64 computes the function of the float32 one, to float64's rounding."""

from __future__ import annotations

import numpy as np
import pytest

from planish.passes.trust.float64 import in_float64, run_in_float64

from tests.helpers import graph_of, model_of, run_ort

GENERATOR = np.random.default_rng(2)
X = {"x": GENERATOR.standard_normal((2, 3, 8, 8)).astype(np.float32)}
W = GENERATOR.standard_normal((4, 3, 3, 3)).astype(np.float32)


def _conv(x, w):
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y = Conv(x, w)", lambda x, w: _conv(x, w)),
        ("h = Cast <to = 10> (x) s = Cast <to = 1> (h) y = Neg(s)", lambda x, w: -x),
        (
            "s = Shape(x) k = ConstantOfShape <value = float[1] {3.0}> (s) y = Add(x, k)",
            lambda x, w: x + 3,
        ),
        ("c = Constant <value = float {0.1}> () y = Mul(x, c)", lambda x, w: x * np.float32(0.1)),
        (
            'y = Resize <mode = "nearest"> (x, , scales)',
            lambda x, w: x.repeat(2, 2).repeat(2, 3),
        ),
        (
            """y = If (t) < then_branch = a () => (float[] p) { p = Add(x, half) },
            else_branch = b () => (float[] q) { q = Identity(x) }>""",
            lambda x, w: x + 0.5,
        ),
    ],
)
def test_values(text, expected):
    weights = {"w": W, "scales": np.array([1, 1, 2, 2], np.float32), "half": np.float32(0.5)}
    weights |= {"t": np.array(True)}
    used = {name: values for name, values in weights.items() if name in text}
    graph = graph_of(f"g (float[2, 3, 8, 8] x) => (float[] y) {{ {text} }}", used)
    (found,) = run_in_float64(graph, [X])
    assert found["y"].dtype == np.float64
    wide = expected(X["x"].astype(np.float64), W.astype(np.float64))
    np.testing.assert_allclose(found["y"], wide, rtol=1e-12, atol=1e-13)


def test_normalizations_compute_in_64_bits():
    """A mean of 1000 leaves nothing of the variance in float32, which these compute in else."""
    text = """<ir_version: 10, opset_import: ["" : 21]> g (float[2, 3, 8, 8] x) => (float[] y) {
        y = GroupNormalization <num_groups = 1> (x, s, s) }"""
    far = {"x": X["x"] + np.float32(1000)}
    (found,) = run_in_float64(graph_of(text, {"s": np.ones(3, np.float32)}), [far])
    rows = far["x"].astype(np.float64).reshape(2, -1)
    centred = rows - rows.mean(1, keepdims=True)
    wanted = centred / np.sqrt(np.square(centred).mean(1, keepdims=True) + np.float32(1e-5))
    np.testing.assert_allclose(found["y"].reshape(2, -1) - 1, wanted, rtol=1e-6, atol=1e-7)


def test_what_takes_no_doubles_keeps_its_type():
    """Pairs of quantization round to integers, in float64 as in float32."""
    text = """g (float[2, 3, 8, 8] x) => (float[2, 3, 8, 8] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Mul(d, d) }"""
    weights = {"s": np.float32(0.03), "z": np.uint8(128)}
    (found,) = run_in_float64(graph_of(text, weights), [X])
    plain = run_ort(model_of(text, weights), X)["y"]
    np.testing.assert_allclose(found["y"], plain, rtol=1e-6)


def test_the_graph_is_left_alone_and_custom_operators_are_refused():
    graph = graph_of(
        "g (float[2, 3, 8, 8] x) => (float[2, 4, 6, 6] y) { y = Conv(x, w) }", {"w": W}
    )
    in_float64(graph)
    assert graph.inputs[0].dtype == np.float32
    assert graph.nodes[0].inputs[1].values.dtype == np.float32
    custom = graph_of(
        """<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>
        g (float[2, 3, 8, 8] x) => (float[2, 3, 8, 8] y) { y = my.domain.Thing(x) }"""
    )
    assert run_in_float64(custom, [X]) is None
