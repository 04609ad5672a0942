"""Convolutional networks written from their papers, with seeded weights, as test subjects."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ._inputs import noise, smooth_noise
from .audio import audio_cnn
from .dcgan import dcgan
from .densenet import densenet121
from .detector import detector
from .efficientnet import efficientnet_b0
from .googlenet import googlenet
from .mobilenet_v2 import mobilenet_v2
from .mobilenet_v3 import MobileNetV3Small
from .repvgg import repvgg_a0
from .resnet import resnet18, resnet50
from .resnet_preact import resnet50_preact
from .short import SHORT
from .shufflenet_v1 import shufflenet_v1
from .shufflenet_v2 import shufflenet_v2
from .statistics import initialize_weights, randomize_batchnorm
from .unet import unet
from .vgg import vgg16
from .video import video_cnn

__all__ = ["NAMES", "build", "example_inputs", "randomize_batchnorm"]

_CALIBRATION_VALUES = 3 * 2**18  # 64 images of 64 x 64


@dataclass(frozen=True)
class _Entry:
    """How to build one network, and the shape of one sample at its default size."""

    factory: Callable[..., nn.Module]
    shape: tuple[int, ...] = (3, 224, 224)
    resizable: bool = True
    multiple: int = 1
    sized: bool = False

    def resized(self, size: int | None) -> tuple[int, ...]:
        """Return the sample shape with its last two dimensions set to ``size``."""
        if size is None or not self.resizable:
            return self.shape
        if size < 32 or size % self.multiple:
            raise ValueError(f"size must be at least 32 and a multiple of {self.multiple}: {size}")
        return (*self.shape[:-2], size, size)


_ENTRIES = {
    "resnet18": _Entry(resnet18),
    "resnet50": _Entry(resnet50),
    "resnet50_preact": _Entry(resnet50_preact),
    "mobilenet_v2": _Entry(mobilenet_v2),
    "mobilenet_v3_small": _Entry(MobileNetV3Small),
    "shufflenet_v1": _Entry(shufflenet_v1),
    "shufflenet_v2": _Entry(shufflenet_v2),
    "googlenet": _Entry(googlenet),
    "densenet121": _Entry(densenet121),
    "efficientnet_b0": _Entry(efficientnet_b0),
    "vgg16": _Entry(vgg16, multiple=32, sized=True),
    "repvgg_a0": _Entry(repvgg_a0),
    "unet": _Entry(unet, shape=(3, 128, 128), multiple=16),
    "detector": _Entry(detector, shape=(3, 320, 320), multiple=32),
    "dcgan": _Entry(dcgan, shape=(100, 1, 1), resizable=False),
    "audio_cnn": _Entry(audio_cnn, shape=(1, 16000), resizable=False),
    "video_cnn": _Entry(video_cnn, shape=(3, 8, 64, 64)),
}

NAMES: tuple[str, ...] = tuple(_ENTRIES)


def build(
    name: str,
    *,
    seed: int = 0,
    width: float = 1.0,
    size: int | None = None,
    short: bool = False,
) -> nn.Module:
    """Build a network in evaluation mode, with seeded weights and batch normalization.

    ``width`` scales the channel counts. ``size`` is the input height and width to expect:
    the statistics suit it best, and VGG-16 accepts no other. ``short`` leaves out most of what
    repeats a block before it, where there is such. The global random state is left as it was.
    """
    entry = _entry(name)
    if width <= 0.0:
        raise ValueError(f"width must be positive: {width}")
    sample = entry.resized(size)
    with torch.random.fork_rng(devices=[]):
        factory = SHORT.get(name, entry.factory) if short else entry.factory
        module = factory(width, sample[-1]) if entry.sized else factory(width)
    module.eval()
    initialize_weights(module, seed)
    batch = max(8, min(64, _CALIBRATION_VALUES // math.prod(sample)))
    randomize_batchnorm(module, seed, [_draw(sample, batch, seed)])
    return module


def example_inputs(
    name: str, *, batch: int = 1, size: int | None = None, seed: int = 0
) -> tuple[Tensor, ...]:
    """Draw seeded inputs for a network, each ``batch`` x its sample shape.

    ``size`` replaces the height and width; the waveform and the generator's noise ignore it.
    """
    return (_draw(_entry(name).resized(size), batch, seed),)


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        raise ValueError(f"unknown network {name!r}; choose from {', '.join(NAMES)}")
    return _ENTRIES[name]


def _draw(sample: tuple[int, ...], batch: int, seed: int) -> Tensor:
    is_latent = sample[-1] == 1
    return (noise if is_latent else smooth_noise)((batch, *sample), seed)
