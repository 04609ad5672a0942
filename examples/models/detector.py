"""One-stage object detector with three scales.

A small network after Joseph Redmon, Ali Farhadi, "YOLOv3: An Incremental Improvement", arXiv
2018, whose top-down path follows Tsung-Yi Lin, Piotr Dollar, Ross Girshick, Kaiming He,
Bharath Hariharan, Serge Belongie, "Feature Pyramid Networks for Object Detection", CVPR 2017.

Input: N x 3 x 320 x 320 (any multiple of 32). Output: three tensors at strides 8, 16 and 32,
each N x 75 x H/stride x W/stride (3 anchors times 4 box, 1 objectness and 20 class values).
"""

import torch
from torch import Tensor, nn

from ._scaling import scaled


def _conv_bn_leaky(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1, inplace=True),
    )


class ResidualBlock(nn.Module):
    """1x1 then 3x3 convolution added to the input; N x C x H x W in and out."""

    def __init__(self, channels: int) -> None:
        """Create the two convolutions, with half the channels between them."""
        super().__init__()
        self.reduce = _conv_bn_leaky(channels, channels // 2, 1)
        self.expand = _conv_bn_leaky(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to the same shape."""
        out: Tensor = x + self.expand(self.reduce(x))
        return out


class TopDown(nn.Module):
    """Project, upsample by two, join a finer map: gives N x outputs x 2H x 2W."""

    def __init__(self, inputs: int, lateral: int, outputs: int) -> None:
        """Create the block for a finer map of ``lateral`` channels."""
        super().__init__()
        self.project = _conv_bn_leaky(inputs, outputs, 1)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.merge = _conv_bn_leaky(outputs + lateral, outputs, 3)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map N x inputs x H x W and N x lateral x 2H x 2W to N x outputs x 2H x 2W."""
        coarse = self.upsample(self.project(coarse))
        out: Tensor = self.merge(torch.cat((coarse, fine), dim=1))
        return out


def _stage(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    blocks = (ResidualBlock(outputs) for _ in range(depth))
    return nn.Sequential(_conv_bn_leaky(inputs, outputs, 3, 2), *blocks)


def _head(inputs: int, predictions: int) -> nn.Sequential:
    return nn.Sequential(
        _conv_bn_leaky(inputs, 2 * inputs, 3), nn.Conv2d(2 * inputs, predictions, 1)
    )


class Detector(nn.Module):
    """Backbone, top-down pyramid and three heads: N x 3 x H x W to three prediction maps."""

    def __init__(
        self,
        width: float = 1.0,
        classes: int = 20,
        anchors: int = 3,
        depths: tuple[int, int, int, int] = (1, 2, 2, 1),
    ) -> None:
        """Create the network with channel counts scaled by ``width``."""
        super().__init__()
        stem, c2, c3, c4, c5 = (scaled(count, width) for count in (32, 64, 128, 256, 512))
        predictions = anchors * (5 + classes)
        self.stem = nn.Sequential(_conv_bn_leaky(3, stem, 3, 2), _stage(stem, c2, depths[0]))
        self.stage3 = _stage(c2, c3, depths[1])
        self.stage4 = _stage(c3, c4, depths[2])
        self.stage5 = _stage(c4, c5, depths[3])
        self.neck4 = TopDown(c5, c4, c4)
        self.neck3 = TopDown(c4, c3, c3)
        self.head3 = _head(c3, predictions)
        self.head4 = _head(c4, predictions)
        self.head5 = _head(c5, predictions)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map N x 3 x H x W to predictions at strides 8, 16 and 32."""
        p3 = self.stage3(self.stem(x))
        p4 = self.stage4(p3)
        p5 = self.stage5(p4)
        p4 = self.neck4(p5, p4)
        p3 = self.neck3(p4, p3)
        return self.head3(p3), self.head4(p4), self.head5(p5)


def detector(width: float = 1.0) -> Detector:
    """Build the detector: N x 3 x H x W to three maps of 75 channels."""
    return Detector(width)
