"""ShuffleNetV2 x1.0.

Ningning Ma, Xiangyu Zhang, Hai-Tao Zheng, Jian Sun, "ShuffleNet V2: Practical Guidelines
for Efficient CNN Architecture Design", ECCV 2018.

Input: N x 3 x 224 x 224 (any size from 32 up). Output: N x 1000 logits.
"""

import torch
from torch import Tensor, nn

from ._scaling import Stages, scaled

STAGES: Stages = ((116, 4), (232, 8), (464, 4))


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave the channels of ``groups`` equal groups; N x C x H x W in and out."""
    batch, channels, height, width = x.size()
    x = x.view(batch, groups, channels // groups, height, width)
    x = x.transpose(1, 2).contiguous()
    return x.view(batch, channels, height, width)


def _pointwise(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
    ]


class BasicUnit(nn.Module):
    """Stride-1 unit: half the channels pass through; N x C x H x W in and out."""

    def __init__(self, channels: int) -> None:
        """Create the branch that works on half of an even number of channels."""
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            *_pointwise(half, half), *_depthwise(half, 1), *_pointwise(half, half)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to the same shape."""
        kept, worked = x.chunk(2, dim=1)
        return channel_shuffle(torch.cat((kept, self.branch(worked)), dim=1), 2)


class DownsamplingUnit(nn.Module):
    """Stride-2 unit: N x inputs x H x W to N x outputs x H/2 x W/2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Create two branches that each give half of the outputs."""
        super().__init__()
        half = outputs // 2
        self.shortcut = nn.Sequential(*_depthwise(inputs, 2), *_pointwise(inputs, half))
        self.branch = nn.Sequential(
            *_pointwise(inputs, half), *_depthwise(half, 2), *_pointwise(half, half)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x outputs x H/2 x W/2."""
        return channel_shuffle(torch.cat((self.shortcut(x), self.branch(x)), dim=1), 2)


class ShuffleNetV2(nn.Module):
    """Channel-shuffling classifier: N x 3 x H x W to N x classes."""

    def __init__(self, width: float = 1.0, classes: int = 1000, stages: Stages = STAGES) -> None:
        """Create the network with channel counts scaled by ``width``."""
        super().__init__()
        channels = scaled(24, width)
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        units: list[nn.Module] = []
        for planes, repeats in stages:
            outputs = scaled(planes, width)
            units.append(DownsamplingUnit(channels, outputs))
            units.extend(BasicUnit(outputs) for _ in range(repeats - 1))
            channels = outputs
        self.units = nn.Sequential(*units)
        last = scaled(1024, width)
        self.head = nn.Sequential(*_pointwise(channels, last))
        self.fc = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x classes."""
        x = self.head(self.units(self.stem(x)))
        out: Tensor = self.fc(x.mean(dim=(2, 3)))
        return out


def shufflenet_v2(width: float = 1.0) -> ShuffleNetV2:
    """Build ShuffleNetV2 x1.0: N x 3 x H x W to N x 1000."""
    return ShuffleNetV2(width)
