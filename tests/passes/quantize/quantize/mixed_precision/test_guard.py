"""The guard: what nobody put a bound on stays within a tenth of the metric, or is said."""

import re

import numpy as np
import pytest

import planish
from planish.ir.metrics.choose import MetricOptions, choose_metrics, guarding, see_outputs
from planish.ir.metrics.reading import read_outputs
from planish.ir.metrics.result import MetricResult
from planish.ir.run.reference import Reference
from planish.passes.quantize.quantize.mixed_precision.bounds import (
    GUARD,
    Accuracy,
    AccuracyBounds,
)

from tests.helpers import graph_of, ops, reasons
from tests.passes.quantize.quantize.mixed_precision.test_bounds import (
    FEEDS,
    FRAGILE,
    LAYERS,
    floats_of,
    network,
    normal,
    remarks,
    sqnr,
)

R = np.random.default_rng(11)


def quantized(graph, options="", feeds=FEEDS):
    text = f"quantize{{measure=false{options}}}"
    return planish.Pipeline.parse(text).run(graph, feeds, verify="off")


def test_only_what_takes_the_metric_below_90_percent_goes_back_to_float():
    graph = network()
    bare = quantized(graph, ",guard=off")
    assert floats_of(bare.graph) == set()
    assert sqnr(graph, bare.graph)[1] < 0.9
    result = quantized(graph)
    assert FRAGILE in floats_of(result.graph)
    assert len(floats_of(result.graph)) < LAYERS + 1
    assert sqnr(graph, result.graph)[1] >= 0.9
    told = "\n".join(remarks(result))
    assert "all on integers are below the guard of 90 %, which guard=off takes away: SQNR" in told
    assert re.search(r"\d of 7 layers stays? float for the guard of 90 %, which costs", told)
    assert any("stays float: integers would cost" in reason for reason in reasons(result))


def test_outputs_without_a_metric_keep_20_db():
    graph = network(tail="y = Tanh(c4)", head="float[N, 8, 12, 12] y")
    bare, kept = (
        planish.compare(graph, quantized(graph, options).graph, FEEDS).outputs[0].sqnr_db
        for options in (",guard=off", "")
    )
    assert bare < 20 <= kept


def test_nothing_is_said_or_changed_where_it_holds():
    graph = network(outlier=0.1)
    with_guard, without = quantized(graph), quantized(graph, ",guard=off")
    assert sqnr(graph, with_guard.graph)[1] >= 0.9
    assert floats_of(with_guard.graph) == set()
    a, b = (planish.to_model(r.graph).SerializeToString() for r in (with_guard, without))
    assert a == b
    assert "guard" not in "\n".join(remarks(with_guard))


def test_where_no_layer_can_be_on_integers_the_graph_is_the_float_one():
    weights = {"w": normal(16, 16)}
    weights["w"][0] = 1e4
    graph = graph_of("g (float[N, 16] x) => (float[N, 16] y) { y = MatMul(x, w) }", weights)
    feeds = [{"x": normal(4, 16, seed=i)} for i in range(4)]
    for feed in feeds:
        feed["x"][:, 0] = np.where(np.arange(4) == 0, 300.0, 0.0)
    result = quantized(graph, feeds=feeds)
    assert ops(result.graph) == ["MatMul"]
    told = "\n".join(remarks(result))
    assert "the graph stays float: the guard of 90 % is not reached" in told


def test_the_remark_replays_what_the_guard_chose():
    graph = network()
    result = quantized(graph)
    (again,) = [r for r in remarks(result) if r.startswith("the same without measuring: ")]
    assert "guard=off" in again
    replayed = planish.Pipeline.parse(again.split(": ", 1)[1]).run(graph, FEEDS, verify="off")
    a, b = (planish.to_model(r.graph).SerializeToString() for r in (result, replayed))
    assert a == b


TWO = """g (float[N, 8, 5, 5] x) => (float[N, 10] y, float[N, 8, 5, 5] z) {{
    a = Conv (x, w) h = Relu (a)
    f = Flatten (h) l = MatMul (f, v) y = {0}(l)
    z = Conv <dilations = [5, 5], pads = [5, 5, 5, 5]> (h, u) }}"""


def _two_outputs(first):
    """A network whose second output integers ruin: a tap that reads padding alone is huge."""
    weights = {
        "w": normal(8, 8, 1, 1),
        "v": normal(200, 10, seed=1),
        "u": normal(8, 8, 3, 3, seed=2),
    }
    weights["u"][..., 0, 0] *= 100.0
    return graph_of(TWO.format(first), weights)


@pytest.mark.parametrize("first", ["Softmax", "Tanh"])
def test_a_ruined_second_output_counts_beside_a_good_first(first):
    graph = _two_outputs(first)
    feeds = [{"x": normal(4, 8, 5, 5, seed=10 + i)} for i in range(4)]
    bare = planish.compare(graph, quantized(graph, ",guard=off", feeds).graph, feeds)
    by_name = {each.name: each.sqnr_db for each in bare.outputs}
    assert by_name["z"] < 18
    kept = planish.compare(graph, quantized(graph, feeds=feeds).graph, feeds)
    assert min(each.sqnr_db for each in kept.outputs if each.name == "z") >= 20


