"""MobileNetV2.

Mark Sandler, Andrew Howard, Menglong Zhu, Andrey Zhmoginov, Liang-Chieh Chen,
"MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.

Input: N x 3 x 224 x 224 (any size from 32 up). Output: N x 1000 logits.
"""

from torch import Tensor, nn

from ._scaling import Stages, scaled

# Expansion factor, output channels, repeats, first stride (table 2 of the paper).
STAGES: Stages = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _conv_bn_relu6(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expand, depthwise 3x3, linear projection: N x inputs x H x W to N x outputs x H/s x W/s."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        """Create the layers; the residual needs stride 1 and equal channel counts."""
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_bn_relu6(inputs, hidden, 1))
        layers.append(_conv_bn_relu6(hidden, hidden, 3, stride, groups=hidden))
        layers.append(nn.Conv2d(hidden, outputs, 1, bias=False))
        layers.append(nn.BatchNorm2d(outputs))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x outputs x H/stride x W/stride."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Inverted-residual classifier: N x 3 x H x W to N x classes."""

    def __init__(self, width: float = 1.0, classes: int = 1000, stages: Stages = STAGES) -> None:
        """Create the network with channel counts scaled by ``width``."""
        super().__init__()
        channels = scaled(32, width)
        layers: list[nn.Module] = [_conv_bn_relu6(3, channels, 3, 2)]
        for expansion, planes, repeats, first_stride in stages:
            outputs = scaled(planes, width)
            for position in range(repeats):
                stride = first_stride if position == 0 else 1
                layers.append(InvertedResidual(channels, outputs, stride, expansion))
                channels = outputs
        last = scaled(1280, width)
        layers.append(_conv_bn_relu6(channels, last, 1))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x classes."""
        x = self.pool(self.features(x)).flatten(1)
        out: Tensor = self.classifier(x)
        return out


def mobilenet_v2(width: float = 1.0) -> MobileNetV2:
    """Build MobileNetV2: N x 3 x H x W to N x 1000."""
    return MobileNetV2(width)
