"""Biases after quantizing: the mean of each channel is the float one's, by an oracle of its own."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

import planish
from planish.passes.quantize.quantize.shift_biases import channel_means

from tests.helpers import graph_of, run_pass

PLAIN = "quantize{measure=false,guard=off,reduce-range=false"
# A branch, a Relu that is taken in, a grouped convolution, a linear layer at the end.
TEXT = """g (float[N, 3, 8, 8] x) => (float[N, 5] y) {
    a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, wa, ba)
    ar = Relu(a)
    b = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 8>(ar, wb, bb)
    s = Add(b, ar)
    sr = Relu(s)
    c = Conv<kernel_shape = [1, 1]>(sr, wc, bc)
    cr = Relu(c)
    p = GlobalAveragePool(cr)
    f = Flatten(p)
    y = Gemm<transB = 1>(f, wy, by)
}"""
LAYERS = ("a", "b", "c", "y")


def _weights(seed=0):
    generator = np.random.default_rng(seed)
    shapes = {"a": (8, 3, 3, 3), "b": (8, 1, 3, 3), "c": (6, 8, 1, 1), "y": (5, 6)}
    found = {}
    for name, shape in shapes.items():
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        found[f"w{name}"] = (scale * generator.standard_normal(shape)).astype(np.float32)
        found[f"b{name}"] = (0.3 * generator.standard_normal(shape[0])).astype(np.float32)
    return found


def _feeds(count, seed=1, batch=1):
    """Pictures on a background: one value at most positions, which no grid has to hold."""
    generator = np.random.default_rng(seed)
    x = np.full((count, 3, 8, 8), -0.8137, np.float32)
    x[:, :, 2:5, 3:6] = generator.standard_normal((count, 3, 3, 3))
    return [{"x": x[start : start + batch]} for start in range(0, count, batch)]


def _results(graph, feeds):
    """What each Conv and Gemm gives, by kind and kernel, from a session without optimizations."""
    model = onnx.ModelProto.FromString(planish.to_model(graph).SerializeToString())
    names = [n.output[0] for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    outputs = {o.name for o in model.graph.output}
    for name in names:
        if name not in outputs:
            info = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            model.graph.output.append(info)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    runs = [session.run(names, feed) for feed in feeds]
    return [np.concatenate(parts) for parts in zip(*runs, strict=True)]


def _shifts(quantized, feeds):
    """Return the largest difference of a channel's mean to the float one's, layer by layer."""
    found = []
    pairs = zip(
        _results(graph_of(TEXT, _weights()), feeds), _results(quantized, feeds), strict=True
    )
    for wanted, given in pairs:
        axes = (0, *range(2, wanted.ndim))
        found.append(np.abs(wanted.mean(axis=axes) - given.mean(axis=axes)).max())
    return np.array(found)


def _quantized(feeds, options=""):
    return run_pass(graph_of(TEXT, _weights()), f"{PLAIN}{options}}}", feeds=feeds, verify="off")


@pytest.mark.parametrize("batch", [1, 5])
def test_means_are_those_of_the_float_layers(batch):
    feeds = _feeds(20, batch=batch)
    twice = [feed for feed in _feeds(20) for _ in (0, 1)] if batch == 1 else feeds
    before = _shifts(_quantized(twice, ",correct-bias=false").graph, feeds)
    after = _shifts(_quantized(twice).graph, feeds)
    assert before.max() > 2e-3
    assert (after < (1e-4 if batch == 1 else 1e-3)).all()  # with halves alike, all of it lasts


def test_others_are_closer_too():
    others = _feeds(200, seed=9)
    wanted = _results(graph_of(TEXT, _weights()), others)[-1]
    gains = []
    for seed in range(4):
        feeds = _feeds(16, seed=seed)
        errors = [
            np.square(_results(_quantized(feeds, option).graph, others)[-1] - wanted).mean()
            for option in (",correct-bias=false", "")
        ]
        gains.append(10 * np.log10(errors[0] / errors[1]))
    assert np.mean(gains) > 1


def test_drawn_inputs_say_nothing_of_means():
    graphs = [
        run_pass(graph_of(TEXT, _weights()), f"{PLAIN}{option}}}", verify="off").graph
        for option in (",correct-bias=false", "")
    ]
    feeds = _feeds(4)
    for a, b in zip(*(_results(graph, feeds) for graph in graphs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_layer_left_in_float_keeps_its_bias():
    graph = graph_of(TEXT, _weights())
    next(node for node in graph.nodes if node.outputs[0].name == "c").name = "kept"
    found = run_pass(graph, f"{PLAIN},exclude=[kept]}}", feeds=_feeds(8), verify="off").graph
    biases = {t.name: t for node in found.nodes for t in node.inputs if t.name == "bc"}
    np.testing.assert_array_equal(biases["bc"].values, _weights()["bc"])


def test_samples_of_an_empty_batch_say_nothing():
    feeds, empty = _feeds(4), {"x": np.zeros((0, 3, 8, 8), np.float32)}
    pipeline = planish.Pipeline.parse(f"{PLAIN}}}")
    with_it, without = (
        planish.to_model(
            pipeline.run(graph_of(TEXT, _weights()), given, verify="off", strict=True).graph
        )
        for given in ([feeds[0], empty, *feeds[1:]], feeds)
    )
    assert with_it.SerializeToString() == without.SerializeToString()


def test_a_layer_that_no_output_needs_changes_nothing():
    text = TEXT.replace(
        "p = Global", "unread = Conv<kernel_shape = [1, 1], group = 2>(cr, wd, bd)\n p = Global"
    )
    weights = {**_weights(), "wd": np.ones((6, 3, 1, 1), np.float32), "bd": np.ones(6, np.float32)}
    pipeline = planish.Pipeline.parse(PLAIN + "}")
    results = [
        pipeline.run(graph_of(each, weights), feeds=_feeds(8), strict=True, verify="off").graph
        for each in (TEXT, text)
    ]
    expected, found = (planish.Pipeline.parse("eliminate-dead-code").run(g).graph for g in results)
    assert planish.compare(expected, found, _feeds(2, seed=3)).max_abs == 0


def test_a_vector_has_no_channels_to_take_means_of():
    weights = {"w": np.eye(8, 4, dtype=np.float32), "b": np.ones(4, np.float32)}
    graph = graph_of("g (float[8] x) => (float[] y) { a = MatMul(x, w) y = Add(a, b) }", weights)
    found = channel_means(graph, ["a", "y"], [{"x": np.ones(8, np.float32)}])
    assert found == {}
