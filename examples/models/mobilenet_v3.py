"""MobileNetV3-Small.

Andrew Howard, Mark Sandler, Grace Chu, Liang-Chieh Chen, Bo Chen, Mingxing Tan, Weijun Wang,
Yukun Zhu, Ruoming Pang, Vijay Vasudevan, Quoc V. Le, Hartwig Adam, "Searching for MobileNetV3",
ICCV 2019.

Input: N x 3 x 224 x 224 (any size from 32 up). Output: N x 1000 logits.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ._scaling import scaled

# Kernel, hidden channels, output channels, squeeze-and-excite, HardSwish (else ReLU), stride
# (table 2 of the paper).
Layers = Sequence[tuple[int, int, int, bool, bool, int]]
LAYERS: Layers = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


def _conv_bn(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    )


class Gate(nn.Module):
    """Squeeze-and-excite with a hard sigmoid; N x C x H x W in and out."""

    def __init__(self, channels: int) -> None:
        """Create the gate with a quarter of the channels in between."""
        super().__init__()
        squeezed = scaled(channels, 0.25)
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to the same shape."""
        out: Tensor = x * self.scale(x)
        return out


class Bottleneck(nn.Module):
    """Expand, depthwise, gate, project: N x inputs x H x W to N x outputs x H/s x W/s."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        kernel: int,
        stride: int,
        gated: bool,
        hard_swish: bool,
    ) -> None:
        """Create the layers; the residual needs stride 1 and equal channel counts."""
        super().__init__()
        layers: list[nn.Module] = []
        activation = nn.Hardswish if hard_swish else nn.ReLU
        if hidden != inputs:
            layers += [_conv_bn(inputs, hidden, 1), activation()]
        layers += [_conv_bn(hidden, hidden, kernel, stride, groups=hidden), activation()]
        if gated:
            layers.append(Gate(hidden))
        layers.append(_conv_bn(hidden, outputs, 1))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x outputs x H/stride x W/stride."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class MobileNetV3Small(nn.Module):
    """Gated inverted-residual classifier: N x 3 x H x W to N x classes."""

    def __init__(self, width: float = 1.0, classes: int = 1000, rows: Layers = LAYERS) -> None:
        """Create the network with channel counts scaled by ``width``."""
        super().__init__()
        channels = scaled(16, width)
        layers: list[nn.Module] = [_conv_bn(3, channels, 3, 2), nn.Hardswish()]
        for kernel, hidden, outputs, gated, hard_swish, stride in rows:
            into, channels = channels, scaled(outputs, width)
            layers.append(
                Bottleneck(
                    into,
                    scaled(hidden, width),
                    channels,
                    kernel=kernel,
                    stride=stride,
                    gated=gated,
                    hard_swish=hard_swish,
                )
            )
        last = scaled(576, width)
        layers += [_conv_bn(channels, last, 1), nn.Hardswish()]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        wide = scaled(1024, width)
        self.classifier = nn.Sequential(
            nn.Linear(last, wide), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(wide, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x classes."""
        x = self.pool(self.features(x)).flatten(1)
        out: Tensor = self.classifier(x)
        return out
