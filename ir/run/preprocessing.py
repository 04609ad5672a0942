"""What becomes of a picture before a network sees it.

    x = (low + (high - low) p / 255 - mean) / std        p: 0..255, by channel

after it was resized: squashed to the size, cut to its middle (`crop`), or fitted inside with grey
around it (`letterbox`). Sources: torchvision's presets of ImageNet, Ultralytics' `LetterBox`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..core.errors import FeedError
from ..core.nearest import nearest

Array = np.ndarray[Any, Any]
Size = tuple[int, int]
Resize = Literal["squash", "crop", "letterbox"]

RESIZES = ("squash", "crop", "letterbox")
_GREY = 114
_ROUNDING = 1e-6  # of a ratio


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How pictures are resized and scaled.

    - `pixels`: what black and white become, before `mean` is subtracted and `std` divides; None:
      0..1, but the bytes 0..255 where the network takes bytes.
    - `mean`, `std`: one value, or one a channel in the order in which the network has them.
    - `bgr`: blue first, as OpenCV reads; else red.
    - `resize`: see above; of `crop`, `kept` is the part of the shorter side that is left.
    - `size`: height and width, where the network leaves them open.
    - `function`: does all of it instead: a picture, uint8 [height, width, 3] red first, to an input
      of the network without its first axis.
    """

    pixels: tuple[float, float] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bgr: bool = False
    resize: Resize = "squash"
    kept: float = 1.0
    size: Size | None = None
    function: Callable[[Array], Any] | None = None

    def __post_init__(self) -> None:
        """Check what would divide by nothing, or is no word."""
        if 0 in self.std:
            raise FeedError("std divides pixels and cannot be 0; give 1 for none")
        if self.resize not in RESIZES:
            raise FeedError(f"resize is '{self.resize}'{nearest(self.resize, RESIZES)}")
        low, high = self.span
        if not low < high:
            raise FeedError(f"pixels are {low:g}..{high:g}; give 0..1, 0..255 or -1..1")

    @property
    def span(self) -> tuple[float, float]:
        """What black and white become in a network that takes floats."""
        return (0.0, 1.0) if self.pixels is None else self.pixels

    @property
    def keeps_bytes(self) -> bool:
        """Whether a network that takes bytes can have the numbers 0..255 that pictures hold."""
        scaled = self.pixels is not None and tuple(self.pixels) != (0.0, 255.0)
        return not scaled and (self.mean, self.std) == ((0.0,), (1.0,))

    def scaled(self, pixels: Array) -> Array:
        """Return pixels 0..255 of [height, width, channels] as the network takes them."""
        low, high = self.span
        unit: Array = pixels.astype(np.float32) / 255
        if (low, high) != (0.0, 1.0):
            unit = (low + (high - low) * unit).astype(np.float32)
        values: Array = (unit - np.asarray(self.mean)) / np.asarray(self.std)
        return values

    def resized(self, picture: Any, size: Size) -> Any:
        """Return a Pillow image of `size`, height and width."""
        height, width = size
        if self.resize == "squash":
            return picture.resize((width, height), _bilinear())
        if self.resize == "crop":
            return self._cropped(picture, size)
        ratio = min(width / picture.width, height / picture.height)
        inner = [max(round(side * ratio), 1) for side in picture.size]
        resized = picture.resize(tuple(inner), _bilinear())
        left, top = (width - resized.width) // 2, (height - resized.height) // 2
        from PIL import Image

        fill = (_GREY,) * len(resized.getbands())
        canvas = Image.new(resized.mode, (width, height), fill if len(fill) > 1 else fill[0])
        canvas.paste(resized, (left, top))
        return canvas

    def _cropped(self, picture: Any, size: Size) -> Any:
        """Return the middle of a picture, its sides rounded as torchvision rounds them."""
        height, width = size
        ratio = max(width / picture.width, height / picture.height) / self.kept
        inner = [
            max(int(side * ratio + _ROUNDING), wanted)
            for side, wanted in zip(picture.size, (width, height), strict=True)
        ]
        resized = picture.resize(tuple(inner), _bilinear())
        left, top = round((resized.width - width) / 2), round((resized.height - height) / 2)
        return resized.crop((left, top, left + width, top + height))


PRESETS: dict[str, Preprocessing] = {
    "imagenet": Preprocessing(
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize="crop", kept=0.875
    ),
    "yolo": Preprocessing(resize="letterbox"),
}


def preset(name: str) -> Preprocessing:
    """Return the preprocessing called `name`; raises FeedError with the nearest known name."""
    if name not in PRESETS:
        raise FeedError(
            f"preprocess is '{name}'{nearest(name, PRESETS)}; or give your own FILE.py:function"
        )
    return PRESETS[name]


def _bilinear() -> Any:
    from PIL import Image

    return Image.Resampling.BILINEAR
