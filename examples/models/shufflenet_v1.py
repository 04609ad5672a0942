"""ShuffleNet x1.0 with 3 groups.

Xiangyu Zhang, Xinyu Zhou, Mengxiao Lin, Jian Sun, "ShuffleNet: An Extremely Efficient
Convolutional Neural Network for Mobile Devices", CVPR 2018.

Input: N x 3 x 224 x 224 (any size from 32 up). Output: N x 1000 logits.
"""

import torch
from torch import Tensor, nn

from ._scaling import Stages, scaled
from .shufflenet_v2 import channel_shuffle

_GROUPS = 3
STAGES: Stages = ((240, 4), (480, 8), (960, 4))
# A quarter of a unit's channels must fall into equal groups.
_DIVISOR = 8 * _GROUPS


def _grouped(inputs: int, outputs: int, groups: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False), nn.BatchNorm2d(outputs)]


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1, beside a shortcut.

    With stride 2 the shortcut is pooled, and concatenated instead of added.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, first_groups: int) -> None:
        """Create a unit; with stride 2 the branch gives what the shortcut does not."""
        super().__init__()
        middle = outputs // 4
        branch = outputs - inputs if stride == 2 else outputs
        self.stride = stride
        self.reduce = nn.Sequential(*_grouped(inputs, middle, first_groups), nn.ReLU(inplace=True))
        self.depthwise = nn.Sequential(
            nn.Conv2d(middle, middle, 3, stride=stride, padding=1, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
        )
        self.expand = nn.Sequential(*_grouped(middle, branch, _GROUPS))
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x outputs x H/stride x W/stride."""
        y = channel_shuffle(self.reduce(x), _GROUPS)
        y = self.expand(self.depthwise(y))
        if self.stride == 2:
            return torch.relu(torch.cat((self.pool(x), y), dim=1))
        return torch.relu(x + y)


class ShuffleNetV1(nn.Module):
    """Classifier of grouped and shuffled channels: N x 3 x H x W to N x classes."""

    def __init__(self, width: float = 1.0, classes: int = 1000, stages: Stages = STAGES) -> None:
        """Create the network with channel counts scaled by ``width``."""
        super().__init__()
        channels = scaled(24, width, _DIVISOR // 2)
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        units: list[nn.Module] = []
        for planes, repeats in stages:
            outputs = scaled(planes, width, _DIVISOR)
            # The first unit's input has too few channels to be grouped.
            units.append(ShuffleUnit(channels, outputs, 2, _GROUPS if units else 1))
            units.extend(ShuffleUnit(outputs, outputs, 1, _GROUPS) for _ in range(repeats - 1))
            channels = outputs
        self.units = nn.Sequential(*units)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x classes."""
        x = self.units(self.stem(x))
        out: Tensor = self.fc(x.mean(dim=(2, 3)))
        return out


def shufflenet_v1(width: float = 1.0) -> ShuffleNetV1:
    """Build ShuffleNet x1.0 with 3 groups: N x 3 x H x W to N x 1000."""
    return ShuffleNetV1(width)
