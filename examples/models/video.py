"""3-D convolutional classifier of short clips.

A small network after C3D: Du Tran, Lubomir Bourdev, Rob Fergus, Lorenzo Torresani, Manohar
Paluri, "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015, with
batch normalization and global average pooling.

Input: N x 3 x 8 x 64 x 64 (channels, frames, height, width). Output: N x 101 logits.
"""

from torch import Tensor, nn

from ._scaling import scaled

# Channels, frame stride of the pooling that follows.
_STAGES = ((32, 1), (64, 2), (128, 2), (256, 2))


class VideoCNN(nn.Module):
    """Clip classifier: N x 3 x T x H x W to N x classes."""

    def __init__(self, width: float = 1.0, classes: int = 101) -> None:
        """Create the network with channel counts scaled by ``width``."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for count, frames in _STAGES:
            outputs = scaled(count, width)
            layers.append(nn.Conv3d(channels, outputs, 3, padding=1, bias=False))
            layers.append(nn.BatchNorm3d(outputs))
            layers.append(nn.ReLU(inplace=True))
            layers.append(nn.MaxPool3d((frames, 2, 2)))
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x T x H x W to N x classes."""
        x = self.pool(self.features(x)).flatten(1)
        out: Tensor = self.fc(x)
        return out


def video_cnn(width: float = 1.0) -> VideoCNN:
    """Build the clip classifier: N x 3 x 8 x 64 x 64 to N x 101."""
    return VideoCNN(width)
