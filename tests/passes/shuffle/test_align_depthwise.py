"""Depthwise convolutions between two others get a multiple of four channels, the same function."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import planish

from tests.effort import examples
from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.shuffle import STEPS

PASS = "align-depthwise"
R = np.random.default_rng(4)


def normal(*shape):
    return R.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(26, 3, 1, 1) / 2, "wb": normal(26), "d": normal(26, 1, 3, 3) / 3, "db": normal(26),
    "v": normal(5, 26, 1, 1) / 5, "vb": normal(5), "w3": normal(26, 3, 3, 3) / 5,
    "slope": normal(26, 1, 1), "half": np.array(0.5, np.float32), "g": normal(4, 13, 1, 1),
    "w28": normal(28, 3, 1, 1), "d28": normal(28, 1, 3, 3), "v28": normal(5, 28, 1, 1),
    "w22": normal(22, 3, 1, 1), "d22": normal(22, 1, 3, 3), "v22": normal(5, 22, 1, 1),
}  # fmt: skip


def _run(body, outputs="float[] y", kind="float[N, 3, 7, 7]", pipeline=PASS):
    import re

    used = set(re.findall(r"\w+", body))
    weights = {name: values for name, values in WEIGHTS.items() if name in used}
    model = model_of(f"g ({kind} x) => ({outputs}) {{ {body} }}", weights)
    result = run_pass(planish.load(model), pipeline)
    for n in (1, 3):
        feeds = {"x": np.random.default_rng(n).standard_normal((n, 3, 7, 7)).astype(np.float32)}
        assert_same_function(model, result.graph, feeds, 1e-6)
    return result


FIRES = {
    "bare": "a = Conv(x, w) b = Conv <group = 26> (a, d) y = Conv(b, v)",
    "biases": "a = Conv(x, w, wb) b = Conv <group = 26> (a, d, db) y = Conv(b, v, vb)",
    "activations": "a = Conv(x, w3, wb) a1 = Sigmoid(a) b = Conv <group = 26, strides = [2, 2], "
    "pads = [1, 1, 1, 1]> (a1, d, db) b1 = Relu(b) b2 = MaxPool <kernel_shape = [2, 2]> (b1) "
    "y = Conv(b2, v, vb)",
    "a scale": "a = Conv(x, w) a1 = Mul(a, half) b = Conv <group = 26> (a1, d) y = Conv(b, v)",
}


@pytest.mark.parametrize("body", FIRES.values(), ids=FIRES)
def test_fires(body):
    result = _run(body)
    assert result.edits == 1
    convolutions = [node for node in result.graph.nodes if node.op == "Conv"]
    assert [n.inputs[1].values.shape[0] for n in convolutions] == [28, 28, 5]
    assert convolutions[1].attrs["group"] == 28
    assert convolutions[2].inputs[1].values.shape[1] == 28


def test_another_multiple():
    result = _run(FIRES["biases"], pipeline=f"{PASS}{{multiple=16,fewest=20}}")
    assert result.graph.nodes[1].attrs["group"] == 32
    assert _run(FIRES["biases"], pipeline=f"{PASS}{{fewest=27}}").edits == 0


def test_no_infinity_meets_a_zero():
    """The infinity of one position stays where it is."""
    model = model_of(
        f"g (float[1, 3, 7, 7] x) => (float[] y) {{ {FIRES['biases']} }}",
        {name: np.abs(WEIGHTS[name]) for name in ("w", "wb", "d", "db", "v", "vb")},
    )
    x = np.ones((1, 3, 7, 7), np.float32)
    x[0, :, 0, 0] = np.inf
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 1
    assert_same_function(model, result.graph, {"x": x}, 1e-6)


STAYS = {
    "aligned already": ("a = Conv(x, w28) b = Conv <group = 28> (a, d28) y = Conv(b, v28)", None),
    "too few": ("a = Conv(x, w22) b = Conv <group = 22> (a, d22) y = Conv(b, v22)", None),
    "a graph output after it": ("a = Conv(x, w) y = Conv <group = 26> (a, d)",
                                "more than one node reads the channels after it"),
    "two readers before it": ("a = Conv(x, w) b = Conv <group = 26> (a, d) b1 = Conv(b, v) "
                              "a1 = Conv(a, v) a2 = Flatten(a1) b2 = Flatten(b1) "
                              "y = Concat <axis = 1> (a2, b2)",
                              "other nodes read the channels before it"),
    "a grouped convolution after it": (
        "a = Conv(x, w) b = Conv <group = 26> (a, d) y = Conv <group = 2> (b, g)",
        "Conv next to it needs its channels as they are"),
    "a slope of its own": (
        "a = Conv(x, w) a1 = PRelu(a, slope) b = Conv <group = 26> (a1, d) y = Conv(b, v)",
        "PRelu next to it is no convolution with one group"),
    "Softmax over channels": (
        "a = Conv(x, w) a1 = Softmax <axis = 1> (a) b = Conv <group = 26> (a1, d) y = Conv(b, v)",
        "Softmax next to it needs its channels as they are"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, reason):
    result = _run(body)
    assert result.edits == 0
    assert reasons(result) == ({reason} if reason else set())


def test_no_pass_takes_the_twins_out_again():
    result = _run(FIRES["activations"])
    again = planish.Pipeline.parse("remove-constant-channels,absorb-channel-shuffle")
    assert again.run(result.graph, verify="off").edits == 0
    assert ops(result.graph).count("Conv") == 3


@given(case=networks(patterns=STEPS))
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
def test_keeps_the_function_of_random_networks(case):
    _check(case, f"fold-constants,{PASS}{{fewest=3}}")


def test_more_twins_than_channels_are_none():
    body = "a = Conv(x, w1) d = Conv <group = 30> (a, wd) y = Conv(d, w2)"
    given_model = model_of(
        f"g (float[N, 3, 7, 7] x) => (float[] y) {{ {body} }}",
        {"w1": normal(30, 3, 1, 1), "wd": normal(30, 1, 3, 3), "w2": normal(5, 30, 1, 1)},
    )
    result = run_pass(planish.load(given_model), "align-depthwise{multiple=64}")
    assert result.edits == 0
