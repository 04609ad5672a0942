"""Bounds on agreement and SQNR: what stays float, what is told, and what is refused."""

import re

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest

import planish
from planish.ir.core.errors import PassError
from planish.passes.engine import stopwatch

from tests.helpers import graph_of, ops, reasons, run_ort, run_pass

LAYERS = 5
FRAGILE = "conv_2"


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weights_of(outlier):
    """Weights of five layers; `outlier` makes one tap of each channel of the third that large."""
    found = {f"w{i}": normal(8, 8 if i else 3, 3, 3, seed=i) / 6 for i in range(LAYERS)}
    # Large taps that read two channels alike cancel: all that the layer says is in small ones.
    found["w1"][1] = found["w1"][0]
    found["w2"][:, :2, 0, 0] = outlier, -outlier
    return found | {"fc": normal(8, 10, seed=9), "b": normal(10, seed=10)}


def network(outlier=40.0, tail="y = Gemm(f, fc, b)", head="float[N, 10] y"):
    lines = [
        f"[conv_{i}] c{i} = Conv<pads=[1, 1, 1, 1]>({f'r{i - 1}' if i else 'x'}, w{i}) "
        f"[relu_{i}] r{i} = Relu(c{i})"
        for i in range(LAYERS)
    ]
    body = "\n".join([*lines, f"p = GlobalAveragePool(r{LAYERS - 1}) f = Flatten(p)"])
    weights = weights_of(outlier)
    text = f"g (float[N, 3, 12, 12] x) => ({head}) {{ {body} [last] {tail} }}"
    return graph_of(text, {k: v for k, v in weights.items() if re.search(rf"\b{k}\b", text)})


FEEDS = [{"x": normal(1, 3, 12, 12, seed=100 + i)} for i in range(24)]


