"""Integer operators without names of their own and the float ones that they were."""

import numpy as np

from planish.backends.onnxruntime.explain.explain import raise_all
from planish.passes.quantize.qdq.match_float import match_float

from tests.helpers import graph_of

FLOAT = """g (float[2, 8] x) => (float[2, 2] y) {
    q = MatMul (x, wq) k = MatMul (x, wk) t = Transpose <perm = [1, 0]> (k) y = MatMul (q, t) }"""
INTEGERS = """g (float[2, 8] x) => (float[2, 2] y) {
    x_quantized = QuantizeLinear (x, s, z)
    q_quantized = QLinearMatMul (x_quantized, s, z, wq_quantized, s, v, s, z)
    k_quantized = QLinearMatMul (x_quantized, s, z, wk_quantized, s, v, s, z)
    t_quantized = Transpose <perm = [1, 0]> (k_quantized)
    y_quantized = QLinearMatMul (q_quantized, s, z, t_quantized, s, z, s, z)
    y = DequantizeLinear (y_quantized, s, z) }"""


def test_operators_that_are_called_as_their_results_are():
    scale = np.float32(1 / 16)
    integers = {
        f"w{c}_quantized": np.random.default_rng(i).integers(-64, 64, (8, 8)).astype(np.int8)
        for i, c in enumerate("qk")
    }
    weights = {name[:2]: values * scale for name, values in integers.items()}
    grid = {"s": scale, "z": np.uint8(128), "v": np.int8(0)}
    graph = graph_of(INTEGERS, integers | grid)
    for node in graph.nodes:
        node.name = ""
    raise_all(graph)
    found = match_float(graph, graph_of(FLOAT, weights))
    for name in "qk":
        np.testing.assert_array_equal(found.weights[f"{name}_quantized", 1], weights[f"w{name}"])
    assert set(found.tensors.values()) == {"q", "k", "t", "y"}
    assert not found.foreign
