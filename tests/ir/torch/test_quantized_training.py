"""Quantized graphs: trained as modules, written back as integers, run by ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime.quantization as ortq
import pytest
import torch
from torch.nn import functional

import planish

from tests.helpers import model_of, run_ort


class Reader(ortq.CalibrationDataReader):
    def __init__(self, batches):
        self.batches = iter([{"x": batch} for batch in batches])

    def get_next(self):
        return next(self.batches, None)


@pytest.fixture(scope="module", params=[True, False], ids=["per-channel", "per-tensor"])
def quantized(request, tmp_path_factory):
    """Return a small network as ONNX Runtime quantizes it, and inputs for it."""
    generator = np.random.default_rng(0)
    weights = {
        "conv1.weight": generator.standard_normal((6, 2, 3, 3)) * 0.4,
        "conv1.bias": generator.standard_normal(6),
        "conv2.weight": generator.standard_normal((6, 6, 3, 3)) * 0.2,
        "conv2.bias": generator.standard_normal(6),
        "fc.weight": generator.standard_normal((3, 6)) * 0.5,
        "fc.bias": generator.standard_normal(3),
    }
    text = """g (float[N, 2, 8, 8] x) => (float[N, 3] y) {
        a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1, b1)
        b = Relu(a)
        m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (b)
        c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (m, w2, b2)
        d = Add(c, m)
        e = Relu(d)
        p = GlobalAveragePool(e)
        f = Flatten(p)
        y = Gemm <transB = 1> (f, w3, b3)
    }"""
    names = dict(zip(("w1", "b1", "w2", "b2", "w3", "b3"), weights, strict=True))
    model = model_of(text, {k: weights[v].astype(np.float32) for k, v in names.items()})
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
    folder = tmp_path_factory.mktemp("quantized")
    onnx.save(model, folder / "float.onnx")
    x = generator.standard_normal((32, 2, 8, 8)).astype(np.float32)
    ortq.quantize_static(
        folder / "float.onnx",
        folder / "int8.onnx",
        Reader([x]),
        per_channel=request.param,
        weight_type=ortq.QuantType.QInt8,
        activation_type=ortq.QuantType.QUInt8,
    )
    return planish.load(folder / "int8.onnx"), x


def assert_close_but_for_steps(expected, found, steps=0.02):
    """Check two runs whose float sums may differ in the last bit, which moves a tie by a step."""
    scale = np.abs(expected).max()
    assert np.abs(expected - found).max() <= steps * scale
    assert np.mean(np.abs(expected - found) <= 1e-5 * scale) > 0.95


def assert_biases_lie_on_the_grid_of_products(graph):
    for node in graph.nodes:
        if node.op in ("Conv", "Gemm"):
            scales = [tensor.inputs[0].inputs[1].values for tensor in node.inputs]
            np.testing.assert_allclose(scales[2], scales[0] * scales[1], rtol=1e-6)


def test_the_module_computes_what_the_graph_does(quantized):
    graph, x = quantized
    module = planish.to_fx(graph)
    expected = run_ort(planish.to_model(graph), {"x": x})["y"]
    with torch.no_grad():
        assert_close_but_for_steps(expected, module(torch.from_numpy(x)).numpy())


def test_weights_are_float_parameters_under_their_own_names(quantized):
    graph, _ = quantized
    named = dict(planish.to_fx(graph).named_parameters())
    assert set(named) == {
        f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc") for kind in ("weight", "bias")
    }
    scales = set(dict(planish.to_fx(graph, learn_scales=True).named_parameters())) - set(named)
    assert scales
    assert all(name.endswith("_quantizer.scale") for name in scales)


def test_untrained_it_is_written_back_as_it_was(quantized):
    graph, _ = quantized
    again = planish.from_fx(planish.to_fx(graph, learn_scales=True))
    before, after = planish.to_model(graph), planish.to_model(again)
    for a, b in zip(before.graph.initializer, after.graph.initializer, strict=True):
        first, second = onnx.numpy_helper.to_array(a), onnx.numpy_helper.to_array(b)
        assert a.name == b.name
        assert first.dtype == second.dtype
        # The scale of a bias is a product, which may be rounded once more or less.
        np.testing.assert_allclose(second, first, rtol=1e-6, atol=0)
    assert [n.name for n in before.graph.node] == [n.name for n in after.graph.node]


@pytest.mark.parametrize("learn_scales", [False, True])
def test_trained_it_is_written_back_as_integers_that_compute_the_same(quantized, learn_scales):
    graph, x = quantized
    before = planish.to_model(graph).SerializeToString()
    module = planish.to_fx(graph, learn_scales=learn_scales).train()
    inputs = torch.from_numpy(x)
    target = inputs.mean((2, 3)).abs().argmax(1)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = functional.cross_entropy(module(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    module.eval()
    written = planish.from_fx(module)
    with torch.no_grad():
        expected = module(inputs).numpy()
    found = run_ort(planish.to_model(written), {"x": x})["y"]
    assert_close_but_for_steps(expected, found)
    assert planish.to_model(graph).SerializeToString() == before
    assert_biases_lie_on_the_grid_of_products(written)
    kinds = {t.name: t.dtype for t in graph.tensors().values()}
    assert all(t.dtype == kinds[t.name] for t in written.tensors().values())


def test_weights_of_fewer_bits_stay_such():
    text = """<ir_version: 10, opset_import: ["" : 21]>
        g (float[N, 4] x) => (float[N, 4] y) {
            w = DequantizeLinear <axis = 0> (q, s)
            y = Gemm <transB = 1> (x, w)
        }"""
    q = np.random.default_rng(0).integers(-3, 4, (4, 4)).astype(np.int8)
    graph = planish.load(model_of(text, {"q": q, "s": np.full(4, 0.5, np.float32)}))
    module = planish.to_fx(graph)
    (weight,) = module.parameters()
    torch.testing.assert_close(weight.detach(), torch.from_numpy(q * np.float32(0.5)))
    with torch.no_grad():
        weight.mul_(50)
    written = planish.from_fx(module).tensors()["q"].values
    np.testing.assert_array_equal(written, np.sign(q) * 3)


def test_a_shared_scale_stays_shared():
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        a = QuantizeLinear(x, s, z)
        b = DequantizeLinear(a, s, z)
        c = Neg(b)
        d = QuantizeLinear(c, s, z)
        y = DequantizeLinear(d, s, z)
    }"""
    weights = {"s": np.float32(0.1), "z": np.int8(0)}
    graph = planish.load(model_of(text, weights))
    module = planish.to_fx(graph, learn_scales=True)
    (scale,) = module.parameters()
    with torch.no_grad():
        scale.fill_(0.25)
    written = planish.from_fx(module)
    assert written.tensors()["s"].values == np.float32(0.25)
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    found = run_ort(planish.to_model(written), {"x": x})["y"]
    np.testing.assert_array_equal(module(torch.from_numpy(x)).detach().numpy(), found)


@pytest.mark.slow
def test_the_example_wins_accuracy_back():
    from examples import quantization_aware_training as example

    before, coarse, after = example.run(epochs=40, tuning=20)
    assert coarse < before - 0.03
    assert after > coarse + 0.5 * (before - coarse)
