"""RepVGG-A0 in its training form, before the branches are merged.

Xiaohan Ding, Xiangyu Zhang, Ningning Ma, Jungong Han, Guiguang Ding, Jian Sun, "RepVGG:
Making VGG-style ConvNets Great Again", CVPR 2021.

Input: N x 3 x 224 x 224 (any size from 32 up). Output: N x 1000 logits.
"""

from torch import Tensor, nn

from ._scaling import Stages, scaled

# Channels and depth of each stage of A0 (the width multipliers 0.75 and 2.5 applied).
STAGES: Stages = ((48, 1), (48, 2), (96, 4), (192, 14), (1280, 1))


class RepVGGBlock(nn.Module):
    """Sum of 3x3, 1x1 and identity branches, each with BN: N x inputs x H x W to N x outputs."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Create the branches; the identity needs stride 1 and equal channel counts."""
        super().__init__()
        self.dense = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.pointwise = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False),
            nn.BatchNorm2d(outputs),
        )
        has_identity = stride == 1 and inputs == outputs
        self.identity = nn.BatchNorm2d(outputs) if has_identity else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map N x inputs x H x W to N x outputs x H/stride x W/stride."""
        y = self.dense(x) + self.pointwise(x)
        if self.identity is not None:
            y = y + self.identity(x)
        out: Tensor = self.relu(y)
        return out


class RepVGG(nn.Module):
    """Multi-branch VGG-style classifier: N x 3 x H x W to N x classes."""

    def __init__(self, width: float = 1.0, classes: int = 1000, stages: Stages = STAGES) -> None:
        """Create the network with channel counts scaled by ``width``."""
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 3
        for planes, depth in stages:
            outputs = scaled(planes, width)
            for position in range(depth):
                blocks.append(RepVGGBlock(channels, outputs, 2 if position == 0 else 1))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x classes."""
        x = self.pool(self.blocks(x)).flatten(1)
        out: Tensor = self.fc(x)
        return out


def repvgg_a0(width: float = 1.0) -> RepVGG:
    """Build RepVGG-A0 in training form: N x 3 x H x W to N x 1000."""
    return RepVGG(width)
