"""Normalization behind a Concat goes into the layers of all branches, or stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import planish

from tests.effort import examples
from tests.helpers import (
    assert_left_alone,
    assert_same_function,
    model_using,
    ops,
    reasons,
    run_pass,
)
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.channels import STEPS

PASS = "split-batchnorm"
GENERATOR = np.random.default_rng(11)


def normal(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(2, 3, 1, 1),
    "wide": normal(3, 3, 3, 3),
    "wt": normal(3, 3, 2, 1),  # a ConvTranspose of one group
    "wg": normal(3, 1, 2, 2),  # and of three
    "bias": normal(2),
    "m3": normal(3, 4),
    "n3": normal(3, 2),
    "r": normal(5, 1, 1),
    "t": normal(1, 5, 1, 1),
    "scalar": normal(),
    "odd": normal(1, 1, 6, 1),
    "row": normal(6),
    **{f"{name}{c}": normal(c) for name in ("s", "b", "m") for c in (5, 6, 8, 10)},
    **{f"v{c}": GENERATOR.uniform(0.05, 2, c).astype(np.float32) for c in (5, 6, 8, 10)},
}


def model(body, kind="float[2, 3, 6, 6]", opset=17, outputs=""):
    return model_using(WEIGHTS, body, f"{kind} x", opset=opset, outputs=outputs)


def feeds(*shape):
    return {"x": np.random.default_rng(3).standard_normal(shape or (2, 3, 6, 6)).astype("f")}


def bn(channels, x="c"):
    names = ", ".join(f"{name}{channels}" for name in "sbmv")
    return f"y = BatchNormalization <epsilon = 0.01> ({x}, {names})"


A = "a = Conv(x, w, bias)"
D = "d = Conv <pads = [1, 1, 1, 1]> (x, wide)"
JOIN = "c = Concat <axis = 1> (a, d)"
FIRES = {
    "two": (f"{A} {D} {JOIN} {bn(5)}", ["Conv", "Conv", "Concat"]),
    "from the end": (f"{A} {D} c = Concat <axis = -3> (a, d) {bn(5)}", ["Conv", "Conv", "Concat"]),
    "nested": (
        f"{A} {D} i = Concat <axis = 1> (d, a) e = Conv <pads = [1, 1, 1, 1]> (x, wide) "
        f"c = Concat <axis = 1> (e, i) {bn(8)}", ["Conv"] * 2 + ["Concat", "Conv", "Concat"]),
    "a chain": (
        f"{A} {D} {JOIN} f = Mul(r, c) g = Sub(t, f) h = Div(g, scalar) {bn(5, 'h')}",
        ["Conv", "Conv", "Concat"]),
    "no normalization": (f"{A} {D} {JOIN} y = Add(c, t)", ["Conv", "Conv", "Concat"]),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), FIRES.values(), ids=FIRES)
@pytest.mark.parametrize("batch", ["2", "N"])
def test_fires(body, expected, batch):
    before = model(body, f"float[{batch}, 3, 6, 6]")
    result = run_pass(planish.load(before), PASS)
    assert sorted(ops(result.graph)) == sorted(expected)
    assert result.edits == 1
    assert [t.name for t in result.graph.outputs] == ["y"]
    assert_same_function(before, result.graph, feeds())


@pytest.mark.parametrize("opset", [7, 11, 22])
def test_transposed_convolutions(opset):
    body = (
        "a = ConvTranspose(x, wt) d = ConvTranspose <group = 3, kernel_shape = [2, 2], "
        f"output_shape = [7, 6]> (x, wg) c = Concat <axis = 1> (a, d) {bn(6)}"
    )
    before = model(body, opset=opset)
    result = run_pass(planish.load(before), PASS)
    assert sorted(ops(result.graph)) == ["Concat", "ConvTranspose", "ConvTranspose"]
    assert_same_function(before, result.graph, feeds())


def test_matrices():
    before = model(
        f"a = MatMul(x, m3) d = Gemm <alpha = 0.5> (x, n3) c = Concat <axis = 1> (a, d) {bn(6)}",
        "float[N, 3]",
    )
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["Gemm", "Gemm", "Concat"]
    assert_same_function(before, result.graph, feeds(4, 3))


def test_products_of_sequences_are_scaled():
    body = "a = MatMul(x, m3) d = MatMul(x, n3) c = Concat <axis = -1> (a, d) "
    before = model(body + "y = Mul(c, row)", "float[N, 5, 3]")
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["MatMul", "MatMul", "Concat"]
    assert_same_function(before, result.graph, feeds(2, 5, 3))
    result = run_pass(planish.load(model(body + "y = Add(c, row)", "float[N, 5, 3]")), PASS)
    assert reasons(result) == {
        "MatMul in a branch of the Concat before it would need an Add for its bias"
    }


def test_one_weight_in_several_branches():
    before = model(
        "n = Neg(x) a = Conv(x, w) d = Conv(n, w) e = Conv(x, w, bias) f = Conv(n, w, bias) "
        f"c = Concat <axis = 1> (a, d, e, f) {bn(8)}"
    )
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph).count("Conv") == 4
    assert "BatchNormalization" not in ops(result.graph)
    assert_same_function(before, result.graph, feeds())


STAYS = {
    "nothing to split": (f"{A} {D} {JOIN} y = Relu(c)", None),
    "rows": (
        f"{A} d = Conv(x, w) c = Concat <axis = 2> (a, d) y = Mul(c, scalar)",
        "the Concat before it does not join channels of Conv"),
    "a constant that is no vector of channels": (
        f"{A} {D} {JOIN} y = Mul(c, odd)",
        "its constant is not one value per channel of the Concat before it"),
    "an activation": (
        f"{A} {D} e = Relu(d) c = Concat <axis = 1> (a, e) {bn(5)}",
        "in a branch of the Concat before it, Relu is not a linear operator to fold into"),
    "the input": (
        f"{A} c = Concat <axis = 1> (x, a) {bn(5)}",
        "a branch of the Concat before it is a graph input"),
    "one branch read elsewhere": (
        f"{A} {D} {JOIN} {bn(5, 'c').replace('y =', 'n =')} e = ReduceSum(d) y = Add(n, e)",
        "a branch of the Concat before it, from Conv, has other readers"),
    "one branch twice": (
        f"{D} c = Concat <axis = 1> (d, d) {bn(6)}",
        "a branch of the Concat before it, from Conv, has other readers"),
    "an inner Concat read elsewhere": (
        f"{A} {D} i = Concat <axis = 1> (a, d) e = Conv(x, w, bias) f = Conv <pads = [1, 1, 1, 1]>"
        f" (x, wide) c = Concat <axis = 1> (e, i, f) {bn(10).replace('y =', 'n =')} "
        "k = ReduceSum(i) y = Add(n, k)",
        "a Concat before it has other readers"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, reason):
    assert_left_alone(model(body), PASS, reason)


def test_a_concat_with_other_readers_stays():
    """As in DenseNet, whose features every later layer reads."""
    before = model(f"{A} {D} {JOIN} {bn(5)}", outputs="float[] c, ")
    assert run_pass(planish.load(before), PASS).edits == 0


def test_a_branch_that_is_an_output_stays():
    before = model(f"{A} {D} {JOIN} {bn(5)}", outputs="float[] a, ")
    result = run_pass(planish.load(before), PASS)
    assert reasons(result) == {"a branch of the Concat before it, from Conv, has other readers"}


@given(case=networks(patterns=STEPS))
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
def test_keeps_the_function(case):
    assert _check(case, PASS) is not None
