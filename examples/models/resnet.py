"""ResNet-18 and ResNet-50.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun, "Deep Residual Learning for Image
Recognition", CVPR 2016. The bottleneck strides in its 3x3 convolution.

Input: N x 3 x 224 x 224 (any size from 32 up). Output: N x 1000 logits.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ._scaling import scaled


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False),
        nn.BatchNorm2d(outputs),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: N x inputs x H x W to N x planes x H/s x W/s."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        """Create the two convolutions, and a projected shortcut if the shape changes."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x planes x H/stride x W/stride."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: Tensor = self.relu(y + self.downsample(x))
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; the output has ``4 * planes`` channels."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        """Create the three convolutions, and a projected shortcut if the shape changes."""
        super().__init__()
        outputs = planes * self.expansion
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x (4 * planes) x H/stride x W/stride."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        out: Tensor = self.relu(y + self.downsample(x))
        return out


class ResNet(nn.Module):
    """Residual classifier over four stages: N x 3 x H x W to N x classes."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        width: float = 1.0,
        classes: int = 1000,
    ) -> None:
        """Create ``len(depths)`` stages whose planes double from ``64 * width``."""
        super().__init__()
        channels = scaled(64, width)
        self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stages: list[nn.Module] = []
        for index, depth in enumerate(depths):
            planes = scaled(64 * 2**index, width)
            blocks: list[nn.Module] = []
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(block(channels, planes, stride))
                channels = planes * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x classes."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.avgpool(self.stages(x))
        x = x.view(x.size(0), -1)
        out: Tensor = self.fc(x)
        return out


def resnet18(width: float = 1.0) -> ResNet:
    """Build ResNet-18: N x 3 x H x W to N x 1000."""
    return ResNet(BasicBlock, (2, 2, 2, 2), width)


def resnet50(width: float = 1.0) -> ResNet:
    """Build ResNet-50: N x 3 x H x W to N x 1000."""
    return ResNet(Bottleneck, (3, 4, 6, 3), width)
