"""Seeded random inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def noise(shape: Sequence[int], seed: int) -> Tensor:
    """Draw a standard normal tensor of the given shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def smooth_noise(shape: Sequence[int], seed: int) -> Tensor:
    """Draw an N x C x spatial tensor with coarse and fine structure, of variance near 1.

    Unlike white noise, it leaves samples distinguishable after global average pooling.
    """
    batch, channels, *spatial = shape
    total = 0.25 * noise(shape, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for period in (4, 16, None):
        grid = [min(n, 4) if period is None else -(-n // period) for n in spatial]
        coarse = torch.randn(batch, channels, *grid, generator=generator)
        total += 0.8 * functional.interpolate(coarse, size=spatial, mode=_MODES[len(spatial)])
    return total
