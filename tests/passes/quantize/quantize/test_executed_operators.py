"""What ONNX Runtime executes of a quantized network: one integer region, and nothing beside it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnxruntime as ort
import pytest

import planish

from tests.helpers import graph_of, ops, run_pass
from tests.networks import Network, networks

PIPELINE = "exact,quantize{measure=false,guard=off}"
PLAIN = [
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "mobilenet_v2",
    "repvgg_a0",
    "resnet18",
    "resnet50_preact",
    "shufflenet_v2",
]
FLOAT = {"Conv", "FusedConv", "ConvTranspose", "Gemm", "MatMul", "Relu", "Clip", "Sigmoid", "Mul"}


def executed(network, tmp_path, *, dynamic=False):
    """Return how often each operator stands in the session of a small network."""
    graph = network.traced(None if dynamic else 1)
    feeds = planish.random_feeds(graph, samples=2)
    result = planish.Pipeline.parse(PIPELINE).run(graph, feeds, verify="off")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(tmp_path / "executed.onnx")
    model = planish.to_model(result.graph).SerializeToString()
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Counter(ops(planish.load(tmp_path / "executed.onnx")))


@pytest.mark.parametrize(
    "network", networks(names=PLAIN, slow={"densenet121", "mobilenet_v2", "shufflenet_v2"})
)
def test_a_plain_network_is_one_integer_region(network, tmp_path):
    check(executed(network, tmp_path))


def test_so_is_one_for_any_batch(tmp_path):
    check(executed(Network("resnet18"), tmp_path, dynamic=True))


def check(found):
    assert not FLOAT & set(found)
    assert found["QuantizeLinear"] == 1
    assert found["DequantizeLinear"] == 0  # the classifier gives floats at once
    assert found["Transpose"] <= 2
    assert found["QLinearConv"] > 0


@pytest.mark.parametrize(
    ("name", "ends"), [("dcgan", 1), pytest.param("unet", 1, marks=pytest.mark.slow)]
)
def test_transposed_convolutions_are_in_the_region(name, ends, tmp_path):
    found = executed(Network(name), tmp_path)
    assert not FLOAT & set(found)
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == ends
    assert found["DepthToSpace"] == 0


def test_an_average_pool_may_state_that_it_is_not_dilated():
    body = "r = Relu(x) y = AveragePool<kernel_shape=[2, 2], dilations=[{0}, {0}]>(r)"
    text = "g (float[1, 2, 8, 8] x) => (float[] z) {{ {} z = Neg(y) }}"
    feeds = [{"x": np.ones((1, 2, 8, 8), np.float32)}]
    for dilation, quantized in ((1, True), (2, False)):
        graph = graph_of(text.format(body.format(dilation)))
        found = run_pass(graph, "quantize{measure=false,operators=[AveragePool]}", feeds=feeds)
        assert ("QuantizeLinear" in ops(found.graph)) is quantized
        model = planish.to_model(found.graph).SerializeToString()
        ort.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("pass_name", ["quantize", "int8"])
def test_a_float_layer_between_integer_ones_stays_float(pass_name, tmp_path):
    """ONNX Runtime would give its weights one scale for all, past the Relu behind it."""
    generator = np.random.default_rng(0)
    shapes = {"w": (8, 4, 1, 1), "d": (8, 1, 3, 3), "v": (4, 8, 1, 1), "b": (8,)}
    graph = graph_of(
        """g (float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) {
            a = Conv(x, w, b) r = Relu(a)
            [kept] c = Conv<group = 8, pads = [1, 1, 1, 1]>(r, d, b) s = Relu(c)
            e = Conv(s, v) y = Erf(e) }""",
        {name: generator.standard_normal(shape).astype("f") for name, shape in shapes.items()},
    )
    feeds = planish.random_feeds(graph, samples=8)
    text = f"{pass_name}{{measure=false,guard=off,exclude=[kept]}}"
    result = planish.Pipeline.parse(text).run(graph, feeds, verify="off")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "executed.onnx")
    model = planish.to_model(result.graph).SerializeToString()
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found = Counter(ops(planish.load(tmp_path / "executed.onnx")))
    assert found["QLinearConv"] == 2
    assert found["Conv"] + found["FusedConv"] == 1
