"""Where linear operators keep their channels, and the bias that exporters write for none."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.ops.linear.layer import read_layer
from planish.ir.ops.linear.operators import (
    bias_of,
    from_blocks,
    group_of,
    input_channels,
    is_absent_bias,
    linear_operator,
    output_axis,
    output_channels,
    reads_transposed,
    to_blocks,
)

from tests.helpers import Array, model_of, run_ort, view_of

G = np.random.default_rng(7)


def _w(*shape: int) -> Array:
    return G.standard_normal(shape).astype(np.float32)


# Operator, its weight, and the shape of an input.
KINDS = {
    "Conv": ("Conv (x, w)", _w(6, 4, 3, 2), (2, 4, 5, 5)),
    "Conv, groups": ("Conv <group = 2> (x, w)", _w(6, 2, 3, 2), (2, 4, 5, 5)),
    "ConvTranspose": ("ConvTranspose (x, w)", _w(4, 6, 3, 2), (2, 4, 5, 5)),
    "ConvTranspose, groups": ("ConvTranspose <group = 2> (x, w)", _w(4, 3, 3, 2), (2, 4, 5, 5)),
    "Gemm": ("Gemm (x, w)", _w(4, 6), (3, 4)),
    "Gemm, transposed": ("Gemm <transB = 1> (x, w)", _w(6, 4), (3, 4)),
    "MatMul": ("MatMul (x, w)", _w(4, 6), (3, 4)),
}


def _opened(kind, bias="", **known):
    text, weight, shape = KINDS[kind]
    sizes = ", ".join(map(str, shape))
    body = text.replace("w)", f"w{bias})")
    return model_of(f"g (float[{sizes}] x) => (float[] y) {{ y = {body} }}", {"w": weight, **known})


@pytest.mark.parametrize("kind", KINDS)
def test_the_channels_are_those_of_the_runtime(kind):
    model = _opened(kind)
    node = planish.load(model).nodes[0]
    weight, shape = KINDS[kind][1:]
    axis = 1 if len(shape) > 2 else -1
    x = G.standard_normal(shape).astype(np.float32)
    outputs, inputs = output_channels(node, weight.shape), input_channels(node, weight.shape)
    assert (outputs, inputs) == (6, 4)
    expected = run_ort(model, {"x": x})["y"]
    assert expected.shape[axis] == outputs
    # Without the weights of one index of that axis, the outputs of that index are zero.
    silent = weight.copy()
    silent[(slice(None),) * output_axis(node) + (1,)] = 0
    model.graph.initializer[0].raw_data = silent.tobytes()
    found = np.moveaxis(run_ort(model, {"x": x})["y"], axis, 0)
    per_group = silent.shape[output_axis(node)]
    assert [i for i in range(6) if not found[i].any()] == [*range(1, 6, per_group)]


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_the_weight_of_the_kernel_and_go_back(kind):
    graph = planish.load(_opened(kind))
    node, weight = graph.nodes[0], KINDS[kind][1]
    blocks = to_blocks(node, weight)
    assert blocks.dtype == weight.dtype
    layer = read_layer(node, view_of(graph))
    assert np.array_equal(blocks, layer.kernel().weight)
    assert blocks.shape[0] * blocks.shape[1] == 6
    assert np.array_equal(from_blocks(node, blocks), weight)
    assert np.array_equal(layer.stored(layer.kernel()), weight)


def test_a_bias_is_absent_where_it_is_zeros_of_another_shape():
    conv, gemm = gs.Node("Conv"), gs.Node("Gemm")
    assert is_absent_bias(conv, np.zeros((6, 4)))
    assert not is_absent_bias(conv, np.zeros(6))
    assert not is_absent_bias(conv, np.ones((6, 4)))
    assert not is_absent_bias(conv, None)
    assert not is_absent_bias(gemm, np.zeros((1, 6)))
    assert bias_of(planish.load(_opened("Conv")).nodes[0]) is None
    assert bias_of(planish.load(_opened("Conv", ", ")).nodes[0]) is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "MatMul"])
def test_the_bias_is_what_the_runtime_adds(kind):
    model, shape = _opened(kind, ", b", b=_w(6)), KINDS[kind][2]
    zeros = run_ort(model, {"x": np.zeros(shape, np.float32)})["y"]
    added = zeros if zeros.ndim == 2 else zeros[:, :, 0, 0]
    bias = bias_of(planish.load(model).nodes[0])
    assert np.array_equal(added, np.tile(bias.values, (len(added), 1)))
    assert bias_of(planish.load(_opened("MatMul")).nodes[0]) is None


def _exported():
    """Return a convolution as PyTorch exports one without bias, and the same without that bias."""
    pool = "y = MaxPool <kernel_shape = [2, 2]> (r)"
    body = f"c = Conv <pads = [1, 1, 1, 1]> (x, w, zeros) r = Relu (c) {pool}"
    text = f"g (float[1, 3, 20, 20] x) => (float[] y) {{ {body} }}"
    weights = {"w": _w(6, 3, 3, 3), "zeros": np.zeros((6, 3), np.float32)}
    plain = model_of(text.replace(", zeros", ""), {"w": weights["w"]})
    return model_of(text, weights), plain


def test_a_pass_takes_the_bias_of_an_exporter_for_none():
    x, found = G.standard_normal((1, 3, 20, 20)).astype(np.float32), []
    for model in _exported():
        pipeline = planish.Pipeline.parse("align-channels,eliminate-identities")
        result = pipeline.run(planish.load(model), verify="off")
        assert result.records[0].edits
        found.append(run_ort(planish.to_model(result.graph), {"x": x})["y"])
    assert np.array_equal(*found)


def test_a_module_takes_it_for_none():
    import torch

    model, plain = _exported()
    x = G.standard_normal((1, 3, 20, 20)).astype(np.float32)
    module = planish.to_fx(planish.load(model))
    found = module(torch.from_numpy(x)).detach().numpy()
    assert np.allclose(found, run_ort(plain, {"x": x})["y"], atol=1e-5)


def test_which_operator_a_node_is_or_is_a_fused_form_of():
    def kind(op, domain="", **attrs):
        node = gs.Node(op, attrs=attrs, domain=domain)
        return linear_operator(node), reads_transposed(node)

    assert kind("Conv") == ("Conv", False)
    assert kind("MatMul") == ("MatMul", False)
    assert kind("Gemm", transA=1) == ("Gemm", True)
    assert kind("Gemm", transB=1) == ("Gemm", False)
    assert kind("Conv", transA=1) == ("Conv", False)
    assert kind("ConvAddRelu", "planish") == ("Conv", False)
    assert kind("GemmRelu", "planish", transA=1) == ("Gemm", True)
    assert kind("Relu") == kind("Conv", "com.example") == (None, False)
    assert kind("Swish", "planish") == (None, False)


def test_only_convolutions_have_groups():
    assert group_of(gs.Node("Conv", attrs={"group": 2})) == 2
    assert group_of(gs.Node("ConvTranspose", attrs={"group": 3})) == 3
    assert group_of(gs.Node("Conv")) == 1
    assert group_of(gs.Node("Gemm", attrs={"group": 2})) == 1
