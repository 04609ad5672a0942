"""DenseNet-121.

Gao Huang, Zhuang Liu, Laurens van der Maaten, Kilian Q. Weinberger, "Densely Connected
Convolutional Networks", CVPR 2017.

Input: N x 3 x 224 x 224 (any size from 32 up). Output: N x 1000 logits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._scaling import scaled


class DenseLayer(nn.Module):
    """BN-ReLU-1x1-BN-ReLU-3x3: N x inputs x H x W to N x growth x H x W."""

    def __init__(self, inputs: int, growth: int) -> None:
        """Create the layer with a bottleneck of ``4 * growth`` channels."""
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x growth x H x W."""
        x = self.conv1(functional.relu(self.norm1(x)))
        out: Tensor = self.conv2(functional.relu(self.norm2(x)))
        return out


class DenseBlock(nn.Module):
    """Layers that each see every earlier output: adds ``depth * growth`` channels."""

    def __init__(self, inputs: int, depth: int, growth: int) -> None:
        """Create ``depth`` layers."""
        super().__init__()
        self.layers = nn.ModuleList(
            DenseLayer(inputs + index * growth, growth) for index in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x (inputs + depth * growth) x H x W."""
        features = [x]
        for layer in self.layers:
            features.append(layer(torch.cat(features, dim=1)))
        return torch.cat(features, dim=1)


class Transition(nn.Module):
    """BN-ReLU-1x1 and average pooling: N x inputs x H x W to N x outputs x H/2 x W/2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Create the transition."""
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pool = nn.AvgPool2d(2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x outputs x H/2 x W/2."""
        out: Tensor = self.pool(self.conv(functional.relu(self.norm(x))))
        return out


class DenseNet(nn.Module):
    """Densely connected classifier: N x 3 x H x W to N x classes."""

    def __init__(self, depths: Sequence[int], width: float = 1.0, classes: int = 1000) -> None:
        """Create the network with the growth rate and stem scaled by ``width``."""
        super().__init__()
        growth, channels = scaled(32, width), scaled(64, width)
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        layers: list[nn.Module] = []
        for index, depth in enumerate(depths):
            if index > 0:
                layers.append(Transition(channels, channels // 2))
                channels //= 2
            layers.append(DenseBlock(channels, depth, growth))
            channels += depth * growth
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x classes."""
        x = functional.relu(self.norm(self.blocks(self.stem(x))))
        x = functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        out: Tensor = self.classifier(x)
        return out


def densenet121(width: float = 1.0) -> DenseNet:
    """Build DenseNet-121: N x 3 x H x W to N x 1000."""
    return DenseNet((6, 12, 24, 16), width)
