"""Six photographs that come with scikit-learn and scikit-image, as network inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_images

Array = np.ndarray[Any, Any]

MEAN, STD = 0.498, 0.502


def load() -> dict[str, Array]:
    """Return the photographs by name, uint8 arrays of shape [height, width, 3]."""
    found = dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    for name in ("coffee", "chelsea", "rocket", "astronaut"):
        found[name] = getattr(skimage.data, name)()
    return found


def prepare(photograph: Array, size: int = 224) -> Array:
    """Return the middle square of a photograph, resized and scaled: float32 [1, 3, size, size]."""
    image = Image.fromarray(photograph)
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    square = image.crop((left, top, left + edge, top + edge))
    resized = square.resize((size, size), Image.Resampling.BILINEAR)
    scaled = (np.asarray(resized, np.float32) / 255 - MEAN) / STD
    return scaled.transpose(2, 0, 1)[None].astype(np.float32)


class Crops:
    """`count` random square crops of the photographs, drawn with `seed` at every reading."""

    def __init__(self, name: str, count: int, seed: int) -> None:
        self._name = name
        self._count = count
        self._seed = seed
        self._photographs = list(load().values())

    def __len__(self) -> int:
        """Return the number of crops."""
        return self._count

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """Yield one feed a crop: half to all of the short side wide, anywhere."""
        generator = np.random.default_rng(self._seed)
        for index in range(self._count):
            image = self._photographs[index % len(self._photographs)]
            height, width = image.shape[:2]
            edge = int(min(height, width) * generator.uniform(0.5, 1))
            top = generator.integers(0, height - edge + 1)
            left = generator.integers(0, width - edge + 1)
            yield {self._name: prepare(image[top : top + edge, left : left + edge])}
