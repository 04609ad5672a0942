import numpy as np
import pytest
from hypothesis import given, settings

import planish

from tests.effort import examples
from tests.helpers import assert_same_function, graph_of, model_of, ops, run_pass
from tests.strategies import networks

RNG = np.random.default_rng(3)
WEIGHTS = {
    "w": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "b": RNG.standard_normal(4).astype(np.float32),
}
TEXT = """g (float[N, 3, 8, 8] x) => (float[N, 4, 3, 3] y) {
    c = Conv<pads=[1, 1, 1, 1]>(x, w, b)
    s = Sigmoid(c)
    a = Mul(c, s)
    y = MaxPool<kernel_shape=[3, 3], strides=[2, 2]>(a)
}"""


def test_a_fused_operator_becomes_the_operators_it_was_made_of():
    model = model_of(TEXT, WEIGHTS)
    fused = run_pass(
        planish.load(model), "recognize-activations,fuse-conv-activation,fuse-conv-pool"
    ).graph
    assert ops(fused) == ["ConvSiluMaxPool"]
    opened = run_pass(fused, "inline-fused-operators").graph
    assert ops(opened) == ["Conv", "Sigmoid", "Mul", "MaxPool"]
    assert not opened.functions
    assert [entry.domain for entry in opened.import_domains] == [""]
    feeds = {"x": RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)}
    assert_same_function(model, opened, feeds, tolerance=1e-6)


def test_attributes_and_absent_inputs_are_those_of_the_call():
    graph = graph_of(
        """g (float[N, 3, 8, 8] x) => (y) {
            c = Conv<strides=[2, 2], pads=[1, 0, 1, 0]>(x, w)
            y = LeakyRelu<alpha=0.3>(c)
        }""",
        {"w": WEIGHTS["w"]},
    )
    fused = run_pass(graph, "fuse-conv-activation").graph
    opened = run_pass(fused, "inline-fused-operators").graph
    conv, leaky = opened.nodes
    assert conv.attrs["strides"] == [2, 2]
    assert conv.attrs["pads"] == [1, 0, 1, 0]
    assert leaky.attrs["alpha"] == pytest.approx(0.3)
    assert all(tensor.name for tensor in conv.inputs)


@settings(max_examples=examples(25))
@given(case=networks())
def test_inlining_undoes_fusion(case):
    fused = planish.Pipeline.parse("exact").run(planish.load(case.model), verify="off").graph
    opened = run_pass(fused, "inline-fused-operators").graph
    assert not any(node.domain == "planish" for node in opened.nodes)


def test_names_that_nodes_and_results_had_come_back():
    text = """g (float[1, 3, 6, 6] x) => (float[1, 4, 1, 1] y) {
        c = Conv(x, w)
        s = Sigmoid(c)
        m = Mul(c, s)
        y = GlobalAveragePool(m)
    }"""
    model = model_of(text, {"w": np.ones((4, 3, 3, 3), np.float32)})
    for node in model.graph.node:
        node.name = f"/block/{node.op_type}"
    for pipeline in ("recognize-activations", "exact"):
        fused = run_pass(planish.load(model), pipeline).graph
        assert len(fused.nodes) < 4
        found = run_pass(fused, "inline-fused-operators").graph
        assert {node.name for node in found.nodes} == {n.name for n in model.graph.node}
        assert {n.outputs[0].name for n in found.nodes} == {"c", "s", "m", "y"}
