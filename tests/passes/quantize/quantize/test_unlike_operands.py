"""What a Concat joins: one grid, or one of its own for what something else reads in finer steps."""

import numpy as np
import onnxruntime as ort
import pytest

import planish
from planish.passes.quantize.grids.formats import UINT8, IntegerFormat
from planish.passes.quantize.quantize.calibration.observers import Range
from planish.passes.quantize.quantize.calibration.widening import HeldBackRanges
from planish.passes.quantize.quantize.network_judge import NetworkJudge
from planish.passes.quantize.quantize.scheme import QuantizationScheme

from tests.helpers import graph_of, ops, run_ort, run_pass

QUANTIZE = "quantize{measure=false,guard=off,calibration=min-max,correct-bias=false,lower=false}"
# The result of `small` is read by the Concat and by a layer of its own, where `y` is an output.
BOTH = """g (float[N, 3, 6, 6] x) => (float[] y, float[] z) {
    a = Conv(x, small) e = Conv(x, large) k = Concat<axis=1>(a, e) z = Conv(k, wide)
    y = Conv(a, narrow)
}"""
ALONE = BOTH.replace("float[] y, ", "").replace("y = Conv(a, narrow)", "")
TWICE = ALONE.replace("(a, e)", "(a, a, e)").replace("wide", "wider")
TWO = ALONE.replace("z = Conv(k, wide)", "l = Concat<axis=1>(k, a, e) z = Conv(l, widest)")


def normal(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


FEEDS = [{"x": normal(2, 3, 6, 6, seed=seed)} for seed in range(4)]


def quantized(text, part, pipeline=QUANTIZE):
    """The graph before and behind; `small` gives `part` of what `large` gives."""
    large = normal(4, 3, 3, 3, seed=10)
    values = {"large": large, "small": large * np.float32(part)}
    shapes = {"wide": (4, 8, 1, 1), "narrow": (4, 4, 1, 1), "wider": (4, 12, 1, 1)}
    shapes["widest"] = (4, 16, 1, 1)
    values |= {k: normal(*v, seed=11) for k, v in shapes.items() if f"{k})" in text}
    graph = graph_of(text, values)
    return graph, run_pass(graph, pipeline, feeds=FEEDS, verify="off").graph


def scales(graph):
    """The scale of each tensor that is quantized, by name."""
    found = [node for node in graph.nodes if node.op == "QuantizeLinear"]
    return {node.inputs[0].name: float(node.inputs[1].values) for node in found}


@pytest.mark.parametrize(("part", "own"), [(0.1, True), (0.65, True), (0.75, False), (1.0, False)])
def test_what_another_layer_reads_keeps_its_steps(part, own):
    found = scales(quantized(BOTH, part)[1])
    assert found["k"] == found["e"]
    assert found["a"] == pytest.approx(found["k"] * (part if own else 1.0), rel=1e-3)


@pytest.mark.parametrize("text", [ALONE, TWICE])
def test_what_nothing_else_reads_is_not_rounded_twice(text):
    found = scales(quantized(text, 0.1)[1])
    assert found["a"] == found["e"] == found["k"]


def test_another_concat_of_like_operands_reads_the_same_steps():
    found = scales(quantized(TWO, 0.1)[1])
    assert found["e"] == found["k"] == found["l"]
    assert found["a"] == pytest.approx(found["k"] * 0.1, rel=1e-3)


def test_the_other_layer_has_the_error_of_its_own_range():
    """As many decibels as with the Concat gone; sharing its steps would cost 20."""
    without = BOTH.replace(", float[] z", "").replace("e = Conv(x, large) ", "")
    without = without.replace("k = Concat<axis=1>(a, e) z = Conv(k, wide)", "")
    errors = []
    for text in (BOTH, without):
        graph, result = quantized(text, 0.1)
        pairs = [
            [run_ort(planish.to_model(g), feed)["y"] for g in (graph, result)] for feed in FEEDS
        ]
        errors.append(sum(float(np.square(a - b).sum()) for a, b in pairs))
    assert errors[0] == pytest.approx(errors[1], rel=1e-5)


def test_the_judge_of_ranges_sees_them_apart():
    """A range that cuts `a` off is worse only where `a` has a grid of its own."""
    graph, _ = quantized(BOTH, 0.1)
    for node in graph.nodes:
        node.name = node.outputs[0].name
    width = {"x": 4.0, "a": 2.0, "e": 20.0, "k": 20.0, "y": 10.0, "z": 60.0}
    whole = {name: Range(-reach, reach) for name, reach in width.items()}
    cut = whole | {"a": Range(-0.2, 0.2)}
    scheme = QuantizationScheme(IntegerFormat(8, signed=True, narrow=True), UINT8)
    judge = NetworkJudge(graph=graph, chosen=frozenset("aezy"), scheme=scheme, feeds=FEEDS)
    assert judge([HeldBackRanges(each, {}) for each in (cut, whole)]) == 1


def test_runtimes_join_unlike_operands_as_integers(tmp_path):
    _, result = quantized(BOTH, 0.1)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "executed.onnx")
    model = planish.to_model(result).SerializeToString()
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    executed = ops(planish.load(tmp_path / "executed.onnx"))
    assert executed.count("QLinearConcat") == 1
    assert executed.count("QuantizeLinear") == 1
    assert "Concat" not in executed
