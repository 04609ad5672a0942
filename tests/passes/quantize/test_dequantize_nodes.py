"""dequantize-nodes: what goes, what stays for others, and which float function is left."""

import numpy as np
import pytest
from hypothesis import assume, given, settings

import planish
from planish.ir.core.errors import PassError
from planish.ir.graph.uses import scopes

from tests.effort import examples
from tests.helpers import graph_of, model_of, ops, relative_error, run_ort, run_pass
from tests.strategies import networks
from tests.strategies.linear import STEPS

R = np.random.default_rng(3)
WEIGHTS = {
    "wa": R.standard_normal((4, 3, 3, 3)).astype("f"),
    "ba": R.standard_normal(4).astype("f"),
    "wb": R.standard_normal((5, 4, 1, 1)).astype("f"),
    "wc": R.standard_normal((2, 5, 3, 3)).astype("f"),
}
CHAIN = """g (float[1, 3, 8, 8] x) => (float[1, 2, 4, 4] y) {
    [a] c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, wa, ba)
    [r] d = Relu(c)
    [p] e = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (d)
    [b] f = Conv <kernel_shape = [1, 1]> (e, wb)
    [c] y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (f, wc)
}"""
FEEDS = [{"x": R.standard_normal((1, 3, 8, 8)).astype("f")} for _ in range(3)]


def chain():
    return graph_of(CHAIN, WEIGHTS)


def quantized(graph=None):
    text = "quantize{measure=false,guard=off,reduce-range=false}"
    return planish.Pipeline.parse(text).run(graph or chain(), FEEDS, verify="off").graph


def pairs(graph):
    return {n.inputs[0].name for n in graph.nodes if n.op == "QuantizeLinear"}


def back(graph, *names, original=""):
    text = f"dequantize-nodes{{nodes=[{','.join(names)}]"
    text += f',float-model="{original}"}}' if original else "}"
    return run_pass(graph, text, verify="off").graph


def sqnr(a, b):
    return planish.compare(a, b, FEEDS).sqnr_db


def test_all_nodes_with_the_original_give_the_original_function(tmp_path):
    planish.save(chain(), tmp_path / "m.onnx")
    found = back(quantized(), "a", "b", "c", original=tmp_path / "m.onnx")
    assert ops(found) == ["Conv", "Relu", "MaxPool", "Conv", "Conv"]
    assert sqnr(chain(), found) > 120


def test_without_the_original_the_dropped_relu_comes_back():
    found = back(quantized(), "a", "b", "c")
    assert ops(found) == ["Conv", "Relu", "MaxPool", "Conv", "Conv"]
    assert 30 < sqnr(chain(), found) < 120


def test_a_pair_that_a_neighbour_needs_stays(tmp_path):
    planish.save(chain(), tmp_path / "m.onnx")
    before = quantized()
    assert pairs(before) == {"x", "d", "e", "f", "y_float"}
    found = back(before, "b", original=tmp_path / "m.onnx")
    # a and the pool in front need theirs, and c its input: only b's own weights are float now.
    assert pairs(found) == pairs(before)
    (node,) = (n for n in found.nodes if n.name == "b")
    np.testing.assert_array_equal(node.inputs[1].values, WEIGHTS["wb"])


def test_pairs_between_two_nodes_taken_back_go():
    assert pairs(back(quantized(), "b", "c")) == {"x", "d", "e"}


def test_the_first_node_reads_the_graph_input_and_the_pool_stays_with_the_integers_behind():
    found = back(quantized(), "a")
    assert "x" not in pairs(found)
    assert {"d", "e"} <= pairs(found)


def test_a_movement_between_nodes_taken_back_goes_with_them():
    found = back(quantized(), "a", "b")
    assert pairs(found) == {"f", "y_float"}
    assert sqnr(chain(), found) > sqnr(chain(), quantized())


def test_the_names_of_inputs_and_outputs_stay():
    found = back(quantized(), "a", "b", "c")
    assert [t.name for t in found.inputs] == ["x"]
    assert [t.name for t in found.outputs] == ["y"]


def test_block_wise_and_per_tensor_weights_are_dequantized():
    weights = {
        "q": R.integers(-7, 8, (4, 6)).astype(np.int8),
        "s": R.uniform(0.5, 1, (2, 6)).astype("f"),
    }
    text = """<ir_version: 10, opset_import: ["" : 21]> g (float[1, 4] x) => (float[1, 6] y) {
        [d] w = DequantizeLinear <axis = 0, block_size = 2> (q, s)
        [m] y = MatMul(x, w)
    }"""
    found = back(graph_of(text, weights), "m")
    assert ops(found) == ["MatMul"]
    expected = weights["q"] * np.repeat(weights["s"], 2, axis=0)
    np.testing.assert_allclose(found.nodes[0].inputs[1].values, expected, rtol=1e-6)


def test_trained_models_quantize_float_weights_which_come_back_as_they_are():
    weights = {
        "w": WEIGHTS["wa"],
        "s": np.float32(0.05),
        "z": np.int8(0),
        "u": np.uint8(128),
    }
    text = """g (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {
        wq = QuantizeLinear(w, s, z)
        wd = DequantizeLinear(wq, s, z)
        xq = QuantizeLinear(x, s, u)
        xd = DequantizeLinear(xq, s, u)
        [a] y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (xd, wd)
    }"""
    found = back(graph_of(text, weights), "a")
    assert ops(found) == ["Conv"]
    np.testing.assert_array_equal(found.nodes[0].inputs[1].values, weights["w"])


