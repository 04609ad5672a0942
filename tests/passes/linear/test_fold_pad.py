"""Explicit pads go into the windows that read them; those that change a result stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import planish

from tests.effort import examples
from tests.helpers import (
    assert_left_alone,
    assert_same_function,
    model_of,
    model_using,
    ops,
    reasons,
    run_ort,
    run_pass,
)
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.channels import STEPS

PASS = "fold-pad"
RNG = np.random.default_rng(7)
INF = np.float32(-np.inf)


def i64(*values):
    return np.array(values, np.int64)


WEIGHTS = {
    "w": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "dense": RNG.standard_normal((5, 3, 2, 3)).astype(np.float32),
    "deep": RNG.standard_normal((2, 4, 2, 2)).astype(np.float32),
    "b": RNG.standard_normal(4).astype(np.float32),
    "p": i64(0, 0, 1, 2, 0, 0, 0, 1),
    "p2": i64(0, 0, 0, 1, 0, 0, 1, 0),
    "pc": i64(0, 1, 1, 2, 0, 0, 0, 1),
    "crop": i64(0, 0, -1, 0, 0, 0, 0, 0),
    "hw": i64(2, -1),
    "wh": i64(3, 2),
    "p4": i64(1, 2, 0, 1),
    "z": np.float32(0),
    "one": np.float32(1),
    "ninf": INF,
    "minus": np.float32(-0.25),
    "low": np.float32(np.finfo(np.float32).min),
    "zz": np.zeros(1, np.float32),
}


def model(body, kind="float[2, 3, 7, 8]", opset=18, extra=""):
    return model_using(WEIGHTS, body, f"{kind} x{extra}", opset=opset)


def feeds():
    return {"x": np.random.default_rng(3).standard_normal((2, 3, 7, 8)).astype(np.float32)}


AVERAGE = "AveragePool <kernel_shape = [3, 4], strides = [2, 1]"
MAX = "MaxPool <kernel_shape = [3, 4], strides = [2, 1]"
FIRES = {
    "Conv": ("a = Pad(x, p) y = Conv(a, w, b)", {"pads": [1, 2, 0, 1]}),
    "Conv with pads of its own": (
        "a = Pad(x, p) y = Conv <pads = [0, 1, 2, 0], strides = [2, 1]> (a, w)",
        {"pads": [1, 3, 2, 1]}),
    "Conv, VALID": ("a = Pad(x, p, z) y = Conv <auto_pad = \"VALID\"> (a, w)",
                    {"pads": [1, 2, 0, 1]}),
    "Conv, SAME_LOWER": (
        "a = Pad(x, p, zz) y = Conv <auto_pad = \"SAME_LOWER\", strides = [2, 2]> (a, w)",
        {"pads": [2, 3, 0, 2]}),
    "Conv, dilated": ("a = Pad(x, p) y = Conv <dilations = [2, 2]> (a, w)",
                      {"pads": [1, 2, 0, 1]}),
    "only some axes": ("a = Pad(x, p4, , hw) y = Conv(a, w)", {"pads": [1, 2, 0, 1]}),
    "axes in another order": ("a = Pad(x, p4, z, wh) y = Conv(a, w)", {"pads": [2, 1, 1, 0]}),
    "AveragePool": (f"a = Pad(x, p) y = {AVERAGE}> (a)",
                    {"pads": [1, 2, 0, 1], "count_include_pad": 1}),
    "AveragePool that counts its pads": (
        f"a = Pad(x, p) y = {AVERAGE}, pads = [1, 0, 1, 2], count_include_pad = 1> (a)",
        {"pads": [2, 2, 1, 3], "count_include_pad": 1}),
    "MaxPool of -inf": (f"a = Pad(x, p, ninf) y = {MAX}> (a)", {"pads": [1, 2, 0, 1]}),
    "MaxPool after Relu": (f"r = Relu(x) a = Pad(r, p) y = {MAX}, pads = [1, 0, 0, 0]> (a)",
                           {"pads": [2, 2, 0, 1]}),
    "MaxPool far after Sigmoid": (
        f"s = Sigmoid(x) r = Add(s, s) v = MaxPool <kernel_shape = [1, 1]> (r) a = Pad(v, p) "
        f"y = {MAX}> (a)", {"pads": [1, 2, 0, 1]}),
    "MaxPool of the lowest number": (
        f"r = Relu(x) a = Pad(r, p, low) y = {MAX}> (a)", {"pads": [1, 2, 0, 1]}),
    "MaxPool of no more than the least": (
        f"r = Clip(x, minus, one) a = Pad(r, p, minus) y = {MAX}> (a)", {"pads": [1, 2, 0, 1]}),
    "MaxPool of less than the least": (
        f"r = Tanh(x) a = Pad(r, p, low) y = {MAX}> (a)", {"pads": [1, 2, 0, 1]}),
    "MaxPool after Clip": (f"r = Clip(x, z, one) a = Pad(r, p) y = {MAX}> (a)",
                           {"pads": [1, 2, 0, 1]}),
}  # fmt: skip


@pytest.mark.parametrize(("body", "attrs"), FIRES.values(), ids=FIRES)
@pytest.mark.parametrize("batch", ["2", "N"])
def test_fires(body, attrs, batch):
    before = model(body, f"float[{batch}, 3, 7, 8]")
    result = run_pass(planish.load(before), PASS)
    assert "Pad" not in ops(result.graph)
    assert result.edits == 1
    found = result.graph.nodes[-1].attrs
    assert {key: found[key] for key in attrs} == attrs
    assert "auto_pad" not in found
    assert_same_function(before, result.graph, feeds())


def test_dynamic_size():
    before = model("a = Pad(x, p) y = Conv(a, w, b)", "float[N, 3, H, W]")
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["Conv"]
    assert_same_function(before, result.graph, feeds())


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "folds"),
    [
        (3, 1, (1, 0), True),
        (3, 1, (1, 1), False),
        (5, 2, (0, 1), True),
        (5, 2, (1, 1), False),
        (3, 3, (1, 0), False),
        (7, 3, (0, 1), True),
    ],
)
def test_a_pool_of_no_rows_is_refused_before_and_after(op, kernel, stride, pads, folds):
    """Where stride and pads let it have windows, of pads alone, the Pad stays."""
    steps = f"kernel_shape = [{kernel}, 2], strides = [{stride}, 2]"
    body = f"r = Relu(x) a = Pad(r, p) y = {op} <{steps}> (a)"
    before = model_of(
        f"g (float[1, 1, H, W] x) => (float[] y) {{ {body} }}",
        {"p": i64(0, 0, pads[0], 0, 0, 0, pads[1], 0)},
    )
    result = run_pass(planish.load(before), PASS)
    assert ("Pad" not in ops(result.graph)) == folds
    if not folds:
        assert reasons(result) == {f"a window of {op} may read nothing but padding"}
    for size in ((0, 4), (7, 0), (7, 4)):
        feed = {"x": np.ones((1, 1, *size), np.float32)}
        try:
            expected = run_ort(before, feed)["y"]
        except Exception:
            assert 0 in size
            continue
        after = planish.to_model(result.graph)
        np.testing.assert_array_equal(run_ort(after, feed)["y"], expected)


def test_every_reader_takes_it_in():
    before = model_of(
        "g (float[2, 3, 7, 8] x) => (float[] y, float[] v) {"
        " a = Pad(x, p) y = Conv(a, w) m = AveragePool <kernel_shape = [3, 3]> (a) v = Neg(m) }",
        {"p": WEIGHTS["p"], "w": WEIGHTS["w"]},
    )
    result = run_pass(planish.load(before), PASS)
    assert sorted(ops(result.graph)) == ["AveragePool", "Conv", "Neg"]
    assert result.edits == 1
    assert_same_function(before, result.graph, feeds())


def test_pads_merge_and_go_on():
    before = model("a = Pad(x, p) c = Pad(a, p4, z, hw) d = Pad(c, p2) y = Conv(d, w)")
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["Conv"]
    assert result.graph.nodes[0].attrs["pads"] == [2, 5, 1, 2]
    assert_same_function(before, result.graph, feeds())


@pytest.mark.parametrize("fill", ["zz", "one"])
def test_pads_of_any_axis_merge(fill):
    before = model(f"a = Pad(x, pc, {fill}) c = Pad(a, p, {fill}) y = Neg(c)")
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["Pad", "Neg"]
    assert_same_function(before, result.graph, feeds())


@pytest.mark.parametrize("opset", [7, 10])
def test_pads_as_attributes(opset):
    before = model(
        'a = Pad <mode = "constant", pads = [0, 0, 1, 2, 0, 0, 0, 1]> (x) '
        "c = Pad <pads = [0, 0, 0, 1, 0, 0, 1, 0], value = 0.0> (a) y = Conv(c, w)",
        opset=opset,
    )
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["Conv"]
    assert result.graph.nodes[0].attrs["pads"] == [1, 3, 1, 1]
    assert_same_function(before, result.graph, feeds())


def test_pads_as_attributes_merge():
    before = model(
        "a = Pad <pads = [0, 1, 1, 2, 0, 0, 0, 1], value = 2.0> (x) "
        "y = Pad <pads = [1, 0, 0, 1, 0, 0, 1, 0], value = 2.0> (a)",
        opset=10,
    )
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["Pad"]
    assert_same_function(before, result.graph, feeds())


STAYS = {
    "no window": ("a = Pad(x, p) y = Neg(a)", None),
    "another value": ("a = Pad(x, p, one) y = Conv(a, w)", "it pads with 1, and Conv with 0"),
    "-inf into a mean": (
        f"a = Pad(x, p, ninf) y = {AVERAGE}> (a)", "it pads with -inf, and AveragePool with 0"),
    "zeros under negative values": (
        f"a = Pad(x, p) y = {MAX}> (a)", "it pads MaxPool with 0 and its input may be negative"),
    "zeros under a Clip from below zero": (
        f"r = Clip(x, ninf) a = Pad(r, p) y = {MAX}> (a)",
        "it pads MaxPool with 0 and its input may be negative"),
    "the lowest number": (
        f"a = Pad(x, p, low) y = {MAX}> (a)",
        "it pads MaxPool with -3.40282e+38 and its input may be less"),
    "more than zero after a Relu": (
        f"r = Relu(x) a = Pad(r, p, one) y = {MAX}> (a)",
        "it pads MaxPool with 1 and its input may be less"),
    "more than the least": (
        f"r = Clip(x, minus, one) a = Pad(r, p, one) y = {MAX}> (a)",
        "it pads MaxPool with 1 and its input may be less"),
    "channels": ("a = Pad(x, pc) y = Conv(a, deep)", "it pads batch or channels"),
    "a crop": ("a = Pad(x, crop) y = Conv(a, w)", "a pad is negative, so it takes elements away"),
    "reflection": ("a = Pad <mode = \"reflect\"> (x, p) y = Conv(a, w)", "its mode is reflect"),
    "another reader": ("a = Pad(x, p) c = Conv(a, w) s = ReduceSum(a) y = Add(c, s)",
                       "its result is also read by ReduceSum"),
    "AveragePool that leaves its pads out": (
        f"a = Pad(x, p) y = {AVERAGE}, pads = [1, 0, 0, 0]> (a)",
        "AveragePool leaves its own padding out"),
    "ceil_mode": (f"a = Pad(x, p) y = {AVERAGE}, ceil_mode = 1> (a)",
                  "AveragePool rounds its size up (ceil_mode)"),
    "a window of padding alone": (
        "a = Pad(x, p) y = AveragePool <kernel_shape = [2, 2]> (a)",
        "a window of AveragePool would read nothing but padding"),
    "dilation": (
        "r = Relu(x) a = Pad(r, p) y = MaxPool <kernel_shape = [3, 3], dilations = [2, 2]> (a)",
        "MaxPool is dilated and may skip the input"),
    "indices": (
        f"r = Relu(x) a = Pad(r, p) m, i = {MAX}> (a) f = Cast <to = 1> (i) y = Add(m, f)",
        "the indices of MaxPool count the padding"),
    "two values": ("a = Pad(x, p) c = Pad(a, p, one) y = Neg(c)",
                   "the Pad after it pads with another value"),
    "a crop after it": ("a = Pad(x, p) c = Pad(a, crop) y = Neg(c)",
                        "the Pad after it takes elements away"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, reason):
    assert_left_alone(model(body), PASS, reason)


@pytest.mark.parametrize(("low", "expected"), [(0.0, ["Clip", "MaxPool"]), (-1.0, None)])
def test_clip_with_attributes(low, expected):
    before = model(
        f"r = Clip <min = {low}, max = 3.0> (x) a = Pad <pads = [0, 0, 1, 2, 0, 0, 0, 1]> (r) "
        f"y = {MAX}> (a)",
        opset=10,
    )
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == (expected or ["Clip", "Pad", "MaxPool"])
    assert_same_function(before, result.graph, feeds())


def test_indices_that_are_an_output_count_the_pads():
    before = model_of(
        "g (float[2, 3, 7, 8] x) => (float[] y, int64[] i) {"
        f" r = Relu(x) a = Pad(r, p) y, i = {MAX}> (a) }}",
        {"p": WEIGHTS["p"]},
    )
    assert_left_alone(before, PASS, "the indices of MaxPool count the padding")


@pytest.mark.parametrize("operands", ["x, a", "a, a"])
def test_a_padded_weight_stays(operands):
    before = model_of(
        f"g (float[3, 3, 4, 4] x) => (float[] y) {{ a = Pad(x, q) y = Conv({operands}) }}",
        {"q": i64(0, 0, 1, 0, 0, 0, -1, 0)},
    )
    reason = "its result is an operand of Conv other than the first"
    assert_left_alone(before, PASS, reason)


@pytest.mark.parametrize(
    ("fill", "signed", "left"),
    [("nz", True, ["Pad", "Conv"]), ("nz", False, ["Conv"]), ("z", True, ["Conv"])],
)
def test_a_zero_below_zero_stays_where_signs_count(fill, signed, left):
    weights = {**WEIGHTS, "nz": np.float32(-0.0)}
    before = model_using(weights, f"a = Pad(x, p, {fill}) y = Conv(a, w)", "float[2, 3, 7, 8] x")
    result = planish.Pipeline.parse(PASS).run(planish.load(before), signed_zeros=signed)
    assert ops(result.graph) == left
    reason = {"it pads with -0.0, and windows with 0.0"} if len(left) > 1 else set()
    assert reasons(result) == reason


def test_what_a_branch_reads_of_the_graph_around_it_stays():
    before = model_of(
        """g (float[2, 3, 7, 8] x, bool t) => (float[] y) { a = Pad(x, p)
            y = If (t) <then_branch = f () => (float[] u) { u = Conv(a, w) },
                        else_branch = h () => (float[] v) { v = Neg(x) }> }""",
        {"p": WEIGHTS["p"], "w": WEIGHTS["w"]},
    )
    result = run_pass(planish.load(before), PASS)
    assert result.edits == 0
    assert reasons(result) == {"its result is also read inside a subgraph"}


@pytest.mark.parametrize(
    ("body", "opset", "reason"),
    [
        ("a = Pad(x, p) y = Conv(a, line)", 18, "its pads do not fit the rank of the window"),
        (
            f"a = Pad <pads = [0, 0, 1, 2, 0, 0, 0, 1]> (x) y = {AVERAGE}> (a)",
            6,
            "AveragePool counts no padding before opset 7",
        ),
    ],
)
def test_what_no_runtime_takes_stays(body, opset, reason):
    weights = {**WEIGHTS, "line": np.ones((4, 3, 3), np.float32)}
    graph = planish.load(model_using(weights, body, "float[2, 3, 7, 8] x", opset=opset))
    result = run_pass(graph, PASS, verify="off")
    assert result.edits == 0
    assert reasons(result) == {reason}


def test_graph_output_stays():
    before = model_of(
        "g (float[2, 3, 7, 8] x) => (float[] a, float[] y) { a = Pad(x, p) y = Conv(a, w) }",
        {"p": WEIGHTS["p"], "w": WEIGHTS["w"]},
    )
    assert reasons(run_pass(planish.load(before), PASS)) == {"its result is a graph output"}


def test_pads_that_a_caller_gives():
    before = model("a = Pad(x, q) y = Conv(a, w)", extra=", int64[8] q")
    result = run_pass(planish.load(before), PASS)
    assert reasons(result) == {"its pads are not constant"}


def test_inside_a_branch():
    before = model_of(
        """g (float[2, 3, 7, 8] x, bool t) => (float[] y) {
            y = If (t) <then_branch = f () => (float[] u) { a = Pad(x, p) u = Conv(a, w) },
                        else_branch = h () => (float[] v) { v = Neg(x) }> }""",
        {"p": WEIGHTS["p"], "w": WEIGHTS["w"]},
    )
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph.nodes[0].attrs["then_branch"]) == ["Conv"]
    assert_same_function(before, result.graph, {**feeds(), "t": np.array(True)})


@given(case=networks(patterns=STEPS))
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
def test_keeps_the_function(case):
    assert _check(case, PASS) is not None
