"""Channels that are constant or unread go; their part is in the biases of the layers after."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import planish
from planish.passes.analysis.cost import cost

from tests.effort import examples
from tests.helpers import (
    assert_left_alone,
    assert_same_function,
    model_of,
    model_using,
    ops,
    reasons,
    run_pass,
)
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.channels import STEPS

PASS = "remove-constant-channels"
GENERATOR = np.random.default_rng(13)


def normal(*shape, zero=None, axis=0):
    values = GENERATOR.standard_normal(shape).astype(np.float32)
    if zero is not None:
        np.moveaxis(values, axis, 0)[zero] = 0
    return values


LOW = [1, 4]  # channels without weights, of six
WEIGHTS = {
    "w": normal(6, 3, 3, 3, zero=LOW),
    "full": normal(6, 3, 3, 3),
    "none": np.zeros((6, 3, 3, 3), np.float32),
    "wt": normal(3, 6, 2, 2, zero=LOW, axis=1),
    "b": np.array([1, 2, 3, 4, 5, 6], np.float32) / 4,
    "below": -np.arange(1, 7).astype(np.float32),
    "dw": normal(6, 1, 3, 3),
    "db": normal(6),
    "u": normal(4, 6, 1, 1),
    "u2": normal(2, 6, 1, 1),
    "u3": normal(4, 6, 3, 3),
    "ut": normal(6, 4, 2, 2),
    "half": normal(4, 6, 3, 3, zero=LOW, axis=1),
    "ub": normal(4),
    "ug": normal(6, 3, 1, 1),
    "s": normal(6),
    "t": normal(6),
    "m": normal(6),
    "v": GENERATOR.uniform(0.1, 2, 6).astype(np.float32),
    "col": normal(6, 1, 1),
    "whole": normal(1, 6, 1, 1),
    "mz": normal(3, 6, zero=LOW, axis=1),
    "lone": normal(1, 1, 1),
    "z": np.float32(0),
    "six": np.float32(0.9),
    "fw": normal(6 * 36, 5),
    "fwt": normal(5, 6 * 36),
    "pw": normal(6, 5),
    "fb": normal(5),
    "to": np.array([0, -1]),
    "hw": np.array([2, 3]),
    "mw": normal(3, 6, zero=LOW, axis=1),
}
C = "c = Conv <pads = [1, 1, 1, 1]> (x, w, b)"


def model(body, kind="float[2, 3, 6, 6]", opset=18, outputs=""):
    return model_using(WEIGHTS, body, f"{kind} x", opset=opset, outputs=outputs)


def feeds(*shape):
    return {"x": np.random.default_rng(3).standard_normal(shape or (2, 3, 6, 6)).astype("f")}


def shapes(graph):
    """Return the shapes of the weights of all layers, in order."""
    return [
        node.inputs[1].values.shape
        for node in graph.nodes
        if node.op in ("Conv", "ConvTranspose", "Gemm", "MatMul")
    ]


U = "y = Conv(r, u, ub)"
FIRES = {
    "straight": f"r = Conv(x, w, b) {U}",
    "without biases": "r = Conv(x, w) y = Conv(r, u)",
    "into a layer without a bias": "r = Conv(x, w, b) y = Conv(r, u)",
    "Relu": f"{C} r = Relu(c) {U}",
    "Sigmoid": f"{C} r = Sigmoid(c) {U}",
    "Clip": f"{C} r = Clip(c, z, six) {U}",
    "Clip from above": f"{C} r = Clip(c, , six) {U}",
    "LeakyRelu": "c = Conv(x, w, below) r = LeakyRelu <alpha = 0.2> (c) y = Conv(r, u)",
    "Elu": "c = Conv(x, w, below) r = Elu <alpha = 0.7> (c) y = Conv(r, u)",
    "HardSigmoid": "c = Conv(x, w, b) r = HardSigmoid <alpha = 0.1, beta = 0.3> (c) "
                   "y = Conv(r, u)",
    "HardSwish": "c = Conv(x, w, b) r = HardSwish(c) y = Conv(r, u)",
    "Softplus and Tanh": "c = Conv(x, w, b) d = Softplus(c) r = Tanh(d) y = Conv(r, u)",
    "SiLU": f"{C} g = Sigmoid(c) r = Mul(c, g) {U}",
    "SiLU, the gate first": f"{C} g = Sigmoid(c) r = Mul(g, c) {U}",
    "doubled": f"{C} r = Add(c, c) {U}",
    "a difference": f"{C} g = Sigmoid(c) r = Sub(c, g) {U}",
    "a difference the other way": f"{C} g = Sigmoid(c) r = Sub(g, c) {U}",
    "normalization": f"{C} n = BatchNormalization(c, s, t, m, v) r = Relu(n) {U}",
    "affine": f"{C} n = Mul(col, c) d = Sub(n, lone) e = Add(d, col) r = Neg(e) {U}",
    "affine of full rank": f"{C} n = Mul(whole, c) r = Add(n, whole) {U}",
    "depthwise": f"{C} d = Conv <group = 6> (c, dw, db) r = Relu(d) {U}",
    "depthwise beside padding, of zeros": (
        f"c = Conv(x, w, below) a = Relu(c) r = Conv <group = 6, pads = [1, 1, 1, 1]> (a, dw, db) "
        f"{U}"),
    "padding beside zeros": (
        "c = Conv(x, w, below) r = Relu(c) y = Conv <pads = [1, 1, 1, 1]> (r, u3)"),
    "MaxPool": f"{C} r = MaxPool <kernel_shape = [2, 2], pads = [1, 0, 0, 0]> (c) {U}",
    "AveragePool": f"{C} r = AveragePool <kernel_shape = [2, 2], pads = [1, 0, 0, 0]> (c) {U}",
    "AveragePool that counts no pads": (
        f"{C} r = AveragePool <kernel_shape = [2, 2], count_include_pad = 1> (c) {U}"),
    "GlobalAveragePool and Flatten": (
        f"{C} p = GlobalAveragePool(c) r = Flatten(p) y = Gemm(r, pw, fb)"),
    "Flatten of an image": f"{C} r = Flatten(c) y = Gemm <alpha = 0.5, beta = 2.0> (r, fw, fb)",
    "Relu after Flatten": f"{C} f = Flatten(c) r = Relu(f) y = Gemm <transB = 1> (r, fwt, fb)",
    "Reshape": f"{C} r = Reshape(c, to) p = MatMul(r, fw) y = Add(p, fb)",
    "Reshape, no bias": f"{C} r = Reshape(c, to) y = MatMul(r, fw)",
    "transposed": f"r = ConvTranspose <strides = [2, 2]> (x, wt, b) {U}",
    "into transposed, of zeros": (
        "c = Conv(x, w, below) r = Relu(c) y = ConvTranspose <strides = [2, 2]> (r, ut)"),
    "two readers": f"{C} r = Relu(c) a = Conv(r, u2) d = Conv(c, u2) y = Add(a, d)",
}  # fmt: skip


@pytest.mark.parametrize("body", FIRES.values(), ids=FIRES)
@pytest.mark.parametrize("batch", ["2", "N"])
def test_fires(body, batch):
    before = model(body, f"float[{batch}, 3, 6, 6]")
    graph = planish.load(before)
    result = run_pass(graph, PASS)
    assert result.edits == 1
    first = shapes(result.graph)[0]
    assert first[1 if "ConvTranspose" in ops(graph)[:1] else 0] == 4
    assert cost(result.graph).macs < cost(graph).macs
    assert cost(result.graph).parameters < cost(graph).parameters
    assert_same_function(before, result.graph, feeds())


def test_several_layers_one_after_the_other():
    """What goes makes the next layer narrower, and its own channels go as well."""
    before = model("c = Conv(x, w, b) r = Relu(c) d = Conv(r, ug6) e = Relu(d) y = Conv(e, u)")
    weight = normal(6, 6, 1, 1, zero=LOW)
    weight[LOW[0], LOW] = 1  # it reads constant channels alone
    before.graph.initializer.append(
        model_of("g (float[1] x) => (float[1] y) { y = Neg(x) }", {"ug6": weight})
        .graph.initializer[0]
    )  # fmt: skip
    result = run_pass(planish.load(before), PASS)
    assert shapes(result.graph) == [(4, 3, 3, 3), (4, 4, 1, 1), (4, 4, 1, 1)]
    assert_same_function(before, result.graph, feeds())


def test_unread_channels():
    before = model("c = Conv(x, full, b) r = Relu(c) y = Conv <pads = [1, 1, 1, 1]> (r, half, ub)")
    result = run_pass(planish.load(before), PASS)
    assert shapes(result.graph) == [(4, 3, 3, 3), (4, 4, 3, 3)]
    assert_same_function(before, result.graph, feeds())


def test_channels_that_one_of_two_layers_reads():
    body = "r = Conv(x, full, b) a = Conv(r, half) d = Conv(r, u3) y = Add(a, d)"
    result = run_pass(planish.load(model(body)), PASS)
    assert result.edits == 0
    assert reasons(result) == set()


def test_one_channel_stays():
    before = model("c = Conv(x, none, b) r = Relu(c) y = Conv(r, u3, ub)")
    result = run_pass(planish.load(before), PASS)
    assert shapes(result.graph) == [(1, 3, 3, 3), (4, 1, 3, 3)]
    assert_same_function(before, result.graph, feeds())


def test_matrices():
    before = model("h = MatMul(x, mw) a = Add(h, b) r = Relu(a) y = MatMul(r, pw)", "float[N, 3]")
    result = run_pass(planish.load(before), PASS)
    assert sorted(shapes(result.graph)) == [(3, 4), (4, 5)]
    assert_same_function(before, result.graph, feeds(7, 3))


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_gemm(beta):
    before = model(
        f"h = Gemm <alpha = 2.0, beta = {beta}> (x, mz, b) r = Relu(h) y = Gemm(r, pw, fb)",
        "float[N, 3]",
    )
    result = run_pass(planish.load(before), PASS)
    assert shapes(result.graph) == [(3, 4), (4, 5)]
    assert_same_function(before, result.graph, feeds(7, 3))


def test_old_opset():
    before = model("c = Conv(x, w, b) r = Clip <min = 0.0, max = 0.9> (c) y = Conv(r, u)", opset=9)
    result = run_pass(planish.load(before), PASS)
    assert shapes(result.graph) == [(4, 3, 3, 3), (4, 4, 1, 1)]
    assert_same_function(before, result.graph, feeds())


STAYS = {
    "every channel varies": ("r = Conv(x, full, b) y = Conv(r, u)", None),
    "grouped": ("r = Conv <group = 1> (x, w) y = Conv <group = 2> (r, ug)",
                "its channels are read by a grouped convolution"),
    "in groups": ("c = Conv(x, full) d = Conv <group = 6> (c, none1) y = Conv(d, u)",
                  "its channels are in groups"),
    "values beside padding": (
        "r = Conv(x, w, b) y = Conv <pads = [1, 1, 1, 1]> (r, u3)",
        "its constant channels reach a layer that sees padding beside them"),
    "a depthwise convolution beside padding": (
        f"r0 = Conv(x, w, b) r = Conv <group = 6, auto_pad = \"SAME_UPPER\"> (r0, dw) {U}",
        "its constant channels reach a layer that sees padding beside them"),
    "a mean that counts pads": (
        f"r0 = Conv(x, w, b) r = AveragePool <kernel_shape = [2, 2], pads = [1, 0, 0, 0], "
        f"count_include_pad = 1> (r0) {U}",
        "its constant channels reach a layer that sees padding beside them"),
    "into transposed": (
        "r = Conv(x, w, b) y = ConvTranspose <strides = [2, 2]> (r, ut)",
        "its constant channels reach a layer that sees padding beside them"),
    "a residual": (f"c = Conv(x, w, b) d = Conv(x, full) r = Add(c, d) {U}",
                   "Add mixes its channels with others"),
    "a residual subtracted": (f"c = Conv(x, w, b) d = Conv(x, full) r = Sub(d, c) {U}",
                              "Sub mixes its channels with others"),
    "Softmax": (f"c = Conv(x, w, b) r = Softmax <axis = 1> (c) {U}",
                "its channels are read by Softmax, which needs all of them"),
    "ReduceMean over channels": (
        "r = Conv(x, w, b) k = Conv(r, u) a = ReduceSum(r) y = Add(k, a)",
        "its channels are read by ReduceSum, which needs all of them"),
    "the indices of MaxPool": (
        "c = Conv(x, w, b) r, i = MaxPool <kernel_shape = [1, 1]> (c) k = Conv(r, u2) "
        "j = Cast <to = 1> (i) a = ReduceSum(j) y = Add(k, a)",
        "the indices of MaxPool count all channels"),
    "Flatten before Mul": (
        "c = Conv(x, w, b) f = Flatten(c) g = Mul(f, lone2) y = MatMul(g, fw4)",
        "Mul stands between Flatten and the layer"),
}  # fmt: skip
EXTRA = {
    "none1": np.zeros((6, 1, 1, 1), np.float32),
    "lone2": np.full((1, 1), 2, np.float32),
    "fw4": normal(6 * 16, 2),
}


@pytest.mark.parametrize(("body", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, reason, monkeypatch):
    for name, values in EXTRA.items():
        monkeypatch.setitem(WEIGHTS, name, values)
    assert_left_alone(model(body), PASS, reason)


def test_an_output_stays():
    before = model("r = Conv(x, w, b) y = Conv(r, u)", outputs="float[] r, ")
    assert reasons(run_pass(planish.load(before), PASS)) == {"its channels are a graph output"}


def test_shared_weights_stay_with_their_other_reader():
    before = model(
        "n = Neg(x) c = Conv(x, w, b) d = Conv(n, w, b) p = Conv(c, u) q = Conv(d, u) y = Add(p, q)"
    )
    result = run_pass(planish.load(before), PASS)
    assert result.edits == 2
    assert_same_function(before, result.graph, feeds())


def test_inside_a_branch():
    before = model_of(
        """g (float[2, 3, 6, 6] x, bool t) => (float[] y) {
            y = If (t) <then_branch = f () => (float[] o) { a = Conv(x, w, b) o = Conv(a, u) },
                        else_branch = h () => (float[] v) { v = Neg(x) }> }""",
        {name: WEIGHTS[name] for name in ("w", "b", "u")},
    )
    result = run_pass(planish.load(before), PASS)
    assert shapes(result.graph.nodes[0].attrs["then_branch"])[0] == (4, 3, 3, 3)
    assert_same_function(before, result.graph, {**feeds(), "t": np.array(True)})


@given(case=networks(patterns=STEPS))
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
def test_keeps_the_function(case):
    result = _check(case, PASS)
    assert cost(result.graph).macs <= cost(planish.load(case.model)).macs


def test_a_sum_that_spreads_channels_over_positions_stays():
    weight = normal(4, 2, 1, 1, zero=[3])
    given_model = model_of(
        """g (float[1, 2, 4, 4] x) => (float[1, 2, 1, 4] y) {
            a = Conv(x, w, b)
            pooled = GlobalAveragePool(a)
            flat = Flatten(pooled)
            sum = Add(pooled, flat)
            y = Conv(sum, v)
        }""",
        {"w": weight, "b": normal(4), "v": normal(2, 4, 1, 1)},
    )
    result = run_pass(planish.load(given_model), "remove-constant-channels")
    assert result.edits == 0
    assert "Add mixes its channels with others" in reasons(result)


@pytest.mark.parametrize(
    ("channels", "silent", "left"), [(32, 3, 32), (32, 16, 16), (24, 5, 24), (8, 3, 5)]
)
def test_channels_that_fill_vectors_stay(channels, silent, left):
    w, u = normal(channels, 3, 1, 1), normal(4, channels, 1, 1)
    w[:silent] = 0
    model = model_of(
        "g (float[N, 3, 5, 5] x) => (float[N, 4, 5, 5] y) { c = Conv(x, w) y = Conv(c, u) }",
        {"w": w, "u": u},
    )
    result = run_pass(planish.load(model), PASS)
    assert result.graph.nodes[0].inputs[1].shape[0] == left
    expected = set()
    if left == channels:
        expected = {f"{channels} channels fill vectors, and those left would take as many"}
    assert reasons(result) == expected
