"""The example networks: graph -> module -> graph, traced and optimized."""

from __future__ import annotations

import copy

import pytest
import torch

import planish

from examples import models
from tests.helpers import relative_error, run_ort
from tests.networks import BATCH, networks

# Transposed convolutions go both ways in test_operators.py and test_masks.py.
_QUICK = {"audio_cnn"}
# ONNX Runtime and PyTorch add in different orders, which deep networks amplify.
ROUNDING = 1e-4


@pytest.mark.parametrize("network", networks(slow=set(models.NAMES) - _QUICK))
def test_example_network(network):
    source, traced = copy.deepcopy(network.module()), network.traced()
    exact = planish.Pipeline.parse("exact").run(traced, verify="off").graph
    inputs, other = (network.inputs(2),), (network.inputs(3, seed=1),)
    expected = _in_double(source, other)
    for graph, tolerance in ((traced, 1e-6), (exact, 1e-5)):
        module = planish.to_fx(graph)
        if graph is traced:
            module.load_state_dict(source.state_dict(), strict=True)
            source.load_state_dict(module.state_dict(), strict=True)
        for want, got in zip(expected, _in_double(module, other), strict=True):
            assert relative_error(want.numpy(), got.numpy()) <= tolerance
        _assert_gradients_reach_all(module, other)
        with torch.no_grad():
            found = _tuple(module(*other))
        again = planish.trace(module, inputs, dynamic_shapes=({0: BATCH},))
        if network.name == "video_cnn":  # the exporter gives Conv3d a bias that no runtime accepts
            again = planish.Pipeline.parse("exact").run(again, verify="off").graph
        model = planish.to_model(again, portable=True)
        results = run_ort(model, {again.inputs[0].name: other[0].numpy()})
        for want, got in zip(found, results.values(), strict=True):
            assert relative_error(want.numpy(), got) <= ROUNDING


def _in_double(module, inputs):
    """Return the outputs computed in float64, where a deep network does not amplify rounding."""
    try:
        with torch.no_grad():
            return _tuple(module.double()(*[x.double() for x in inputs]))
    finally:
        module.float()


def _assert_gradients_reach_all(module, inputs):
    sum(y.square().mean() for y in _tuple(module(*inputs))).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def _tuple(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


class StandardizedConvolution(torch.nn.Conv2d):
    """Weights of mean 0 and variance 1, as in ResNetV2 and NFNet: by a normalization of them."""

    def forward(self, x):
        rows = self.weight.reshape(1, self.out_channels, -1)
        weight = torch.nn.functional.batch_norm(rows, None, None, None, None, True, 0.0, 1e-6)
        weight = weight.reshape_as(self.weight)
        return torch.nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)


@pytest.mark.parametrize("pipeline", [None, "exact"])
def test_standardized_weights_train(pipeline):
    network = torch.nn.Sequential(
        StandardizedConvolution(3, 6, 3), torch.nn.ReLU(), StandardizedConvolution(6, 4, 3)
    ).eval()
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    graph = planish.trace(network, (x,))
    if pipeline is not None:
        graph = planish.Pipeline.parse(pipeline).run(graph).graph
    module = planish.to_fx(graph)
    found, expected = module(x), network(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    found.square().mean().backward()
    expected.square().mean().backward()
    trained = [p.grad for p in module.parameters() if p.dim() > 1]
    assert all(grad is not None and grad.isfinite().all() for grad in trained)
    if pipeline is None:
        for own, wanted in zip(
            trained, (network[0].weight.grad, network[2].weight.grad), strict=True
        ):
            torch.testing.assert_close(own, wanted, rtol=1e-3, atol=1e-4)
