"""apply-masks: products of weights and masks become weights."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, graph_of, model_using, ops, reasons, run_pass

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def some(*shape):
    found = (RNG.random(shape) < 0.5).astype(np.float32)
    found.flat[0], found.flat[-1] = 0, 1
    return found


@pytest.mark.parametrize("batch", ["N", "2"])
@pytest.mark.parametrize("opset", [7, 13, 22])
def test_weights_and_biases_are_baked(batch, opset):
    weights = {
        "w": normal(4, 2, 3, 3), "w_mask": some(4, 1, 1, 1), "b": normal(4), "b_mask": some(4),
        "v": normal(4, 3), "v_mask": some(4, 3),
    }  # fmt: skip
    model = model_using(
        weights,
        """wm = Mul(w, w_mask) bm = Mul(b_mask, b) a = Conv <kernel_shape=[3,3]> (x, wm, bm)
        p = GlobalAveragePool(a) f = Flatten(p) vm = Mul(v, v_mask) y = MatMul(f, vm)""",
        f"float[{batch}, 2, 5, 5] x",
        opset=opset,
    )
    result = run_pass(planish.load(model), "apply-masks")
    assert result.edits == 3
    assert "Mul" not in ops(result.graph)
    held = {t.name: t.values for n in result.graph.nodes for t in n.inputs[1:]}
    assert set(held) == {"w", "b", "v"}
    for name, values in held.items():
        np.testing.assert_array_equal(values, weights[name] * weights[f"{name}_mask"])
    assert_same_function(model, result.graph, {"x": normal(2, 2, 5, 5)})


def test_a_product_that_several_read_is_baked_once():
    weights = {"w": normal(3, 3), "w_mask": some(3, 3)}
    model = model_using(
        weights, "m = Mul(w, w_mask) a = MatMul(x, m) y = MatMul(a, m)", "float[N, 3] x"
    )
    result = run_pass(planish.load(model), "apply-masks")
    first, second = result.graph.nodes
    assert first.inputs[1] is second.inputs[1]
    assert_same_function(model, result.graph, {"x": normal(2, 3)})


def test_a_weight_that_is_read_bare_too_stays_as_it_is():
    weights = {"w": normal(3, 3), "w_mask": some(3, 3)}
    model = model_using(
        weights, "m = Mul(w, w_mask) a = MatMul(x, m) y = MatMul(a, w)", "float[N, 3] x"
    )
    result = run_pass(planish.load(model), "apply-masks")
    first, second = (node.inputs[1] for node in result.graph.nodes)
    assert second.name == "w"
    assert first.name != "w"
    np.testing.assert_array_equal(second.values, weights["w"])
    assert_same_function(model, result.graph, {"x": normal(2, 3)})


def test_a_masked_weight_in_a_body_is_baked():
    text = """g (float[N, 3] x, bool c) => (float[N, 3] y) {
        y = If (c) <
            then_branch = t () => (float[N, 3] u) { m = Mul(w, w_mask) u = MatMul(x, m) },
            else_branch = e () => (float[N, 3] v) { v = Relu(x) }
        >
    }"""
    graph = graph_of(text, {"w": normal(3, 3), "w_mask": some(3, 1)})
    result = run_pass(graph, "apply-masks")
    assert ops(result.graph.nodes[0].attrs["then_branch"]) == ["MatMul"]


def test_what_can_be_overridden_or_is_shown_is_left_alone():
    weights = {"w": normal(3, 3), "w_mask": some(3, 1)}
    shown = graph_of(
        "g (float[N,3] x) => (float[N,3] y, float[3,3] m) { m = Mul(w, w_mask) y = MatMul(x, m)}",
        weights,
    )
    result = run_pass(shown, "apply-masks")
    assert result.edits == 0
    assert reasons(result) == {"its result is a graph output"}
    default = graph_of(
        "g (float[N,3] x, float[3,3] w) => (float[N,3] y) { m = Mul(w, w_mask) y = MatMul(x, m)}",
        weights,
    )
    result = run_pass(default, "apply-masks")
    assert result.edits == 0
    assert reasons(result) == {"a caller may override the weight: it is an input"}


def test_other_products_of_constants_are_no_masks():
    graph = graph_of(
        "g (float[N, 3] x) => (float[N, 3] y) { m = Mul(w, scale) y = MatMul(x, m) }",
        {"w": normal(3, 3), "scale": some(3, 1)},
    )
    result = run_pass(graph, "apply-masks")
    assert result.edits == 0
    assert reasons(result) == set()
