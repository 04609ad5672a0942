"""Files of the older exporter, whose weights have counted names, become modules that train."""

from __future__ import annotations

import io
import warnings

import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

import planish

from tests.helpers import relative_error, run_ort


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x):
        return functional.hardswish(x + self.bn(self.conv(x)))


def exported(weights_in_nodes):
    torch.manual_seed(0)
    stem = (nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    module = nn.Sequential(*stem, Block(), *head).eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):  # the exporter makes one of constants that are equal
            nn.init.normal_(part.bias)
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(2, 3, 12, 12),),
            data,
            dynamo=False,
            opset_version=13,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )
    model = onnx.load_from_string(data.getvalue())
    if weights_in_nodes:
        model.producer_name = "another"
        held = [
            onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
            for tensor in model.graph.initializer
        ]
        held.extend(model.graph.node)
        del model.graph.initializer[:], model.graph.node[:]
        model.graph.node.extend(held)
    return model


@pytest.mark.parametrize("weights_in_nodes", [False, True])
def test_it_trains_and_is_written_back(weights_in_nodes):
    model = exported(weights_in_nodes)
    if not weights_in_nodes:
        assert any(tensor.name.startswith("onnx::Conv") for tensor in model.graph.initializer)
    module = planish.to_fx(planish.load(model))
    x, labels = torch.randn(32, 3, 12, 12), torch.arange(32) % 4
    (expected,) = run_ort(model, {"x": x.numpy()}).values()
    with torch.no_grad():
        assert relative_error(expected, module(x).numpy()) <= 1e-5
    assert len(list(module.parameters())) == 6  # two convolutions and a linear layer, with biases
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = functional.cross_entropy(module(x), labels)
        loss.backward()
        assert all(p.grad is not None and p.grad.any() for p in module.parameters())
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]
    graph = planish.from_fx(module)
    (found,) = run_ort(planish.to_model(graph), {"x": x.numpy()}).values()
    with torch.no_grad():
        assert relative_error(module(x).numpy(), found) <= 1e-5
