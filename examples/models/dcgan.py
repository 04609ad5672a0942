"""DCGAN generator.

Alec Radford, Luke Metz, Soumith Chintala, "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks", ICLR 2016.

Input: N x 100 x 1 x 1 noise. Output: N x 3 x 64 x 64 image in (-1, 1).
"""

from torch import Tensor, nn

from ._scaling import scaled

_CHANNELS = (512, 256, 128, 64)


class Generator(nn.Module):
    """Transposed-convolution generator: N x latent x 1 x 1 to N x 3 x 64 x 64."""

    def __init__(self, width: float = 1.0, latent: int = 100) -> None:
        """Create the generator with channel counts scaled by ``width``."""
        super().__init__()
        layers: list[nn.Module] = []
        inputs = latent
        for index, count in enumerate(_CHANNELS):
            outputs = scaled(count, width)
            stride, padding = (2, 1) if index else (1, 0)
            layers.append(
                nn.ConvTranspose2d(inputs, outputs, 4, stride=stride, padding=padding, bias=False)
            )
            layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU(inplace=True))
            inputs = outputs
        layers.append(nn.ConvTranspose2d(inputs, 3, 4, stride=2, padding=1, bias=False))
        layers.append(nn.Tanh())
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x latent x 1 x 1 to N x 3 x 64 x 64."""
        out: Tensor = self.layers(x)
        return out


def dcgan(width: float = 1.0) -> Generator:
    """Build the DCGAN generator: N x 100 x 1 x 1 to N x 3 x 64 x 64."""
    return Generator(width)
