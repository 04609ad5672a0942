"""A normalization that is left becomes a depthwise convolution between others, a Mul or an Add."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import planish

from tests.effort import examples
from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.channels import STEPS

PASS = "lower-batchnorm"
MUL_ADD = f"{PASS}{{form=mul-add}}"
STAYS = "nothing takes it in, and as one operator it is faster than as two"


def statistics(channels=6, dtype=np.float32):
    generator = np.random.default_rng(channels)
    made = {
        "s": generator.standard_normal(channels),
        "b": generator.standard_normal(channels),
        "m": generator.standard_normal(channels),
        "v": generator.uniform(0.05, 2, channels),
        "w": generator.standard_normal((channels, 6, 1, 1)),
    }
    return {key: values.astype(dtype) for key, values in made.items()}


def model(body, kind="float[2, 6, 5, 4]", opset=17, weights=None):
    weights = weights or statistics()
    used = {key: weights[key] for key in weights if key in re.findall(r"\w+", body)}
    element = kind.partition("[")[0]
    return model_of(
        f'<ir_version: 9, opset_import: ["" : {opset}]>\n'
        f"g ({kind} x) => ({element}[] y) {{ {body} }}",
        used,
    )


def feeds(*shape, dtype=np.float32):
    return {"x": np.random.default_rng(3).standard_normal(shape).astype(dtype)}


NORM = "BatchNormalization <epsilon = 0.01> "
BARE = f"a = Relu(x) y = {NORM}(a, s, b, m, v)"
BETWEEN = f"c = Conv(x, w) a = Relu(c) n = {NORM}(a, s, b, m, v) r = Relu(n) y = Add(r, c)"


@pytest.mark.parametrize("opset", [7, 9, 15, 22])
@pytest.mark.parametrize("kind", ["float[2, 6, 5, 4]", "float[N, 6, H, W]"])
def test_mul_and_add(kind, opset):
    before = model(BARE, kind, opset)
    result = run_pass(planish.load(before), MUL_ADD)
    assert ops(result.graph) == ["Relu", "Mul", "Add"]
    assert_same_function(before, result.graph, feeds(2, 6, 5, 4))


@pytest.mark.parametrize("shape", [(4, 6), (2, 6, 5), (2, 6, 3, 2, 4)])
def test_every_rank(shape):
    before = model(BARE, f"float{list(shape)}")
    result = run_pass(planish.load(before), MUL_ADD)
    assert ops(result.graph) == ["Relu", "Mul", "Add"]
    assert_same_function(before, result.graph, feeds(*shape))


@pytest.mark.parametrize("kind", ["float[2, 6, 5, 4]", "float[N, 6, H, W]", "float[4, 6]"])
def test_stays_where_it_is_faster(kind):
    result = run_pass(planish.load(model(BARE, kind)), PASS)
    assert result.edits == 0
    assert reasons(result) == {STAYS}


@pytest.mark.parametrize(
    "body",
    [
        BETWEEN,
        f"c = Conv(x, w) p = MaxPool <kernel_shape = [2, 2]> (c) y = {NORM}(p, s, b, m, v)",
        f"c = Conv(x, w) i = Add(x, c) y = {NORM}(i, s, b, m, v)",
    ],
)
def test_depthwise_between_convolutions(body):
    before = model(body)
    result = run_pass(planish.load(before), PASS)
    assert "BatchNormalization" not in ops(result.graph)
    assert "Mul" not in ops(result.graph)
    depthwise = [node for node in result.graph.nodes if node.attrs.get("group", 1) == 6]
    assert len(depthwise) == 1
    assert_same_function(before, result.graph, feeds(2, 6, 5, 4))


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("e = Softplus(d) f = Tanh(e) a = Mul(d, f)", False),  # Mish
        ("e = Sigmoid(d) a = Mul(d, e)", True),
        ("e = HardSigmoid(d) a = Mul(d, e)", False),
        ("e = Exp(d) a = Mul(d, e)", False),
    ],
)
def test_a_function_is_between_convolutions_as_what_it_is_written_as(activation, expected):
    """A second run, on a file in which it is written out, edits nothing."""
    before = model(f"c = Conv(x, w) d = Add(c, c) {activation} y = {NORM}(a, s, b, m, v)")
    once = planish.Pipeline.parse("exact").run(planish.load(before), verify="off").graph
    assert ("BatchNormalization" not in ops(once)) is expected
    written = planish.load(planish.to_model(once, portable=True))
    assert planish.Pipeline.parse("exact").run(written, verify="off").edits == 0


def test_the_form_can_be_asked_for():
    graph = planish.load(model(BETWEEN))
    form = run_pass(graph, MUL_ADD).graph
    assert ops(form) == ["Conv", "Relu", "Mul", "Add", "Relu", "Add"]
    before = model(BARE)
    form = run_pass(planish.load(before), f"{PASS}{{form=depthwise}}").graph
    assert ops(form) == ["Relu", "Conv"]
    assert_same_function(before, form, feeds(2, 6, 5, 4))


def test_scale_or_shift_alone():
    one = {"s": np.full(6, 0.5), "b": np.ones(6), "m": np.zeros(6), "v": np.full(6, 0.25)}
    weights = {key: values.astype(np.float32) for key, values in one.items()}
    before = model(BARE.replace("0.01", "0.0"), weights=weights)  # half over half
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["Relu", "Add"]
    assert_same_function(before, result.graph, feeds(2, 6, 5, 4))
    weights = {**statistics(), "b": np.zeros(6, np.float32), "m": np.zeros(6, np.float32)}
    before = model(BARE, weights=weights)
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["Relu", "Mul"]
    assert_same_function(before, result.graph, feeds(2, 6, 5, 4))


def test_double():
    before = model(BARE, "double[2, 6, 5, 4]", weights=statistics(dtype=np.float64))
    result = run_pass(planish.load(before), MUL_ADD)
    assert ops(result.graph) == ["Relu", "Mul", "Add"]
    assert_same_function(before, result.graph, feeds(2, 6, 5, 4, dtype=np.float64), 1e-12)


@pytest.mark.parametrize(
    ("change", "body", "reason"),
    [
        ({"v": np.full(6, -0.01, np.float32)}, BARE,
         "its scale is not finite (variance + epsilon near zero?)"),
        ({}, BARE.replace("<epsilon", "<training_mode = 1, epsilon"), "it is in training mode"),
        ({}, "k = Abs(s) " + BARE.replace("(a, s,", "(a, k,"), "its scale is not constant"),
    ],
)  # fmt: skip
def test_leaves_alone(change, body, reason):
    before = model(body, weights={**statistics(), **change})
    result = run_pass(planish.load(before), PASS, verify="off")
    assert result.edits == 0
    assert reasons(result) == {reason}


def test_unknown_rank_stays():
    before = model(f"a = Reshape(x, t) y = {NORM}(a, s, b, m, v)")
    before.graph.input.append(
        model_of("g (int64[K] t) => (int64[K] u) { u = Neg(t) }").graph.input[0]
    )
    result = run_pass(planish.load(before), PASS)
    assert reasons(result) == {"the rank of its input is unknown"}


def test_half_precision_with_a_large_mean_stays():
    """In 16 bits s * x and t would cancel to nothing."""
    far = {**statistics(dtype=np.float16), "m": np.full(6, 300, np.float16)}
    result = run_pass(planish.load(model(BARE, "float16[2, 6, 5, 4]", weights=far)), PASS,
                      verify="off")  # fmt: skip
    assert reasons(result) == {
        "its shift is so large beside what it gives that rounding would show"
    }


@given(case=networks(patterns=STEPS))
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
def test_keeps_the_function(case):
    _check(case, PASS)
    result = _check(case, MUL_ADD)
    assert all(node.op != "BatchNormalization" for node in result.graph.nodes)


def test_an_activation_that_a_convolution_takes_in_is_seen_before_and_after():
    """Fusing it later must not be what makes a second run lower the normalization."""
    body = f"c = Conv(x, w) a = LeakyRelu(c) n = {NORM}(a, s, b, m, v) y = Softsign(n)"
    before = model(body, weights={**statistics(), "w": np.ones((6, 6, 1, 1), np.float32)})
    steps = planish.Pipeline.parse(f"{PASS},fuse-conv-activation")
    first = steps.run(planish.load(before), verify="off")
    assert ops(first.graph) == ["ConvLeakyRelu", "Conv", "Softsign"]
    assert steps.run(first.graph, verify="off").edits == 0


@pytest.mark.parametrize(
    "body",
    [
        f"c = Conv(x, w) p = Softsign(x) a = Add(c, p) n = {NORM}(a, s, b, m, v) y = Softsign(n)",
        f"c = Conv(x, w) a = Add(c, x) l = LeakyRelu(a) n = {NORM}(l, s, b, m, v) y = Softsign(n)",
        f"c = Conv(x, w) a = Add(c, x) l = Relu(a) n = {NORM}(l, s, b, m, v) y = Softsign(n)",
        f"c = Conv(x, w) p = GlobalAveragePool(c) n = {NORM}(p, s, b, m, v) y = Softsign(n)",
        f"c = Conv(x, w) p = MaxPool<kernel_shape = [1, 1]>(c) n = {NORM}(p, s, b, m, v) "
        "y = Softsign(n)",
    ],
)
def test_what_is_fused_in_front_of_it_is_judged_as_what_it_was_fused_from(body):
    before = model(body, weights={**statistics(), "w": np.ones((6, 6, 1, 1), np.float32)})
    steps = planish.Pipeline.parse(f"{PASS},fuse-conv-activation,fuse-conv-pool")
    first = steps.run(planish.load(before), verify="off")
    assert len(ops(first.graph)) < 5
    assert steps.run(first.graph, verify="off").edits == 0
