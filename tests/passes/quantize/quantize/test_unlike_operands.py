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
# What something else reads is the graph input, or is moved on the way to the Concat.
GIVEN = """g (float[N, 3, 6, 6] x, float[N, 3, 6, 6] v) => (float[] y, float[] z) {
    e = Conv(v, large) OTHERS k = Concat<axis=1>(OPERAND, e) z = Conv(k, wide)
}"""
MOVED = {
    "itself": ("y = Conv(x, narrow)", "x"),
    "pooled": ("a = MaxPool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x) y = Conv(x, narrow)", "a"),
    "moved-twice": (
        "t = Transpose<perm=[0, 1, 3, 2]>(x) a = Transpose<perm=[0, 1, 3, 2]>(t)"
        "y = Conv(t, narrow)",
        "a",
    ),
    "split": ("a, b = Split<axis=1, num_outputs=2>(x) y = Conv(b, first)", "a"),
    "read-in-float": ("f = Exp(x) y = Conv(f, narrow)", "x"),
}


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


def given(others, operand, large, channels=3):
    """The scales of a graph in which the operand of the Concat comes from the input."""
    text = GIVEN.replace("OTHERS", others).replace("OPERAND", operand)
    values = {
        "large": normal(4, 3, 1, 1, seed=10) * np.float32(large),
        "wide": normal(4, 4 + channels, 1, 1, seed=11),
        "narrow": normal(4, 3, 1, 1, seed=12),
        "first": normal(4, 1, 1, 1, seed=12),
    }
    graph = graph_of(text, {k: v for k, v in values.items() if f"{k})" in text})
    feeds = [feed | {"v": feed["x"]} for feed in FEEDS]
    return scales(run_pass(graph, QUANTIZE, feeds=feeds, verify="off").graph)


@pytest.mark.parametrize("way", MOVED)
def test_an_input_that_something_else_reads_keeps_its_steps(way):
    others, operand = MOVED[way]
    channels = 2 if way == "split" else 3
    found = given(others, operand, 10.0, channels)
    span = max(f["x"].max() for f in FEEDS) - min(f["x"].min() for f in FEEDS)
    assert found["k"] == found["e"]
    assert found["k"] > 10 * found["x"]
    assert found["x"] == pytest.approx(span / 255, rel=0.02)
    assert {found.get(name, found["x"]) for name in ("t", "a", "b")} == {found["x"]}


@pytest.mark.parametrize(("others", "operand"), [("", "x"), MOVED["pooled"]])
def test_like_ranges_share_their_steps_through_moves(others, operand):
    found = given(others or "y = Identity(e)", operand, 0.03)
    assert len({found[name] for name in ("x", "a", "k") if name in found}) == 1


def test_what_moves_to_the_concat_alone_is_not_rounded_twice():
    others, _ = MOVED["pooled"]
    found = given(others.replace("Conv(x, narrow)", "Identity(e)"), "a", 10.0)
    assert found["x"] == found["a"] == found["k"]


@pytest.mark.parametrize("reader", ["", "y = Conv(b, two)", "y = Identity(b)"])
@pytest.mark.parametrize("moves", ["", "t = Transpose<perm=[0, 1, 3, 2]>(b)"])
def test_parts_that_all_go_to_the_concat_are_not_rounded_twice(reader, moves):
    """All parts of a Split are one tensor's; what reads one of them besides is another."""
    text = f"""g (float[N, 3, 6, 6] x) => ({"float[] y, " * bool(reader)}float[] z) {{
        a = Conv(x, small) e = Conv(x, large) c, b = Split<axis=1, num_outputs=2>(a)
        {moves} k = Concat<axis=1>({moves[:1] or "b"}, c, e) z = Conv(k, wide) {reader}
    }}"""
    shapes = {"wide": (4, 8, 1, 1), "two": (4, 2, 1, 1)}
    large = normal(4, 3, 3, 3, seed=10)
    values = {"large": large, "small": large * np.float32(0.1)}
    values |= {k: normal(*v, seed=11) for k, v in shapes.items() if f"{k})" in text}
    graph = graph_of(text, values)
    found = scales(run_pass(graph, QUANTIZE, feeds=FEEDS, verify="off").graph)
    part = 0.1 if reader else 1.0
    assert found["e"] == found["k"]
    assert found["a"] == found["c"] == found["b"]
    assert found["a"] == pytest.approx(found["k"] * part, rel=1e-3)


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
