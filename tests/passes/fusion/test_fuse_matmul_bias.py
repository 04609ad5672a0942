"""fuse-matmul-bias: where MatMul and Add are one Gemm, and where they are not."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, graph_of, model_of, ops, reasons, run_pass

GENERATOR = np.random.default_rng(10)


def normal(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(4, 3),
    "b": normal(3),
    "row": normal(1, 3),
    "one": normal(1),
    "scalar": normal(),
    "column": normal(2, 1),
    "high": normal(1, 1, 3),
}


@pytest.mark.parametrize("opset", [7, 9, 13, 22])
@pytest.mark.parametrize("bias", ["b", "row", "one", "scalar"])
@pytest.mark.parametrize("order", ["(m, {})", "({}, m)"])
@pytest.mark.parametrize("batch", ["2", "N"])
def test_fuses(bias, order, batch, opset):
    text = f"""<ir_version: 4, opset_import: ["" : {opset}]>
        g (float[{batch}, 4] x) => (float[{batch}, 3] y) {{
            m = MatMul (x, w) y = Add {order.format(bias)} }}"""
    model = model_of(text, WEIGHTS)
    result = run_pass(planish.load(model), "fuse-matmul-bias")
    assert ops(result.graph) == ["Gemm"]
    assert_same_function(model, result.graph, {"x": normal(2, 4)}, tolerance=1e-6)


def test_of_two_variables_and_with_an_activation():
    text = """g (float[2, 4] x, float[4, 3] v) => (float[2, 3] y) {
        m = MatMul (x, v) a = Add (m, b) y = Relu (a) }"""
    result = run_pass(graph_of(text, WEIGHTS), "fuse-matmul-bias,fuse-conv-activation")
    assert ops(result.graph) == ["GemmRelu"]
    feeds = {"x": normal(2, 4), "v": normal(4, 3)}
    assert_same_function(model_of(text, WEIGHTS), result.graph, feeds, tolerance=1e-6)


DECLINED = {
    "MatMul is not known to multiply two matrices": ("float[2, 2, 4] x", "m = MatMul (x, w)", "b"),
    "the result of MatMul has other readers": (
        "float[2, 4] x",
        "m = MatMul (x, w) z = Neg (m)",
        "b",
    ),
    "its bias is not one value a column": ("float[2, 4] x", "m = MatMul (x, w)", "column"),
}


@pytest.mark.parametrize("reason", DECLINED)
def test_leaves_alone(reason):
    declared, body, bias = DECLINED[reason]
    other = ", float[2, 3] z" if "z =" in body else ""
    graph = graph_of(
        f"g ({declared}) => (float[] y{other}) {{ {body} y = Add (m, {bias}) }}", WEIGHTS
    )
    result = run_pass(graph, "fuse-matmul-bias")
    assert result.edits == 0
    assert reason in reasons(result)


def test_a_bias_of_higher_rank_and_integers_stay():
    text = "g (float[2, 4] x) => (float[1, 2, 3] y) { m = MatMul (x, w) y = Add (m, high) }"
    assert run_pass(graph_of(text, WEIGHTS), "fuse-matmul-bias").edits == 0
    weights = {"w": np.arange(12, dtype=np.int32).reshape(4, 3), "b": np.arange(3, dtype=np.int32)}
    text = "g (int32[2, 4] x) => (int32[2, 3] y) { m = MatMul (x, w) y = Add (m, b) }"
    assert run_pass(graph_of(text, weights), "fuse-matmul-bias").edits == 0
