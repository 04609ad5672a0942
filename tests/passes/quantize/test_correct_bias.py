"""correct-bias on graphs: means taken back on feeds and without any."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.passes.quantize.rounding.reconstruct import snap

from tests.helpers import graph_of, model_of, reasons, run_ort, run_pass

TEXT = """g (float[N, 6, 16, 16] x) => (float[N, 4, 14, 14] y) {
    a = Conv (x, w, b)
    r = Relu (a)
    d = Conv <group = 8, pads = [1, 1, 1, 1]> (r, v)
    s = Clip (d, low, high)
    y = Conv (s, u)
}"""


def _weights():
    generator = np.random.default_rng(0)
    shapes = {"w": (8, 6, 3, 3), "b": (8,), "v": (8, 1, 3, 3), "u": (4, 8, 1, 1)}
    weights = {k: generator.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
    return weights | {"low": np.float32(0), "high": np.float32(6)}


def _feeds(count=6, seed=1):
    generator = np.random.default_rng(seed)
    return [{"x": generator.standard_normal((2, 6, 16, 16), np.float32)} for _ in range(count)]


def _mean_error(model, graph):
    pairs = [
        (run_ort(model, f)["y"], run_ort(planish.to_model(graph), f)["y"]) for f in _feeds(seed=2)
    ]
    error = np.concatenate([b - a for a, b in pairs])
    return np.abs(error.mean(axis=(0, 2, 3))).sum()


def _nearest(weights, qmax):
    def rounded(array):
        rows = array.reshape(1, len(array), -1).astype(np.float64)
        return snap(rows, qmax).reshape(array.shape).astype(np.float32)

    return weights | {key: rounded(weights[key]) for key in "wvu"}


@pytest.mark.parametrize(("mode", "part"), [("empirical", 0.1), ("analytic", 0.4)])
def test_means_come_back(mode, part):
    weights = _weights()
    model = model_of(TEXT, weights)
    result = run_pass(
        planish.load(model), f"correct-bias{{mode={mode},bits=4}}", feeds=_feeds(), verify="off"
    )
    assert result.edits == 3
    rounded = _nearest(weights, 7)
    convs = [node for node in result.graph.nodes if node.op == "Conv"]
    for node, key in zip(convs, "wvu", strict=True):
        assert np.array_equal(node.inputs[1].values, rounded[key])
    usual = planish.load(model_of(TEXT, rounded))
    assert _mean_error(model, result.graph) < part * _mean_error(model, usual)


def test_analytic_takes_the_statistics_of_a_batch_normalization():
    generator = np.random.default_rng(3)
    weights = {
        "w": generator.standard_normal((5, 4, 1, 1)).astype(np.float32),
        "scale": np.array([1, 2, 0.5, 1], np.float32),
        "shift": np.array([3, -1, 0, 2], np.float32),
        "mean": np.zeros(4, np.float32),
        "var": np.ones(4, np.float32),
    }
    graph = graph_of(
        """g (float[1, 4, 5, 5] x) => (float[] y) {
            n = BatchNormalization (x, scale, shift, mean, var)
            y = Conv (n, w)
        }""",
        weights,
    )
    found = run_pass(graph, "correct-bias{mode=analytic,bits=4}", verify="off").graph.nodes[1]
    error = _nearest({"w": weights["w"], "v": weights["w"], "u": weights["w"]}, 7)["w"]
    expected = -(error - weights["w"])[..., 0, 0] @ weights["shift"]
    assert np.allclose(found.inputs[2].values, expected, atol=1e-6)


def test_unknown_means_and_absent_biases_decline():
    weights = {"w": np.random.default_rng(4).standard_normal((4, 4, 1, 1)).astype(np.float32)}
    text = "g (float[1, 4, 5, 5] x) => (float[] y) { a = Softmax (x) y = Conv (a, w) }"
    result = run_pass(graph_of(text, weights), "correct-bias{mode=analytic}", verify="off")
    assert result.edits == 0
    assert reasons(result) == {"the means of what it reads do not follow from the graph"}
    weights["w"] = weights["w"].reshape(4, 4)
    text = "g (float[2, 4] x) => (float[] y) { y = MatMul (x, w) }"
    result = run_pass(graph_of(text, weights), "correct-bias", verify="off")
    assert result.edits == 0
    assert reasons(result) == {"it adds no bias that could be corrected"}


@pytest.mark.parametrize(
    "activation",
    ["Celu", "Elu", "Erf", "Gelu", "HardSwish", "Mish", "Selu", "Softplus", "Softsign", "Swish"],
)
def test_analytic_knows_what_activations_do(activation):
    """The mean behind an activation is that of many samples of what stands before it."""
    generator = np.random.default_rng(6)
    weights = {
        "w": generator.standard_normal((5, 4, 1, 1)).astype(np.float32),
        "scale": np.array([1, 2, 0.5, 1.5], np.float32),
        "shift": np.array([1, -1, 0, 2], np.float32),
        "mean": np.zeros(4, np.float32),
        "var": np.ones(4, np.float32),
    }
    text = f"""<ir_version: 11, opset_import: ["" : 24]>
        g (float[N, 4, 5, 5] x) => (float[] y) {{
            n = BatchNormalization (x, scale, shift, mean, var)
            a = {activation} (n)
            y = Conv (a, w)
        }}"""
    found = run_pass(graph_of(text, weights), "correct-bias{mode=analytic,bits=4}", verify="off")
    assert found.edits == 1
    rounded = found.graph.nodes[-1].inputs[1].values
    drawn = generator.standard_normal((400, 4, 5, 5)).astype(np.float32)
    statistics = {name: values for name, values in weights.items() if name != "w"}
    model = model_of(text.replace("y = Conv (a, w)", "y = Identity (a)"), statistics)
    means = run_ort(model, {"x": drawn})["y"].astype(np.float64).mean((0, 2, 3))
    expected = -(rounded - weights["w"])[..., 0, 0] @ means
    assert np.allclose(found.graph.nodes[-1].inputs[2].values, expected, atol=0.05)