def optimized(graph, feeds):
    """Run on ONNX Runtime as users do, without planish in between."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    model = planish.to_model(graph).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, feed)[0] for feed in feeds])


def sqnr(graph, made, feeds=FEEDS):
    model = planish.to_model(graph)
    a = np.concatenate([run_ort(model, feed)["y"] for feed in feeds]).astype(np.float64)
    b = optimized(made, feeds)
    return 10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()), np.mean(a.argmax(1) == b.argmax(1))


def floats_of(graph):
    """Return the layers whose weights are float."""
    return {
        node.name
        for node in graph.nodes
        if node.op in ("Conv", "Gemm") and isinstance(node.inputs[1], gs.Constant)
    }


def remarks(result):
    return [text for record in result.records for text in record.remarks]


def mixed(options, graph=None, feeds=FEEDS):
    graph = network() if graph is None else graph
    return graph, run_pass(
        graph, f"quantize{{measure=false,guard=off,{options}}}", feeds=feeds, verify="off"
    )


def test_exactly_the_fragile_layer_stays_float():
    graph, everything = mixed("per-channel=true")
    before, _ = sqnr(graph, everything.graph)
    bound = before + 6
    graph, result = mixed(f"min-sqnr={bound}")
    assert floats_of(everything.graph) == set()
    assert floats_of(result.graph) == {FRAGILE}
    after, _ = sqnr(graph, result.graph)
    assert after >= bound
    (why,) = [r for r in reasons(result) if "stays float" in r]
    assert re.fullmatch(
        r"stays float: integers would cost \d+\.\d dB and save \d+\.\d+ ms by the number of "
        r"operations",
        why,
    )
    told = f"1 of 7 layers stays float for min-sqnr={bound:g}, which costs "
    assert any(told in r for r in remarks(result))


def test_the_runtime_does_not_quantize_what_stays_float():
    _, result = mixed(f"exclude=[{FRAGILE},relu_2]")
    simulated = run_ort(planish.to_model(result.graph), FEEDS[0])["y"]
    executed = optimized(result.graph, FEEDS[:1])
    barrier = next(node for node in result.graph.nodes if node.op == "LeakyRelu")
    assert barrier.attrs["alpha"] == 1
    assert barrier.inputs[0].inputs[0].name == FRAGILE
    # Without the barrier the runtime's own weights of one scale put the outputs far away.
    assert np.abs(simulated - executed).max() <= 0.02 * np.abs(simulated).max()


def test_a_layer_that_no_runtime_would_quantize_needs_no_barrier():
    _, result = mixed("exclude=[conv_0,relu_0]")
    assert "LeakyRelu" not in ops(result.graph)


def test_a_higher_bound_leaves_no_fewer_layers_in_float():
    graph, everything = mixed("per-channel=true")
    start, _ = sqnr(graph, everything.graph)
    counts = []
    for step in (-1, 3, 8, 10, 12, 14):
        _, result = mixed(f"min-sqnr={start + step}")
        made = result.graph
        whole = "QuantizeLinear" not in ops(made)
        counts.append(LAYERS + 2 if whole else len(floats_of(made)))
        assert whole or sqnr(graph, made)[0] >= start + step
    assert counts == sorted(counts)
    assert counts[0] == 0


def test_agreement_is_reached_on_the_feeds_and_what_that_shows_is_told():
    # Weights of 7 bits, whose products are the same on every CPU.
    feeds = [{"x": normal(1, 3, 12, 12, seed=800 + i)} for i in range(24)]
    graph, everything = mixed("reduce-range=true", feeds=feeds)
    _, before = sqnr(graph, everything.graph, feeds)
    _, result = mixed("reduce-range=true,min-top1-agreement=0.97", feeds=feeds)
    _, after = sqnr(graph, result.graph, feeds)
    assert 0 < len(floats_of(result.graph)) < LAYERS + 1
    assert before < 0.97 <= after
    assert any(
        r.startswith("24 samples show an agreement of") and "88, all agreeing" in r
        for r in remarks(result)
    )


def test_a_bound_out_of_reach_leaves_the_graph_float():
    graph, result = mixed("min-sqnr=150")
    assert ops(result.graph) == ops(graph)
    assert result.edits == 0
    assert any(
        r.startswith("the graph stays float: min-sqnr=150 is not reached") for r in remarks(result)
    )


def test_a_bound_that_holds_already_changes_nothing():
    _, plain = mixed("per-channel=true")
    _, bounded = mixed("min-sqnr=1")
    assert ops(bounded.graph) == ops(plain.graph)
    assert any(r.startswith("no layer has to stay float") for r in remarks(bounded))


def test_the_remark_replays_the_result_byte_for_byte():
    graph, everything = mixed("per-channel=true")
    before, _ = sqnr(graph, everything.graph)
    _, result = mixed(f"min-sqnr={before + 6}")
    (told,) = [r for r in remarks(result) if r.startswith("the same without measuring: ")]
    again = planish.Pipeline.parse(told.partition(": ")[2]).run(graph, FEEDS, verify="off")
    serialized = [planish.to_model(g).SerializeToString() for g in (result.graph, again.graph)]
    assert serialized[0] == serialized[1]


def test_the_worst_of_several_outputs_counts():
    graph = network(tail="y = Gemm(f, fc, b) z = Identity(x)", head="float[N, 10] y, float[] z")
    _, everything = mixed("per-channel=true", graph)
    before, _ = sqnr(graph, everything.graph)
    _, result = mixed(f"min-sqnr={before + 6}", graph)
    assert sqnr(graph, result.graph)[0] >= before + 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("min-top1-agreement=1.5", "give a share above 0 and up to 1"),
        ("min-top1-agreement=0.0", "give a share above 0 and up to 1"),
        ("min-sqnr=inf", "give dB"),
    ],
)
def test_bounds_without_meaning_are_refused(options, message):
    with pytest.raises(PassError, match=message):
        mixed(options)


def test_agreement_of_outputs_without_classes_is_refused():
    graph = network(tail="y = ReduceSum<keepdims=0>(f)", head="float[] y")
    with pytest.raises(PassError, match="use min-sqnr"):
        mixed("min-top1-agreement=0.9", graph)


@pytest.fixture
def timed(monkeypatch):
    """A target on which everything is twice as fast on integers."""

    def is_integer(graph):
        return any(node.op == "QuantizeLinear" for node in graph.nodes)

    def seconds(graphs, feed, target, *, seconds, seed):
        return [1.0 if is_integer(graph) else 2.0 for graph in graphs]

    def parts(graph, feed, target, *, seconds):
        full = 0.5 if is_integer(graph) else 1.0
        return {node.name: full for node in graph.nodes if node.op in ("Conv", "Gemm")}

    monkeypatch.setitem(stopwatch.STOPWATCHES, "fake", seconds)
    monkeypatch.setitem(stopwatch.PROFILERS, "fake", parts)
    return "fake"


def test_measured_gains_are_told(timed):
    graph, everything = mixed("correct-bias=false")
    before, _ = sqnr(graph, everything.graph)
    result = planish.Pipeline.parse(f"quantize{{correct-bias=false,min-sqnr={before + 6}}}").run(
        graph, FEEDS, verify="off", target=timed
    )
    assert FRAGILE in floats_of(result.graph)
    (why,) = {r for r in reasons(result) if "stays float" in r}
    # A layer of 1 s in float and 0.5 s on integers.
    saved = float(re.search(r"save ([\d.]+) ms$", why)[1])
    assert 400 <= saved <= 600
    assert any("2.00 times as fast as float on fake" in r for r in remarks(result))


def test_what_is_within_bounds_but_not_faster_stays_float(timed, monkeypatch):
    def seconds(graphs, feed, target, *, seconds, seed):
        # As fast as float as soon as one layer is float.
        return [1.0 if len(floats_of(graph)) == 0 else 2.0 for graph in graphs]

    monkeypatch.setitem(stopwatch.STOPWATCHES, "fake", seconds)
    graph, everything = mixed("per-channel=true")
    before, _ = sqnr(graph, everything.graph)
    result = planish.Pipeline.parse(f"quantize{{min-sqnr={before + 6}}}").run(
        graph, FEEDS, verify="off", target=timed
    )
    assert ops(result.graph) == ops(graph)
    assert any("takes 1.00 times as long" in r for r in remarks(result))


def test_extending_leaves_barriers_and_float_layers_alone():
    _, result = mixed(f"exclude=[{FRAGILE},relu_2]")
    again = planish.Pipeline.parse(
        f"quantize{{measure=false,guard=off,extend=true,exclude=[{FRAGILE},relu_2]}}"
    ).run(result.graph, FEEDS, verify="off")
    assert again.edits == 0
    assert onnx.checker.check_model(planish.to_model(again.graph), full_check=True) is None
