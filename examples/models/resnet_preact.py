"""Pre-activation ResNet-50.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun, "Identity Mappings in Deep Residual Networks",
ECCV 2016. Normalization and activation stand before every convolution, so the shortcut carries the
sum itself; the bottleneck strides in its 3x3 convolution. The sum is read by both a normalization
and the next sum: most of the normalizations have no convolution of their own to fold into.

Input: N x 3 x 224 x 224 (any size from 32 up). Output: N x 1000 logits.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ._scaling import scaled


class PreActivationBottleneck(nn.Module):
    """BN-ReLU before 1x1, 3x3 and 1x1 convolutions; the output has ``4 * planes`` channels."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        """Create the three convolutions, and a projected shortcut if the shape changes."""
        super().__init__()
        outputs = planes * self.expansion
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.relu = nn.ReLU()
        projected = stride != 1 or inputs != outputs
        self.shortcut = (
            nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if projected else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x (4 * planes) x H/stride x W/stride.

        A projection reads the activated input, an identity the input itself (section 3.1).
        """
        active = self.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        y = self.conv1(active)
        y = self.conv2(self.relu(self.bn2(y)))
        y = self.conv3(self.relu(self.bn3(y)))
        out: Tensor = y + shortcut
        return out


class PreActivationResNet(nn.Module):
    """Residual classifier over four stages: N x 3 x H x W to N x classes."""

    def __init__(self, depths: Sequence[int], width: float = 1.0, classes: int = 1000) -> None:
        """Create ``len(depths)`` stages whose planes double from ``64 * width``."""
        super().__init__()
        channels = scaled(64, width)
        self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stages: list[nn.Module] = []
        for index, depth in enumerate(depths):
            planes = scaled(64 * 2**index, width)
            blocks: list[nn.Module] = []
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(PreActivationBottleneck(channels, planes, stride))
                channels = planes * PreActivationBottleneck.expansion
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x classes."""
        x = self.stages(self.maxpool(self.conv1(x)))
        x = self.avgpool(self.relu(self.norm(x)))
        out: Tensor = self.fc(x.flatten(1))
        return out


def resnet50_preact(width: float = 1.0) -> PreActivationResNet:
    """Build the pre-activation ResNet-50: N x 3 x H x W to N x 1000."""
    return PreActivationResNet((3, 4, 6, 3), width)
