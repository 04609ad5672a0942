"""Means go before 1x1 convolutions where that costs less, and no others do."""

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
    model_using,
    ops,
    reasons,
    run_pass,
)
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.channels import STEPS

PASS = "pool-before-pointwise"
GENERATOR = np.random.default_rng(5)
WEIGHTS = {
    "w": GENERATOR.standard_normal((4, 6, 1, 1)).astype(np.float32),
    "narrow": GENERATOR.standard_normal((1, 6, 1, 1)).astype(np.float32),
    "square": GENERATOR.standard_normal((4, 4, 1, 1)).astype(np.float32),
    "grouped": GENERATOR.standard_normal((4, 3, 1, 1)).astype(np.float32),
    "wide": GENERATOR.standard_normal((4, 6, 3, 3)).astype(np.float32),
    "b": GENERATOR.standard_normal(4).astype(np.float32),
    "hw": np.array([2, -1]),
    "h": np.array([2]),
}


def model(body, kind="float[2, 6, 8, 6]", opset=18, outputs=""):
    return model_using(WEIGHTS, body, f"{kind} x", opset=opset, outputs=outputs)


def feeds():
    return {"x": np.random.default_rng(3).standard_normal((2, 6, 8, 6)).astype(np.float32)}


POOL = "AveragePool <kernel_shape = [2, 2], strides = [2, 2]"
CONV = "c = Conv(x, w, b)"
FIRES = {
    "AveragePool": (f"{CONV} y = {POOL}> (c)", 18),
    "without bias": (f"c = Conv(x, w) y = {POOL}> (c)", 18),
    "grouped": (f"c = Conv <group = 2> (x, grouped, b) y = {POOL}> (c)", 18),
    "explicit attributes": (
        "c = Conv <kernel_shape = [1, 1], pads = [0, 0, 0, 0], strides = [1, 1], auto_pad = "
        f"\"NOTSET\"> (x, w, b) y = {POOL}> (c)", 18),
    "pads that do not count": (f"{CONV} y = {POOL}, pads = [1, 0, 1, 0]> (c)", 18),
    "pads that count, without bias": (
        f"c = Conv(x, w) y = {POOL}, pads = [1, 0, 1, 0], count_include_pad = 1> (c)", 18),
    "ceil_mode": (
        f"{CONV} y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (c)", 18),
    "GlobalAveragePool": (f"{CONV} y = GlobalAveragePool(c)", 18),
    "ReduceMean": (f"{CONV} y = ReduceMean(c, hw)", 18),
    "ReduceMean with an attribute": (f"{CONV} y = ReduceMean <axes = [2, 3]> (c)", 13),
    "AveragePool of old": (f"{CONV} y = {POOL}> (c)", 7),
}  # fmt: skip


@pytest.mark.parametrize(("body", "opset"), FIRES.values(), ids=FIRES)
@pytest.mark.parametrize("batch", ["2", "N"])
def test_fires(body, opset, batch):
    before = model(body, f"float[{batch}, 6, 8, 6]", opset)
    graph = planish.load(before)
    result = run_pass(graph, PASS)
    assert ops(result.graph) == ops(graph)[::-1]
    assert result.edits == 1
    old, new = cost(graph), cost(result.graph)
    assert new.macs < old.macs
    assert new.bytes_moved <= old.bytes_moved
    assert_same_function(before, result.graph, feeds())


def test_a_weight_that_is_no_constant():
    before = model(f"k = Abs(w) c = Conv(x, k, b) y = {POOL}> (c)")
    result = run_pass(planish.load(before), PASS)
    assert sorted(ops(result.graph)) == ["Abs", "AveragePool", "Conv"]
    assert result.edits == 1
    assert_same_function(before, result.graph, feeds())


def test_dynamic_size():
    before = model(f"{CONV} y = {POOL}> (c)", "float[N, 6, H, W]")
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["AveragePool", "Conv"]
    assert_same_function(before, result.graph, feeds())


def test_through_two_convolutions():
    before = model(f"{CONV} d = Conv(c, square) y = {POOL}> (d)")
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["AveragePool", "Conv", "Conv"]
    assert result.edits == 2
    assert_same_function(before, result.graph, feeds())


