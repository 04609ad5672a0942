"""GoogLeNet (Inception v1) with batch normalization and no auxiliary heads.

Christian Szegedy, Wei Liu, Yangqing Jia, Pierre Sermanet, Scott Reed, Dragomir Anguelov,
Dumitru Erhan, Vincent Vanhoucke, Andrew Rabinovich, "Going Deeper with Convolutions",
CVPR 2015. Batch normalization (Sergey Ioffe, Christian Szegedy, ICML 2015) replaces the
local response normalization. As in the common batch-normalized variant with 6.6 million
parameters, the "5x5" branch uses a 3x3 kernel; the paper's 5x5 would give 7.0 million.

Input: N x 3 x 224 x 224 (any size from 32 up). Output: N x 1000 logits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._scaling import Stages, scaled

# 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection (table 1 of the paper).
STAGE3 = ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64))
STAGE4 = (
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
)
STAGE5 = ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))


def _conv_bn_relu(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
        nn.ReLU(inplace=True),
    )


class Inception(nn.Module):
    """Four parallel branches joined on channels: N x inputs x H x W to N x outputs x H x W."""

    def __init__(self, inputs: int, planes: tuple[int, ...]) -> None:
        """Create the branches from one row of the paper's table 1."""
        super().__init__()
        direct, reduce3, conv3, reduce5, conv5, projection = planes
        self.outputs = direct + conv3 + conv5 + projection
        self.branch1 = _conv_bn_relu(inputs, direct, 1)
        self.branch2 = nn.Sequential(
            _conv_bn_relu(inputs, reduce3, 1), _conv_bn_relu(reduce3, conv3, 3)
        )
        self.branch3 = nn.Sequential(
            _conv_bn_relu(inputs, reduce5, 1), _conv_bn_relu(reduce5, conv5, 3)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            _conv_bn_relu(inputs, projection, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x outputs x H x W."""
        branches = (self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x))
        return torch.cat(branches, dim=1)


class GoogLeNet(nn.Module):
    """Inception classifier: N x 3 x H x W to N x classes."""

    def __init__(
        self,
        width: float = 1.0,
        classes: int = 1000,
        stages: Sequence[Stages] = (STAGE3, STAGE4, STAGE5),
    ) -> None:
        """Create the network with channel counts scaled by ``width``."""
        super().__init__()
        stem, second = scaled(64, width), scaled(192, width)
        layers: list[nn.Module] = [
            _conv_bn_relu(3, stem, 7, 2),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            _conv_bn_relu(stem, stem, 1),
            _conv_bn_relu(stem, second, 3),
        ]
        channels = second
        for stage in stages:
            layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            for planes in stage:
                block = Inception(channels, tuple(scaled(count, width) for count in planes))
                layers.append(block)
                channels = block.outputs
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x classes."""
        x = torch.flatten(self.pool(self.features(x)), 1)
        out: Tensor = self.fc(self.dropout(x))
        return out


def googlenet(width: float = 1.0) -> GoogLeNet:
    """Build GoogLeNet with batch normalization: N x 3 x H x W to N x 1000."""
    return GoogLeNet(width)
