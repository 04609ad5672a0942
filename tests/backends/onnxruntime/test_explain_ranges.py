"""explain_int8 on feeds of another scale than calibration saw: what lies outside is counted."""

import re

import numpy as np
import onnx
import pytest

import planish
from planish.backends.onnxruntime.explain import explain

from tests.helpers import graph_of, run_ort

pytestmark = pytest.mark.usefixtures("brief_bench")

RNG = np.random.default_rng(0)
WEIGHTS = {
    "w": RNG.standard_normal((8, 3, 3, 3)).astype("f"),
    "v": RNG.standard_normal((4, 8, 3, 3)).astype("f"),
}
BODY = "[first] a = Conv(x, w) r = ACT(a) [second] y = Conv(r, v)"
FEEDS = [{"x": RNG.random((1, 3, 12, 12)).astype("f")} for _ in range(4)]


def network(activation="Relu"):
    text = BODY.replace("ACT", activation)
    return graph_of(f"g (float[1, 3, 12, 12] x) => (float[1, 4, 8, 8] y) {{ {text} }}", WEIGHTS)


def integers(graph):
    pipeline = planish.Pipeline.parse("quantize{measure=false,calibration=min-max}")
    return pipeline.run(graph, FEEDS, verify="off").graph


def remarks(graph, original, factor=1.0, shift=0.0):
    feeds = [{"x": (feed["x"] * factor + shift).astype("f")} for feed in FEEDS]
    found = planish.explain_int8(graph, original, feeds, most=0)
    return [remark for remark in found.remarks if "calibrated range" in remark]


def test_what_calibration_saw_is_no_matter():
    assert remarks(integers(network()), network()) == []
    assert remarks(integers(network()), None) == []


def test_feeds_of_0_to_255_lie_outside():
    told = remarks(integers(network()), network(), 255)
    share, place = re.match(r"(\d+)% of values at (.*?) lie outside", told[0]).groups()
    outside = np.mean([feed["x"] * 255 > 1 for feed in FEEDS])
    assert place == "input 'x'"
    assert abs(int(share) / 100 - outside) < 0.01
    assert "(--pixels, --mean, --std)" in told[0]


def test_feeds_that_use_little_of_it():
    told = remarks(integers(network()), network(), 1 / 255)
    assert told[0].startswith("values at input 'x' use 0.4% of the calibrated range")


def test_an_inner_layer_is_named():
    model = planish.to_model(integers(network()))
    quantizers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    behind = next(n for n in quantizers if n.input[0] in ("a", "r"))
    for tensor in model.graph.initializer:
        if tensor.name == behind.input[1]:
            scale = onnx.numpy_helper.to_array(tensor) / 8
            tensor.CopyFrom(onnx.numpy_helper.from_array(scale, tensor.name))
    (told,) = remarks(planish.load(model), network())
    share = int(re.match(r"(\d+)% of values at first lie outside", told)[1]) / 100
    inner = planish.Pipeline.parse("extract{outputs=a}").run(network()).graph
    found = np.concatenate([run_ort(planish.to_model(inner), feed)["a"] for feed in FEEDS])
    assert abs(share - np.mean(found > 255.5 * scale)) < 0.02


def test_what_a_relu_cuts_is_no_loss():
    graph = network()
    inner = run_ort(planish.to_model(graph), FEEDS[0])
    assert inner["y"].size  # half of what Relu reads is below zero, and its quantizer cuts it
    assert not any("first" in line for line in remarks(integers(graph), graph))


@pytest.mark.parametrize("activation", ["HardSwish", "HardSigmoid"])
def test_what_all_readers_have_flat_is_no_loss(activation):
    """Ranges end where a hard sigmoid does, and most of these values lie beyond."""
    graph = network(activation)
    made = planish.Pipeline.parse("int8{measure=false,guard=off}").run(graph, FEEDS, verify="off")
    assert any(node.op == "QuantizeLinear" for node in made.graph.nodes)
    assert remarks(made.graph, graph) == []


def test_ranges_that_end_before_it_are_told():
    graph = network("HardSwish")
    made = planish.Pipeline.parse("quantize{measure=false,guard=off,calibration=min-max}")
    feeds = [{"x": (feed["x"] / 50).astype("f")} for feed in FEEDS]
    told = remarks(made.run(graph, feeds, verify="off").graph, graph)
    assert any(re.match(r"\d+% of values at first lie outside", line) for line in told)


MOVED = {
    "padded": "p = Pad(x, pads)",
    "transposed": "t = Transpose <perm = [0, 1, 3, 2]> (x) p = Pad(t, pads)",
    "in pairs": """q = QuantizeLinear(x, step, zero) d = DequantizeLinear(q, step, zero)
        p = Pad(d, pads)""",
}


@pytest.mark.parametrize("moves", MOVED)
def test_an_input_that_is_moved_first_is_still_an_input(moves):
    """No activation stood in front of it: a grid from 0 on cuts what a caller gives."""
    weights = {
        **WEIGHTS,
        "w": RNG.standard_normal((8, 4, 3, 3)).astype("f"),
        "pads": np.array([0, 0, 0, 0, 0, 1, 0, 0]),
        "step": np.float32(1 / 255),
        "zero": np.uint8(0),
    }
    body = BODY.replace("ACT", "Relu").replace("Conv(x, w)", "Conv(p, w)")
    text = f"g (float[1, 3, 12, 12] x) => (float[1, 4, 8, 8] y) {{ {MOVED[moves]} {body} }}"
    original = graph_of(text, weights)
    told = remarks(integers(original), original, 1.0, -0.5)
    share, place = re.match(r"(\d+)% of values at (.*?) lie outside", told[0]).groups()
    assert place == "input 'x'"
    below = np.mean([feed["x"] < 0.5 for feed in FEEDS])
    assert 0.6 * below < int(share) / 100 < below + 0.01  # of the channel that pads it, none
    assert remarks(integers(original), original, 1 / 255)[0].startswith(
        "values at input 'x' use 0."
    )


def test_taking_the_first_layer_back_bounds_no_input():
    weights = {**WEIGHTS, "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    text = f"g (float[1, 3, 12, 12] x) => (float[] y) {{ p = Pad(x, pads) {BODY} }}"
    original = graph_of(
        text.replace("ACT(a)", "Relu(a)").replace("Conv(x, w)", "Conv(p, w)"), weights
    )
    quantized = integers(original)
    names = [node.name for node in quantized.nodes if node.op in ("Conv", "Pad")]
    back = explain.apply_exclusions(quantized, names, original)
    feed = {"x": RNG.standard_normal((1, 3, 12, 12)).astype("f")}
    wanted = run_ort(planish.to_model(original), feed)["y"]
    found = run_ort(planish.to_model(back), feed)["y"]
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
