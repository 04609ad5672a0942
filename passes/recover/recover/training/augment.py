"""Images flipped, shifted, enlarged and turned a little: one affine map of the pixel grid.

    x'(p) = x(A p)        A = flip * enlargement * rotation, and a shift; p in [-1, 1]^2

Pixels from outside are reflected. `flip`: left to right, every second image. `crop`: a window of 80
to 100 % of each side, anywhere inside. `rotate`: up to 10 degrees to either side. Teacher and
student see the same image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .....ir.core.errors import RefusedError

if TYPE_CHECKING:
    import torch

Augmentation = Literal["flip", "crop", "rotate"]

_SMALLEST_CROP = 0.8
_LARGEST_TURN = math.radians(10)


def draw_maps(
    kinds: Sequence[Augmentation], count: int, seed: Sequence[int], aspect: float
) -> np.ndarray[Any, Any]:
    """Return affine maps [count, 2, 3] as float32, from positions in the result to the image.

    `aspect`: height over width, so that turned images are not sheared.
    """
    generator = np.random.default_rng(seed)
    flips, places, sizes, turns = (
        generator.random(count),
        generator.uniform(-1, 1, (count, 2)),
        generator.uniform(_SMALLEST_CROP, 1, count),
        generator.uniform(-_LARGEST_TURN, _LARGEST_TURN, count),
    )
    size = sizes if "crop" in kinds else np.ones(count)
    angle = turns if "rotate" in kinds else np.zeros(count)
    mirror = np.where((flips < 0.5) & ("flip" in kinds), -1.0, 1.0)
    shift = places * (1 - size)[:, None]
    maps = np.empty((count, 2, 3))
    maps[:, 0, 0] = mirror * size * np.cos(angle)
    maps[:, 0, 1] = -size * np.sin(angle) * aspect
    maps[:, 1, 0] = mirror * size * np.sin(angle) / aspect
    maps[:, 1, 1] = size * np.cos(angle)
    maps[:, :, 2] = shift
    return maps.astype(np.float32)


def apply_maps(
    images: torch.Tensor, maps: np.ndarray[Any, Any], mode: str = "bilinear"
) -> torch.Tensor:
    """Return images [N, C, H, W] under the maps [N, 2, 3]; `mode` is that of the samples."""
    import torch
    from torch.nn import functional

    theta = torch.from_numpy(maps).to(images.device, images.dtype)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(
        images, grid, mode=mode, padding_mode="reflection", align_corners=False
    )


def apply_to_labels(labels: torch.Tensor, maps: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return maps of classes [N, H, W] under the maps that their images have; others as they are.

    Numbers of classes are moved as float64, which holds them.
    """
    if labels.ndim != 3:
        return labels
    return apply_maps(labels.double()[:, None], maps, "nearest")[:, 0].to(labels.dtype)


def check_images(arrays: Any) -> None:
    """Raise RefusedError where an input is no batch of images."""
    for name, array in arrays.items():
        if array.ndim != 4 or array.dtype.kind != "f":
            raise RefusedError(
                f"augment takes float images [N, C, H, W], but input '{name}' is "
                f"{array.dtype.name} {list(array.shape)}; leave augment out, and put varied "
                "samples into the feeds"
            )