def test_an_unknown_node_is_refused_with_the_nearest_name():
    with pytest.raises(PassError, match="nodes names the node 'conv_a'"):
        back(graph_of(CHAIN.replace("[a]", "[conv_b]"), WEIGHTS), "conv_a")


def test_a_float_graph_is_left_alone():
    result = run_pass(chain(), "dequantize-nodes{nodes=[a,b,c]}")
    assert result.edits == 0


def test_pairs_in_a_row_all_go():
    weights = {"s": np.float32(0.05), "z": np.uint8(128), "w": WEIGHTS["wa"]}
    text = """g (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {
        [i] v = Sigmoid(x)
        a = QuantizeLinear(v, s, z)
        b = DequantizeLinear(a, s, z)
        c = QuantizeLinear(b, s, z)
        d = DequantizeLinear(c, s, z)
        [a] y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (d, w)
    }"""
    assert ops(back(graph_of(text, weights), "i", "a")) == ["Sigmoid", "Conv"]


@settings(max_examples=examples(6))
@given(networks(patterns=STEPS, most_steps=4))
def test_any_network_stays_valid_with_any_nodes_taken_back(case):
    assume(all(np.isfinite(array).all() for array in case.feeds.values()))
    graph = planish.load(case.model)
    assume(not any("quantize" in op.lower() for op in ops(graph)))
    for index, node in enumerate(graph.nodes):
        node.name = f"n{index}"
    text = "quantize{measure=false}"
    before = planish.Pipeline.parse(text).run(graph, [case.feeds], verify="off").graph
    names = [n.name for n in before.nodes if "quantize" not in n.op.lower()]
    for chosen in (names, names[::2], names[1::2]):
        if chosen:
            found = back(before, *chosen)  # well-formed, and a second run edits nothing
            planish.compare(graph, found, [case.feeds])  # the runtime accepts it
            assert [t.name for t in found.outputs] == [t.name for t in graph.outputs]
            assert len(pairs(found)) <= len(pairs(before))


def test_a_body_taken_back_reads_past_a_barrier():
    """ONNX Runtime aborts the process where a body reads what it moves integers through."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 4, 8, 8] x, bool c) => (float[1, 4, 2, 2] y) {
            h = Conv (x, w) p = MaxPool <kernel_shape = [2, 2]> (h)
            y = If (c) <
                then_branch = a () => (float[1, 4, 2, 2] u) {
                    [one] k = Conv <kernel_shape = [2, 2]> (p, v) u = Relu (k) },
                else_branch = b () => (float[1, 4, 2, 2] t) {
                    [two] t = Conv <kernel_shape = [2, 2]> (p, v) }> }"""
    generator = np.random.default_rng(0)
    held = {
        "w": generator.standard_normal((4, 4, 3, 3)).astype("f"),
        "v": generator.standard_normal((4, 4, 2, 2)).astype("f"),
    }
    model = model_of(text, held)
    feeds = [
        {"x": generator.standard_normal((1, 4, 8, 8)).astype("f"), "c": np.array(i > 0)}
        for i in range(2)
    ]
    parsed = planish.Pipeline.parse("quantize{measure=false,guard=off}")
    graph = parsed.run(planish.load(model), feeds, verify="off").graph
    inner = [n.name for s in scopes(graph) if s is not graph for n in s.nodes if n.op == "Conv"]
    text = f"dequantize-nodes{{nodes=[{','.join(inner)}]}}"
    back = planish.Pipeline.parse(text).run(graph, verify="off").graph
    assert ops(back).count("LeakyRelu") == 1
    assert not any(
        n.op == "DequantizeLinear" for s in scopes(back) if s is not back for n in s.nodes
    )
    for feed in feeds:
        wanted, found = run_ort(model, feed)["y"], run_ort(planish.to_model(back), feed)["y"]
        assert relative_error(wanted, found) < 0.05


@pytest.mark.parametrize(("before", "relus"), [("Neg (x)", 1), ("Sigmoid (x)", 0)])
def test_a_grid_from_zero_leaves_a_relu_behind_any_operator(before, relus):
    """What only the grid cuts off is cut off without it; what is never below 0 needs nothing."""
    graph = graph_of(
        f"""g (float[1, 4] x) => (float[1, 3] y) {{
            a = {before} u = Reshape (a, k)
            q = QuantizeLinear (u, s, z) d = DequantizeLinear (q, s, z)
            t = Reshape (d, k) r = QuantizeLinear (t, s, z) e = DequantizeLinear (r, s, z)
            i = DequantizeLinear (w, s) [last] y = MatMul (e, i) }}""",
        {
            "s": np.float32(0.01),
            "z": np.uint8(0),
            "k": np.array([1, 4]),
            "w": R.integers(-99, 99, (4, 3)).astype(np.int8),
        },
    )
    back = run_pass(graph, "dequantize-nodes{nodes=[last,t]}", verify="off").graph
    assert ops(back).count("QuantizeLinear") == 0
    assert ops(back).count("Relu") == relus
    x = np.array([[-1.0, 0.5, -0.25, 0.75]], np.float32)
    models = (planish.to_model(graph), planish.to_model(back))
    wanted, found = (run_ort(model, {"x": x})["y"] for model in models)
    assert relative_error(wanted, found) < 0.02
