"""What all operators have that slide a window over three spatial axes."""

from __future__ import annotations

from dataclasses import dataclass

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from .tiles import Sizes


@dataclass(frozen=True, kw_only=True)
class Sliding:
    """A window that slides over `x`. `pads`: before and after, for each axis.

    `epilogue` is what happens to each result. `batch` None: the number of images is known at run
    time.
    """

    x: BufferSpec
    y: BufferSpec
    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    pads: tuple[tuple[int, int], ...]
    epilogue: ElementwiseChain
    batch: int | None
