"""1-D convolutional classifier of raw waveforms.

After the M5 network of Wei Dai, Chia Dai, Shuhui Qu, Juncheng Li, Samarjit Das, "Very Deep
Convolutional Neural Networks for Raw Waveforms", ICASSP 2017, with a hidden linear layer and
batch normalization in the head.

Input: N x 1 x 16000 samples. Output: N x 35 logits.
"""

from torch import Tensor, nn

from ._scaling import scaled

_CHANNELS = (128, 128, 256, 512)


class AudioCNN(nn.Module):
    """Waveform classifier: N x 1 x L to N x classes."""

    def __init__(self, width: float = 1.0, classes: int = 35) -> None:
        """Create the network with channel counts scaled by ``width``."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for index, count in enumerate(_CHANNELS):
            outputs = scaled(count, width)
            kernel, stride = (3, 1) if index else (80, 4)
            layers.append(
                nn.Conv1d(channels, outputs, kernel, stride=stride, padding=(kernel - 1) // 2)
            )
            layers.append(nn.BatchNorm1d(outputs))
            layers.append(nn.ReLU(inplace=True))
            layers.append(nn.MaxPool1d(4))
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool1d(1)
        hidden = scaled(256, width)
        self.head = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 1 x L to N x classes."""
        x = self.pool(self.features(x)).flatten(1)
        out: Tensor = self.head(x)
        return out


def audio_cnn(width: float = 1.0) -> AudioCNN:
    """Build the waveform classifier: N x 1 x 16000 to N x 35."""
    return AudioCNN(width)