@pytest.mark.parametrize("metric", ["auto", "classification"])
def test_metrics_that_guard_reach_every_output(metric):
    outputs = {
        "y": np.array([[0.1, 0.9], [0.7, 0.3]], np.float32),
        "z": R.standard_normal((2, 5, 7)).astype(np.float32),
        "n": np.zeros((2, 3, 7), np.float32),
    }
    graph = graph_of(
        """g (float[N, 2] x) => (float[N, 2] y, float[N, 5, 7] z, float[N, 3, 7] n) {
        y = Softmax (x) z = Expand (x, s) n = Expand (x, s) }""",
        {"s": np.array([1])},
    )
    readings = read_outputs(graph, {name: array.ndim for name, array in outputs.items()})
    options = MetricOptions(metric)
    seen = see_outputs(readings, options, outputs, {"x": outputs["y"]})
    found = guarding(choose_metrics(seen, options), seen)
    assert [(each.kind, each.outputs) for each in found] == [
        ("classification", ("y",)),
        ("sqnr", ("z",)),
    ]


PIXELS = """g (float[N, 3, 8, 8] x) => ({0}[N, 4, 8, 8] y) {{
    a = Conv <pads = [1, 1, 1, 1]> (x, w) r = Relu (a) s = Conv (r, v) {1} }}"""
PICTURE = "p = Sigmoid (s) q = Mul (p, k) u = Round (q) y = Cast <to = 2> (u)"
COUNTS = "q = Mul (s, k) y = Cast <to = 7> (q)"
FLAGS = "y = Greater (s, k)"
APART = "y = SplitToSequence <axis = 1, keepdims = 1> (s)"


def _pixels(kind, tail):
    weights = {"w": normal(8, 3, 3, 3), "v": normal(4, 8, 1, 1, seed=1), "k": np.float32(255)}
    text = PIXELS.format(kind, tail)
    if kind == "seq":
        text = text.replace("seq[N, 4, 8, 8]", "seq(float[N, 1, 8, 8])")
    used = {name: value for name, value in weights.items() if name != "k" or "k)" in tail}
    return graph_of(text, used), [{"x": normal(2, 3, 8, 8, seed=i)} for i in range(4)]


@pytest.mark.parametrize(("kind", "tail"), [("uint8", PICTURE), ("int64", COUNTS)])
def test_integers_that_are_no_classes_keep_20_db(kind, tail):
    graph, feeds = _pixels(kind, tail)
    result = quantized(graph, feeds=feeds)
    assert "QuantizeLinear" in ops(result.graph)
    (metric,) = result.quality.metrics
    assert metric.name == "SQNR"
    runs = [Reference(g) for g in (graph, result.graph)]
    a, b = (np.stack([run(f)["y"] for f in feeds]).astype(float) for run in runs)
    assert metric.value == pytest.approx(10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()), abs=2)
    assert metric.value > 20


@pytest.mark.parametrize(("kind", "tail"), [("bool", FLAGS), ("seq", APART)])
def test_what_nothing_judges_stays_float_with_a_reason(kind, tail):
    graph, feeds = _pixels(kind, tail)
    result = quantized(graph, feeds=feeds)
    assert "QuantizeLinear" not in ops(result.graph)
    assert "the graph stays float: no output can be judged" in "\n".join(remarks(result))
    assert "QuantizeLinear" in ops(quantized(graph, ",guard=off", feeds).graph)


@pytest.mark.parametrize(
    ("first", "then"),
    [("", ""), ("", "equalize-ranges,round-adaptively,"), ("equalize-ranges,", "")],
)
def test_what_was_lost_before_integers_is_not_theirs(first, then):
    graph = network(outlier=0.1)
    pruned = f"{first}prune{{amount=0.8}},apply-masks"
    lossy = planish.Pipeline.parse(pruned).run(graph, FEEDS, verify="off").graph
    assert sqnr(graph, lossy)[1] < 0.8
    text = f"{pruned},{then}quantize{{measure=false}}"
    result = planish.Pipeline.parse(text).run(graph, FEEDS)
    assert "QuantizeLinear" in ops(result.graph)
    assert floats_of(result.graph) == set()
    assert sqnr(lossy, result.graph)[1] >= 0.9
    assert not any(record.quality.metrics for record in result.records)  # of another graph
    (shown,) = result.comparison.metrics
    assert shown.value < 0.9
    asked = planish.Pipeline.parse(text.replace("measure=false", "measure=false,max-drop=0.01"))
    told = "\n".join(remarks(asked.run(graph, FEEDS, verify="off")))
    assert "the graph stays float: max-drop=0.01 is not reached" in told
    noise, given = r"SQNR [\d.]+ dB.* beside the float graph before integers", "that the pipeline"
    assert re.search(rf"\({noise}; top-1 .* beside the graph {given} was given\)", told)


@pytest.mark.parametrize(
    ("bounds", "flipped", "samples", "expected", "holds"),
    [
        (GUARD, 1, 32, 0.977, True),  # 96.9 % of strings, where 97 % are asked for
        (GUARD, 2, 32, 0.977, False),
        (GUARD, 1, 32, 0.96, False),
        (GUARD, 1, 32, None, False),
        (GUARD, 1, 4, 0.99, False),
        (AccuracyBounds(max_drop=0.03), 1, 32, 0.977, False),
    ],
)
def test_the_guard_takes_one_flip_of_few_samples_where_margins_foretell_enough(
    bounds, flipped, samples, expected, holds
):
    strings = MetricResult(
        name="equal strings",
        subject="",
        value=1 - flipped / samples,
        samples=samples,
        expected=expected,
        tolerable=0.03,
    )
    found = Accuracy(sqnr_db=30.0, metrics=(strings,), top1=(), noise=1e-3, samples=samples)
    assert bounds.hold(found) == holds
