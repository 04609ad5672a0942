"""Weights that take the whole grid of their row for a channel next to silent."""

import numpy as np
import pytest

from planish import Pipeline
from planish.ir.run.reference import Reference

from tests.helpers import graph_of

CONV = """g (float[N, C, 5, 5] x) => (float[N, 24, 5, 5] y) {
    r = Relu(x)
    y = Conv<group=groups, kernel_shape=[3,3], pads=[1,1,1,1]>(r, w, b)
}"""
GEMM = "g (float[N, 32] x) => (float[N, 24] y) { r = Relu(x) y = Gemm<transB=1>(r, w, b) }"
TRANSPOSED = """g (float[N, 24, 5, 5] x) => (float[N, 24, 9, 9] y) {
    r = Relu(x) y = ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(r, w, b)
}"""
PLAIN = "quantize{measure=false,guard=off,reduce-range=false}"


def reparameterized(kind):
    """A layer as merged branches leave it: an identity of 60 for each input that is never active.

    Returns the graph and a function that draws feeds.
    """
    generator = np.random.default_rng(0)
    silent = [2, 5, 11, 17]
    bias = generator.normal(size=24).astype(np.float32)
    if kind == "Gemm":
        weight = 0.1 * generator.normal(size=(24, 32))
        weight[silent, silent] = 60
        shape, text = (32,), GEMM
    else:
        groups = 2 if kind == "grouped" else 1
        weight = 0.1 * generator.normal(size=(24, 24 // groups, 3, 3))
        for channel in silent:
            weight[channel, channel % (24 // groups), 1, 1] = 60
        shape, text = (24, 5, 5), CONV.replace("C,", "24,").replace("groups", str(groups))
        if kind == "ConvTranspose":
            weight, text = weight.swapaxes(0, 1), TRANSPOSED
    graph = graph_of(text, {"w": weight.astype(np.float32), "b": bias})

    def feeds(count):
        x = generator.normal(size=(count, *shape)).astype(np.float32)
        x[:, silent] = -np.abs(x[:, silent])
        return [{"x": sample[None]} for sample in x]

    return graph, feeds


def decibels(graph, quantized, feeds):
    runs = [Reference(each) for each in (graph, quantized)]
    expected, found = (np.stack([run(feed)["y"] for feed in feeds]) for run in runs)
    return 10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum())


@pytest.mark.parametrize("kind", ["plain", "grouped", "Gemm", "ConvTranspose"])
def test_silent_channels_do_not_take_the_grid(kind):
    graph, feeds = reparameterized(kind)
    quantized = Pipeline.parse(PLAIN).run(graph, feeds(8)).graph
    assert decibels(graph, quantized, feeds(20)) > 30


def test_without_feeds_and_with_one_every_weight_is_reached():
    graph, feeds = reparameterized("plain")
    for given in (None, feeds(1)):
        quantized = Pipeline.parse(PLAIN).run(graph, given).graph
        weight = next(n for n in quantized.nodes if n.inputs[0].name.startswith("w"))
        assert weight.inputs[1].values.max() == pytest.approx(60 / 127, rel=1e-5)


def test_layers_that_stay_float_are_not_clipped():
    graph, feeds = reparameterized("plain")
    float_one = next(node for node in graph.nodes if node.op == "Conv")
    float_one.name = "only"
    kept = PLAIN.replace("}", ",exclude=only,operators=Conv}")
    result = Pipeline.parse(kept).run(graph, feeds(8)).graph
    assert next(n for n in result.nodes if n.op == "Conv").inputs[1].values.max() == 60


@pytest.mark.filterwarnings("error")
def test_empty_samples_say_nothing():
    graph, feeds = reparameterized("Gemm")
    some = feeds(8)
    empty = {"x": np.zeros((0, 32), np.float32)}
    result = Pipeline.parse(PLAIN).run(graph, [some[0], empty, *some[1:]]).graph
    assert decibels(graph, result, feeds(20)) > 30
