"""U-Net for segmentation.

Olaf Ronneberger, Philipp Fischer, Thomas Brox, "U-Net: Convolutional Networks for Biomedical
Image Segmentation", MICCAI 2015. Convolutions are padded and followed by batch
normalization, and so are the transposed convolutions that upsample.

Input: N x 3 x 128 x 128 (any multiple of 16). Output: N x 2 x H x W logits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._scaling import scaled

CHANNELS = (64, 128, 256, 512, 1024)


def _double_conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UpBlock(nn.Module):
    """Upsample by two, join the skip on channels, convolve twice."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Create the block for a skip of ``outputs`` channels."""
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv = _double_conv(2 * outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map N x inputs x H x W and a N x outputs x 2H x 2W skip to the skip's shape."""
        x = self.relu(self.norm(self.up(x)))
        out: Tensor = self.conv(torch.cat((skip, x), dim=1))
        return out


class UNet(nn.Module):
    """Encoder-decoder with skip connections: N x 3 x H x W to N x classes x H x W."""

    def __init__(
        self, width: float = 1.0, classes: int = 2, counts: Sequence[int] = CHANNELS
    ) -> None:
        """Create the network with channel counts scaled by ``width``."""
        super().__init__()
        channels = [scaled(count, width) for count in counts]
        self.encoders = nn.ModuleList(
            _double_conv(inputs, outputs)
            for inputs, outputs in zip([3, *channels[:-1]], channels, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.decoders = nn.ModuleList(
            UpBlock(channels[index + 1], channels[index])
            for index in reversed(range(len(channels) - 1))
        )
        self.head = nn.Conv2d(channels[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x classes x H x W."""
        skips: list[Tensor] = []
        for index, encoder in enumerate(self.encoders):
            x = encoder(self.pool(x) if index else x)
            skips.append(x)
        for decoder, skip in zip(self.decoders, reversed(skips[:-1]), strict=True):
            x = decoder(x, skip)
        out: Tensor = self.head(x)
        return out


def unet(width: float = 1.0) -> UNet:
    """Build U-Net: N x 3 x H x W to N x 2 x H x W."""
    return UNet(width)
