"""Fake quantization: QuantizeLinear and DequantizeLinear forward, straight-through backward."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
import torch

import planish
from planish.ir.torch.fake_quantize import FakeQuantize

from tests.helpers import graph_of, run_ort

KINDS = {
    "int8": (-128, 127, 21),
    "uint8": (0, 255, 21),
    "int16": (-32768, 32767, 21),
    "uint16": (0, 65535, 21),
    "int4": (-8, 7, 21),
    "uint4": (0, 15, 21),
}


def pair(kind, scale, zero, shape, *, axis=None, block=0):
    """Return the model of x -> QuantizeLinear -> DequantizeLinear -> y."""
    element = getattr(onnx.TensorProto, kind.upper())
    scale = np.asarray(scale, np.float32)
    attrs = {} if axis is None else {"axis": axis}
    attrs |= {"block_size": block} if block else {}
    helper = onnx.helper
    zeros = np.asarray(zero, np.int64)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attrs),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attrs),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [
            onnx.numpy_helper.from_array(scale, "s"),
            helper.make_tensor("z", element, scale.shape, zeros.reshape(-1).tolist()),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def values(shape, scale, seed=0):
    """Draw values in and out of the range, ties among them."""
    generator = np.random.default_rng(seed)
    ties = (generator.integers(-300, 300, shape) + 0.5) * scale
    drawn = generator.standard_normal(shape) * 100 * scale
    return np.where(generator.random(shape) < 0.5, ties, drawn).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zero", [0, 3])
def test_forward_is_the_pair_bit_by_bit(kind, zero):
    scale = np.float32(0.037)
    model = pair(kind, scale, zero, (4, 5, 32))
    x = values((4, 5, 32), scale)
    module = planish.to_fx(planish.load(model))
    np.testing.assert_array_equal(
        module(torch.from_numpy(x)).numpy(), run_ort(model, {"x": x})["y"]
    )
    quantizers = [m for m in module.modules() if isinstance(m, FakeQuantize)]
    assert [(m.qmin, m.qmax) for m in quantizers] == [KINDS[kind][:2]]


@pytest.mark.parametrize("axis", [1, -1])
def test_forward_with_a_scale_for_each_index_of_an_axis(axis):
    scale = np.array([0.5, 0.02, 1.25], np.float32)
    shape = (2, 3, 3)
    model = pair("int8", scale, [0, -3, 5], shape, axis=axis)
    x = values(shape, 0.25)
    module = planish.to_fx(planish.load(model))
    np.testing.assert_array_equal(
        module(torch.from_numpy(x)).numpy(), run_ort(model, {"x": x})["y"]
    )


def test_forward_in_blocks():
    scale = np.array([[0.5, 0.02], [0.1, 1.5]], np.float32)
    model = pair("int8", scale, [[0, 1], [2, 0]], (2, 6), axis=1, block=3)
    x = values((2, 6), 0.25)
    module = planish.to_fx(planish.load(model))
    np.testing.assert_array_equal(
        module(torch.from_numpy(x)).numpy(), run_ort(model, {"x": x})["y"]
    )


def test_integers_that_are_an_output_stay_integers():
    model = pair("uint8", np.float32(0.1), 7, (2, 8))
    model.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info("q", onnx.TensorProto.UINT8, (2, 8))
    )
    del model.graph.node[1]
    x = values((2, 8), 0.1)
    found = planish.to_fx(planish.load(model))(torch.from_numpy(x))
    np.testing.assert_array_equal(found.numpy(), run_ort(model, {"x": x})["q"])


def test_gradient_passes_inside_the_range_and_stops_outside():
    quantize = FakeQuantize(torch.tensor(0.5), torch.tensor(2), -8, 7)
    # Integers before clipping: -10.. : -5 is the lowest (qmin - zero = -10), 5 the highest.
    x = torch.tensor([-5.3, -5.2, -1.0, 0.24, 2.6, 2.8], requires_grad=True)
    (quantize(x) * torch.tensor([1.0, 2, 3, 4, 5, 6])).sum().backward()
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 5.0, 0.0]


def test_gradient_of_a_learned_scale_is_that_of_the_paper():
    scale = torch.tensor([0.5, 0.25])
    quantize = FakeQuantize(
        scale, torch.zeros(2, dtype=torch.int64), -8, 7, axis=0, learn=True, batched=False
    )
    x = torch.tensor([[0.6, -9.0, 9.0], [0.3, 0.1, 0.0]])
    weight = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    (quantize(x) * weight).sum().backward()
    g = 1 / math.sqrt(3 * 8)
    first = 1 * (1 - 1.2) + 2 * -8 + 3 * 7
    second = 4 * (1 - 1.2) + 5 * (0 - 0.4) + 6 * 0
    torch.testing.assert_close(quantize.scale.grad, torch.tensor([first, second]) * g)


def test_a_scale_is_no_parameter_unless_asked_for():
    graph = planish.load(pair("int8", np.float32(0.1), 0, (2, 2)))
    assert not list(planish.to_fx(graph).parameters())
    (scale,) = planish.to_fx(graph, learn_scales=True).parameters()
    assert scale.item() == pytest.approx(0.1)


def test_a_scale_that_training_made_negative_counts_by_its_size():
    graph = planish.load(pair("int8", np.float32(0.1), 0, (2, 2)))
    module = planish.to_fx(graph, learn_scales=True)
    with torch.no_grad():
        next(module.parameters()).neg_()
    x = torch.tensor([[0.26, -0.31], [50.0, -50.0]])
    expected = module(x).detach().numpy()
    written = planish.from_fx(module)
    found = run_ort(planish.to_model(written), {"x": x.numpy()})["y"]
    np.testing.assert_array_equal(expected, found)
    assert expected[0, 0] == pytest.approx(0.3)


def test_dynamic_quantization_is_refused():
    text = """g (float[2, 2] x, float s) => (uint8[2, 2] y) { y = QuantizeLinear(x, s) }"""
    with pytest.raises(planish.PlanishError, match="scale or zero point is computed"):
        planish.to_fx(graph_of(text))