STAYS = {
    "a wider kernel": (f"c = Conv(x, wide, b) y = {POOL}> (c)", None),
    "a strided convolution": (f"c = Conv <strides = [2, 2]> (x, w, b) y = {POOL}> (c)", None),
    "a padded convolution": (f"c = Conv <pads = [1, 0, 0, 0]> (x, w, b) y = {POOL}> (c)", None),
    "no convolution": (f"c = Relu(x) y = {POOL}> (c)", None),
    "a maximum": ("c = Conv(x, w, b) y = MaxPool <kernel_shape = [2, 2]> (c)", None),
    "a stride of one": (
        "c = Conv(x, w, b) y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (c)", None),
    "one axis": (f"{CONV} y = ReduceMean(c, h)", None),
    "without the axes": (f"{CONV} y = ReduceMean <keepdims = 0> (c, hw)", None),
    "other readers": (f"{CONV} p = {POOL}> (c) s = ReduceMax(c) y = Add(p, s)",
                      "the result of Conv has other readers"),
    "a bias under counted pads": (
        f"{CONV} y = {POOL}, pads = [1, 0, 1, 0], count_include_pad = 1> (c)",
        "padding counts in the mean, and Conv has a bias"),
    "many channels before": (
        f"c = Conv(x, narrow) y = {POOL}> (c)",
        "pooling all channels before Conv would move more than its result"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, reason):
    assert_left_alone(model(body), PASS, reason)


def test_unknown_sizes_stay():
    result = run_pass(
        planish.load(model(f"{CONV} y = GlobalAveragePool(c)", "float[N, 6, H, W]")), PASS
    )
    assert reasons(result) == {"how much the pool leaves is not known"}


WIDE = "AveragePool <kernel_shape = [3, 3], strides = [2, 2]"
UNKNOWN = "how much the pool leaves is not known"
KNOWN = "float[2, 6, 8, 6] x"
OPEN = "float[N, 6, H, W] x"


@pytest.mark.parametrize(
    ("body", "inputs", "reason"),
    [
        (f"{CONV} y = {WIDE}, pads = [1, 1, 1, 1]> (c)", OPEN, None),
        (f"{CONV} y = {WIDE}, pads = [1, 2, 1, 1]> (c)", OPEN, UNKNOWN),
        (
            f"c = Conv(x, narrow) y = {POOL}> (c)",
            OPEN,
            "pooling all channels before Conv would move more than its result",
        ),
        (f"c = Conv(x, even) y = {POOL}> (c)", "float[N, 4, H, W] x", None),  # a quarter of four
        (
            f"c = Conv <group = 2> (x, pairs) y = {POOL}> (c)",
            "float[2, 10, 8, 6] x",
            "pooling all channels before Conv would move more than its result",
        ),
        (
            f"{CONV} y = AveragePool <kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1> (c)",
            KNOWN,
            "a window may hold no element",
        ),
        (
            f"{CONV} y = AveragePool <kernel_shape = [8, 6]> (c)",
            OPEN,
            "the pool may leave nothing, which Conv refuses",
        ),
        (f"{CONV} y = AveragePool <kernel_shape = [2, 1], strides = [2, 1]> (c)", KNOWN, None),
        (f"{CONV} y = ReduceMean(c, hw)", OPEN, UNKNOWN),
        (f"{CONV} y = GlobalAveragePool(c)", "float[N, 6, H, 8] x", UNKNOWN),
        (f"{CONV} y = GlobalAveragePool(c)", "float[N, 6, 0, 8] x", UNKNOWN),
        (
            f"c = Conv(x, v) y = {POOL}> (c)",
            f"{KNOWN}, float[M, 6, 1, 1] v",
            "the weight is not static",
        ),
    ],
)
def test_what_sizes_decide(body, inputs, reason):
    weights = {
        **WEIGHTS,
        "even": np.ones((1, 4, 1, 1), np.float32),
        "pairs": np.ones((2, 5, 1, 1), np.float32),
    }
    result = run_pass(planish.load(model_using(weights, body, inputs)), PASS)
    assert result.edits == (reason is None)
    assert reasons(result) == ({reason} if reason else set())


def test_what_lies_between_has_a_type():
    pooled = (
        run_pass(planish.load(model(f"{CONV} y = {POOL}> (c)")), PASS).graph.nodes[0].outputs[0]
    )
    assert (pooled.dtype, list(pooled.shape)) == (np.float32, [2, 6, 4, 3])


def test_a_result_that_is_an_output_stays():
    before = model(f"{CONV} y = {POOL}> (c)", outputs="float[] c, ")
    result = run_pass(planish.load(before), PASS)
    assert reasons(result) == {"the result of Conv has other readers"}


@given(case=networks(patterns=STEPS))
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
def test_keeps_the_function(case):
    result = _check(case, PASS)
    assert cost(result.graph).macs <= cost(planish.load(case.model)).macs


def test_a_convolution_of_no_channels_stays_first():
    """ONNX Runtime computes it, and pools no tensor without elements."""
    more = {"empty": np.zeros((4, 0, 1, 1), np.float32)}
    before = model_using(
        WEIGHTS | more, f"c = Conv(x, empty, b) y = {POOL}> (c)", "float[2, 0, 8, 6] x", opset=18
    )
    assert_left_alone(before, PASS, "it reads no channels, which a pool refuses")
