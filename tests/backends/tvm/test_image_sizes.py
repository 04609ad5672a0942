"""Networks on images of many sizes, down to features of one position, each verified.

On 32 x 32 pixels the last layers of a classifier see one position, and so do a detector's last
heads on any image: what is padded there is nearly all pad.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import planish
from planish.passes.trust.rounding import measure_rounding

from examples import models
from tests.helpers import relative_error

pytest.importorskip("tvm")

TOLERANCE = 1e-4
SIZES = {(32, 32): 1, (64, 64): 3, (97, 131): 3, (224, 224): 1}  # height, width: batch
CLASSIFIERS = (
    "resnet18", "resnet50_preact", "mobilenet_v2", "shufflenet_v1", "shufflenet_v2", "googlenet",
    "densenet121", "efficientnet_b0", "repvgg_a0",
)  # fmt: skip


class Inverted(nn.Module):
    """Expand, filter each channel, project; add where nothing changed size."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        wide = 4 * ins
        self.adds = ins == outs and stride == 1
        self.layers = nn.Sequential(
            nn.Conv2d(ins, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide),
            nn.ReLU6(), nn.Conv2d(wide, outs, 1, bias=False), nn.BatchNorm2d(outs),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.layers(x)
        return x + made if self.adds else made


class Detector(nn.Module):
    """Boxes and scores from feature maps down to one position and a level beyond (SSD Lite)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 12, 20, 20, 24, 24, 28, 28, 28)
        steps = zip(widths, widths[1:], (2, 2, 1, 2, 2, 2, 2, 2), strict=False)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU6())
        self.levels = nn.ModuleList(Inverted(*step) for step in steps)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, w, 3, 1, 1, groups=w), nn.ReLU6(), nn.Conv2d(w, 24, 1))
            for w in widths[4:]
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, maps = self.stem(x), []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        found = [
            head(each).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 8)
            for head, each in zip(self.heads, maps[3:], strict=True)
        ]
        boxes, scores = torch.cat(found, 1).split([4, 4], 2)
        return boxes, scores.softmax(2)


def check(module: nn.Module, size: tuple[int, int], batch: int) -> None:
    torch.manual_seed(0)
    module.eval()
    inputs = torch.randn(batch, 3, *size)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        graph = planish.trace(module, (inputs,))
        wanted = module(inputs)
    compiled = planish.lower(graph, backend="tvm", threads=2, verify=True)
    assert compiled.verdict.startswith("verified"), compiled.verdict
    feeds = {graph.inputs[0].name: inputs.numpy()}
    found = compiled(feeds)
    whole = wanted if isinstance(wanted, tuple) else (wanted,)
    expected = {name: each.numpy() for name, each in zip(found, whole, strict=True)}
    worst = max(relative_error(values, found[name]) for name, values in expected.items())
    assert all(np.isfinite(values).all() for values in found.values())
    if worst > TOLERANCE:
        assert worst <= 10 * measure_rounding(graph, [feeds], [expected], seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_detector(size) -> None:
    torch.manual_seed(0)
    check(Detector(), size, SIZES[size])


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_classifier(name, size) -> None:
    check(models.build(name, width=0.25, size=size[0], short=True), size, SIZES[size])
