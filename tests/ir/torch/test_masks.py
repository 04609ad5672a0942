"""Masked graphs as modules: real layers, masks held while training, written back, traced again."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import planish
from planish.ir.ops.masks import read_masked

from tests.helpers import graph_of, model_using, relative_error, run_ort

RNG = np.random.default_rng(0)

# Operator with weight W and bias B, the shape of W, the module it becomes, and its input.
LAYERS = {
    "conv1d": ("Conv <kernel_shape=[3]> (x, W, B)", (4, 2, 3), nn.Conv1d, (2, 2, 7)),
    "conv2d": (
        "Conv <kernel_shape=[3,3], group=2> (x, W, B)",
        (4, 1, 3, 3), nn.Conv2d, (2, 2, 5, 6),
    ),
    "conv3d": (
        "Conv <kernel_shape=[1,2,2]> (x, W, B)",
        (4, 2, 1, 2, 2), nn.Conv3d, (1, 2, 3, 4, 4),
    ),
    "transposed1d": (
        "ConvTranspose <kernel_shape=[3], strides=[2]> (x, W, B)",
        (2, 4, 3), nn.ConvTranspose1d, (2, 2, 5),
    ),
    "transposed2d": (
        "ConvTranspose <kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]> (x, W, B)",
        (2, 4, 3, 3), nn.ConvTranspose2d, (2, 2, 4, 5),
    ),
    "transposed3d": (
        "ConvTranspose <kernel_shape=[1,2,2]> (x, W, B)",
        (2, 4, 1, 2, 2), nn.ConvTranspose3d, (1, 2, 2, 3, 3),
    ),
    "gemm": ("Gemm <transB=1> (x, W, B)", (4, 6), nn.Linear, (3, 6)),
    "gemm-straight": ("Gemm (x, W, B)", (6, 4), nn.Linear, (3, 6)),
}  # fmt: skip

NAMES = {"w": "fc.weight", "b": "fc.bias", "m": "fc.weight_mask", "k": "fc.bias_mask"}
# A parameter that has its name from the source model is not transposed; this weight has none.
OTHER_NAMES = {"m": "w_mask", "k": "b_mask"}


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def zeros_and_ones(*shape):
    found = (RNG.random(shape) < 0.5).astype(np.float32)
    found.flat[0], found.flat[-1] = 0, 1
    return found


def renamed(model, names):
    """Give the tensors of `model` names that ONNX text cannot spell, such as `fc.weight`."""
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
    return model


def masked_layer(operator, shape, feed, *, mask_of_weight=None, mask_of_bias=None):
    """Return the model of one layer whose weight, and perhaps bias, stands below a mask."""
    weights = {"w": normal(*shape), "b": normal(4), "m": mask_of_weight, "k": mask_of_bias}
    body = f"y = {operator}"
    if mask_of_bias is not None:
        body = f"bm = Mul(b, k) {body}".replace("B)", "bm)")
    if mask_of_weight is not None:
        body = f"wm = Mul(w, m) {body}".replace("W", "wm")
    body = body.replace("W", "w").replace("B)", "b)")
    rank = ", ".join(map(str, feed))
    model = model_using(
        {k: v for k, v in weights.items() if v is not None}, body, f"float[{rank}] x"
    )
    return renamed(model, OTHER_NAMES if operator.startswith("Gemm (") else NAMES)


def small_masks(shape, op):
    """Return a mask of rows that broadcasts to `shape`."""
    rows = [1] * len(shape)
    axis = 1 if op in ("transposed1d", "transposed2d", "transposed3d", "gemm-straight") else 0
    rows[axis] = shape[axis]
    return zeros_and_ones(*rows)


@pytest.mark.parametrize("small", [False, True], ids=["whole", "rows"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_masked_layer_is_a_layer_that_trains_with_its_masks_held(name, small):
    operator, shape, kind, feed = LAYERS[name]
    mask = small_masks(shape, name) if small else zeros_and_ones(*shape)
    off = np.array([1, 0, 1, 0], np.float32)
    model = masked_layer(operator, shape, feed, mask_of_weight=mask, mask_of_bias=off)
    x = normal(*feed)
    expected = run_ort(model, {"x": x})["y"]
    module = planish.to_fx(planish.load(model)).train()
    (layer,) = [part for part in module.modules() if isinstance(part, kind)]
    found = module(torch.from_numpy(x))
    assert relative_error(expected, found.detach().numpy()) <= 1e-6

    straight = name == "gemm-straight"
    owner = "gemm" if straight else "fc"
    assert set(module.state_dict()) == {name.replace("fc", owner) for name in NAMES.values()}
    trained = {name for name, _ in module.named_parameters()}
    assert trained == {f"{owner}.weight", f"{owner}.bias"}

    (found**2).sum().backward()
    whole = np.broadcast_to(mask, shape)
    gradient = layer.weight.grad.numpy()
    gradient = gradient.T if straight else gradient
    assert (gradient[whole == 0] == 0).all()
    assert (gradient[whole == 1] != 0).any()
    biases = layer.bias.grad.numpy()
    assert (biases[off == 0] == 0).all()
    assert (biases[off == 1] != 0).all()


def test_the_gradient_of_a_masked_weight_is_that_of_the_product():
    operator, shape, _, feed = LAYERS["conv2d"]
    mask = zeros_and_ones(*shape)
    model = masked_layer(operator, shape, feed, mask_of_weight=mask)
    module = planish.to_fx(planish.load(model))
    x = torch.from_numpy(normal(*feed))
    (module(x) ** 2).sum().backward()
    plain = nn.Conv2d(2, 4, 3, groups=2)
    with torch.no_grad():
        plain.weight.copy_(module.fc.weight * torch.from_numpy(mask))
        plain.bias.copy_(module.fc.bias)
    (plain(x) ** 2).sum().backward()
    expected = plain.weight.grad * torch.from_numpy(mask)
    torch.testing.assert_close(module.fc.weight.grad, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_what_was_trained_is_written_back_and_the_mask_stays(name):
    operator, shape, kind, feed = LAYERS[name]
    mask = small_masks(shape, name)
    model = masked_layer(operator, shape, feed, mask_of_weight=mask)
    module = planish.to_fx(planish.load(model))
    (layer,) = [part for part in module.modules() if isinstance(part, kind)]
    with torch.no_grad():
        layer.weight += torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0))
    x = normal(*feed)
    again = planish.from_fx(module)
    found = run_ort(planish.to_model(again), {"x": x})["y"]
    with torch.no_grad():
        assert relative_error(module(torch.from_numpy(x)).numpy(), found) <= 1e-6
    held = {
        t.name: onnx.numpy_helper.to_array(t) for t in planish.to_model(again).graph.initializer
    }
    straight, trained = name == "gemm-straight", layer.weight.detach().numpy()
    np.testing.assert_array_equal(held["w_mask" if straight else "fc.weight_mask"], mask)
    np.testing.assert_array_equal(
        held["w" if straight else "fc.weight"], trained.T if straight else trained
    )


def test_what_was_trained_below_the_mask_is_kept_too():
    operator, shape, _, feed = LAYERS["gemm"]
    model = masked_layer(operator, shape, feed, mask_of_weight=np.zeros((4, 1), np.float32))
    module = planish.to_fx(planish.load(model))
    with torch.no_grad():
        module.fc.weight.fill_(3)
    (mul,) = [node for node in planish.from_fx(module).nodes if node.op == "Mul"]
    assert (read_masked(mul).weight.values == 3).all()


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "transposed2d", "gemm"])
def test_traced_again_it_is_masked_the_same(name):
    operator, shape, _, feed = LAYERS[name]
    mask = small_masks(shape, name)
    off = np.array([0, 0, 1, 0], np.float32)
    model = masked_layer(operator, shape, feed, mask_of_weight=mask, mask_of_bias=off)
    x = normal(*feed)
    module = planish.to_fx(planish.load(model))
    again = planish.trace(module, (torch.from_numpy(x),))
    found = [read_masked(node) for node in again.nodes if node.op == "Mul"]
    assert {m.weight.name: m.mask.name for m in found} == {
        "fc.weight": "fc.weight_mask",
        "fc.bias": "fc.bias_mask",
    }
    result = run_ort(planish.to_model(again), {again.inputs[0].name: x})
    (y,) = result.values()
    assert relative_error(run_ort(model, {"x": x})["y"], y) <= 1e-6


@pytest.fixture
def network():
    """Return convolution, normalization and classifier, both weights and one bias masked."""
    weights = {
        "w": normal(6, 2, 3, 3), "m": zeros_and_ones(6, 2, 3, 3), "g": normal(6), "h": normal(6),
        "mean": normal(6), "var": normal(6) ** 2, "v": normal(5, 6), "n": zeros_and_ones(1, 6),
        "c": normal(5), "k": zeros_and_ones(5),
    }  # fmt: skip
    model = model_using(
        weights,
        """wm = Mul(m, w)
        a = Conv <kernel_shape=[3,3]> (x, wm)
        b = BatchNormalization(a, g, h, mean, var)
        d = Relu(b) e = GlobalAveragePool(d) f = Flatten(e)
        vm = Mul(v, n) cm = Mul(c, k) y = Gemm <transB=1> (f, vm, cm)""",
        "float[2, 2, 6, 6] x",
    )
    names = {
        "w": "conv.weight", "m": "conv.weight_mask", "g": "bn.weight", "h": "bn.bias",
        "mean": "bn.running_mean", "var": "bn.running_var", "v": "fc.weight",
        "n": "fc.weight_mask", "c": "fc.bias", "k": "fc.bias_mask",
    }  # fmt: skip
    return renamed(model, names)


def test_training_moves_no_mask_and_nothing_below_it(network):
    module = planish.to_fx(planish.load(network)).train()
    before = copy.deepcopy(module.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (module(torch.randn(2, 2, 6, 6)) ** 2).sum().backward()
        optimizer.step()
    after = module.state_dict()
    for name in ("conv.weight", "fc.weight", "fc.bias"):
        mask = before[f"{name}_mask"].expand_as(before[name]) > 0
        assert torch.equal(after[f"{name}_mask"], before[f"{name}_mask"])
        assert torch.equal(after[name][~mask], before[name][~mask])
        assert not torch.equal(after[name][mask], before[name][mask])
    assert not torch.equal(after["bn.running_mean"], before["bn.running_mean"])
    again = planish.from_fx(module.eval())
    x = normal(2, 2, 6, 6)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    assert relative_error(expected, run_ort(planish.to_model(again), {"x": x})["y"]) <= 1e-5


def test_a_masked_module_is_copied_and_pickled(network):
    module = planish.to_fx(planish.load(network))
    x = torch.randn(2, 2, 6, 6)
    with torch.no_grad():
        expected = module(x)
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module.fc))):
            if other.__class__.__name__ == "GraphModule":
                assert torch.equal(other(x), expected)
            else:
                assert torch.equal(other.bias_mask, module.fc.bias_mask)


def test_a_state_dict_of_the_unmasked_model_goes_in(network):
    module = planish.to_fx(planish.load(network))
    state = {n: v for n, v in module.state_dict().items() if not n.endswith("_mask")}
    missing = module.load_state_dict(state, strict=False)
    assert missing.unexpected_keys == []
    assert set(missing.missing_keys) == {"conv.weight_mask", "fc.weight_mask", "fc.bias_mask"}


def test_a_masked_weight_that_two_layers_share_stays_shared():
    weights = {"w": normal(3, 3), "m": zeros_and_ones(3, 3)}
    model = model_using(
        weights, "wm = Mul(w, m) a = MatMul(x, wm) r = Relu(a) y = MatMul(r, wm)", "float[2, 3] x"
    )
    model = renamed(model, {"w": "w", "m": "w_mask"})
    module = planish.to_fx(planish.load(model))
    assert len(list(module.parameters())) == 1
    x = normal(2, 3)
    expected = run_ort(model, {"x": x})["y"]
    found = module(torch.from_numpy(x))
    assert relative_error(expected, found.detach().numpy()) <= 1e-6
    (found**2).sum().backward()
    (parameter,) = module.parameters()
    gradient = parameter.grad.numpy().T  # an nn.Linear has the matrix transposed
    assert (gradient[weights["m"] == 0] == 0).all()
    assert (gradient[weights["m"] == 1] != 0).any()


def test_one_mask_of_two_weights_is_written_back():
    weights = {"w": normal(4, 4), "v": normal(4, 4), "m": zeros_and_ones(4, 4)}
    model = model_using(
        weights,
        "wm = Mul(w, m) vm = Mul(v, m) a = Gemm <transB=1> (x, wm) y = Gemm <transB=1> (a, vm)",
        "float[2, 4] x",
    )
    model = renamed(model, {"w": "a.weight", "v": "b.weight", "m": "a.weight_mask"})
    graph = planish.load(model)
    module = planish.to_fx(graph)
    assert {n for n, _ in module.named_parameters()} == {"a.weight", "b.weight"}
    x = normal(2, 4)
    found = run_ort(planish.to_model(planish.from_fx(module)), {"x": x})["y"]
    assert relative_error(run_ort(model, {"x": x})["y"], found) <= 1e-6


def test_a_mask_of_fewer_axes_and_a_masked_sum_keep_the_function():
    weights = {"w": normal(3, 4), "m": zeros_and_ones(4), "b": normal(4), "k": zeros_and_ones(4)}
    model = model_using(
        weights,
        "wm = Mul(w, m) a = MatMul(x, wm) bm = Mul(b, k) y = Add(a, bm)",
        "float[2, 5, 3] x",
    )
    model = renamed(model, {"w": "w", "m": "w_mask", "k": "b_mask"})
    x = normal(2, 5, 3)
    module = planish.to_fx(planish.load(model))
    assert {n for n, _ in module.named_buffers()} == {"w_mask", "b_mask"}
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    assert relative_error(run_ort(model, {"x": x})["y"], found) <= 1e-6


def test_a_product_that_is_no_mask_trains_both_factors():
    graph = graph_of(
        "g (float[2, 3] x) => (float[2, 3] y) { p = Mul(w, scale) y = MatMul(x, p) }",
        {"w": normal(3, 3), "scale": zeros_and_ones(3, 3)},
    )
    names = {n for n, _ in planish.to_fx(graph).named_parameters()}
    assert names == {"w", "scale"}
