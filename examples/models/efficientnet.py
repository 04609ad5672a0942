"""EfficientNet-B0.

Mingxing Tan, Quoc V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks", ICML 2019. Stochastic depth, which only acts during training, is left out.

Input: N x 3 x 224 x 224 (any size from 32 up). Output: N x 1000 logits.
"""

from torch import Tensor, nn

from ._scaling import Stages, scaled

# Expansion factor, kernel, first stride, output channels, repeats (table 1 of the paper).
STAGES: Stages = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_EPSILON = 1e-3


def _conv_bn_silu(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(outputs, eps=_EPSILON),
        nn.SiLU(inplace=True),
    )


class SqueezeExcite(nn.Module):
    """Channel gate from global context; N x C x H x W in and out."""

    def __init__(self, channels: int, squeezed: int) -> None:
        """Create the gate with ``squeezed`` hidden channels."""
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.activation = nn.SiLU(inplace=True)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to the same shape."""
        scale = self.activation(self.reduce(self.pool(x)))
        out: Tensor = x * self.gate(self.expand(scale))
        return out


class MBConv(nn.Module):
    """Gated inverted bottleneck: N x inputs x H x W to N x outputs x H/s x W/s."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        """Create the layers; the residual needs stride 1 and equal channel counts."""
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_bn_silu(inputs, hidden, 1))
        layers.append(_conv_bn_silu(hidden, hidden, kernel, stride, groups=hidden))
        layers.append(SqueezeExcite(hidden, max(1, inputs // 4)))
        layers.append(nn.Conv2d(hidden, outputs, 1, bias=False))
        layers.append(nn.BatchNorm2d(outputs, eps=_EPSILON))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x outputs x H/stride x W/stride."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class EfficientNet(nn.Module):
    """MBConv classifier: N x 3 x H x W to N x classes."""

    def __init__(self, width: float = 1.0, classes: int = 1000, stages: Stages = STAGES) -> None:
        """Create the network with channel counts scaled by ``width``."""
        super().__init__()
        channels = scaled(32, width)
        layers: list[nn.Module] = [_conv_bn_silu(3, channels, 3, 2)]
        for expansion, kernel, first_stride, planes, repeats in stages:
            outputs = scaled(planes, width)
            for position in range(repeats):
                stride = first_stride if position == 0 else 1
                layers.append(MBConv(channels, outputs, kernel, stride, expansion))
                channels = outputs
        last = scaled(1280, width)
        layers.append(_conv_bn_silu(channels, last, 1))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x classes."""
        x = self.pool(self.features(x)).flatten(1)
        out: Tensor = self.classifier(x)
        return out


def efficientnet_b0(width: float = 1.0) -> EfficientNet:
    """Build EfficientNet-B0: N x 3 x H x W to N x 1000."""
    return EfficientNet(width)
