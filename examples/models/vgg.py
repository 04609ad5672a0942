"""VGG-16 with batch normalization.

Karen Simonyan, Andrew Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", ICLR 2015 (configuration D), with batch normalization after each convolution.

Input: N x 3 x 224 x 224. Output: N x 1000 logits. The classifier flattens the feature map
with no adaptive pooling, so the input size is fixed when the network is built.
"""

from torch import Tensor, nn

from ._scaling import Stages, scaled

STAGES: Stages = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class VGG(nn.Module):
    """Plain convolutional classifier: N x 3 x size x size to N x classes."""

    def __init__(
        self,
        width: float = 1.0,
        size: int = 224,
        classes: int = 1000,
        stages: Stages = STAGES,
    ) -> None:
        """Create the network for one input size, which must be a multiple of 32."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for planes, repeats in stages:
            outputs = scaled(planes, width)
            for _ in range(repeats):
                # The bias is redundant before batch normalization; published weights keep it.
                layers.append(nn.Conv2d(channels, outputs, 3, padding=1))
                layers.append(nn.BatchNorm2d(outputs))
                layers.append(nn.ReLU(inplace=True))
                channels = outputs
            layers.append(nn.MaxPool2d(2, stride=2))
        self.features = nn.Sequential(*layers)
        side, hidden = size // 2 ** len(stages), scaled(4096, width)
        self.classifier = nn.Sequential(
            nn.Linear(channels * side * side, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x size x size to N x classes."""
        x = self.features(x).flatten(1)
        out: Tensor = self.classifier(x)
        return out


def vgg16(width: float = 1.0, size: int = 224) -> VGG:
    """Build VGG-16 with batch normalization: N x 3 x size x size to N x 1000."""
    return VGG(width, size)
