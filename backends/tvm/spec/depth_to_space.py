"""DepthToSpace with some rows and columns cut off: which element goes where.

    y[m, h * s + i - top, w * s + j - left] = x[c(m, i, j), h, w]      0 <= i, j < s

c = (i * s + j) * M + m (DCR) or m * s * s + i * s + j (CRD).

Source: ONNX operator DepthToSpace-13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .layout import Array

_ALL = slice(None)


@dataclass(frozen=True)
class BlocksOfChannels:
    """Blocks of `size` by `size` positions, which channels are made into, in the order of `mode`.

    `crop`: what is kept of the rows and columns of the result.
    """

    size: int
    mode: str
    crop: tuple[slice, slice] = (_ALL, _ALL)

    def moved(self, image: Array) -> Array:
        """Return what becomes of an `image` [C, H, W]."""
        size, (channels, height, width) = self.size, image.shape
        each = channels // size**2
        if self.mode == "DCR":
            apart = image.reshape(size, size, each, height, width).transpose(2, 3, 0, 4, 1)
        else:
            apart = image.reshape(each, size, size, height, width).transpose(0, 3, 1, 4, 2)
        rows, columns = self.crop
        return apart.reshape(each, height * size, width * size)[:, rows, columns]

    def channels(self, count: int) -> Array:
        """Return c(m, i, j), [s, s, M], of `count` channels."""
        whole = BlocksOfChannels(self.size, self.mode)
        return whole.moved(np.arange(count).reshape(-1, 1, 1)).transpose(1, 2, 0)

    def kept(self, height: int, width: int) -> tuple[range, range]:
        """Return the rows and columns of the whole result that are kept."""
        rows, columns = self.crop
        return range(height * self.size)[rows], range(width * self.size)[columns]
