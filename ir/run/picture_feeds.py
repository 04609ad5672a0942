"""Pictures as feeds of a network with one image input, read anew by every loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.counted import counted
from ..core.errors import FeedError, in_words
from ..core.shown import Shown, Summary
from .feeds import Feed, is_size
from .open_picture import open_picture
from .preprocessing import Preprocessing

Array = np.ndarray[Any, Any]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_DYNAMIC_SIDE = 224
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class PictureInput:
    """The input that takes pictures: name, type, height, width, channels, and where these lie."""

    name: str
    dtype: np.dtype[Any]
    size: tuple[int, int]
    channels: int
    channels_last: bool

    @property
    def sample(self) -> tuple[int, ...]:
        """The sizes of one picture as the network takes it."""
        height, width = self.size
        last = (height, width, self.channels)
        return last if self.channels_last else (self.channels, height, width)


@dataclass(frozen=True, kw_only=True, repr=False)
class ImageFeeds(Shown):
    """The images `files` as batches of `input`."""

    files: tuple[Path, ...]
    input: PictureInput
    preprocessing: Preprocessing
    batch: int

    def _summary(self) -> Summary:
        sizes = [self.batch, *self.input.sample]
        images = counted(len(self.files), "image")
        return Summary(f"{images} -> {self.input.name} {sizes}, {self.preprocessing}")

    def __len__(self) -> int:
        return -(-len(self.files) // self.batch)

    def __iter__(self) -> Iterator[Feed]:
        for first in range(0, len(self.files), self.batch):
            stacked = np.stack([self._read(f) for f in self.files[first : first + self.batch]])
            yield {self.input.name: stacked.astype(self.input.dtype)}

    def _read(self, file: Path) -> Array:
        steps = self.preprocessing
        mode = "RGB" if steps.function is not None else _MODES[self.input.channels]
        with open_picture(file) as image:
            picture = image.convert(mode)
        if steps.function is not None:
            return self._by_function(file, np.asarray(picture))
        pixels = np.asarray(steps.resized(picture, self.input.size))
        pixels = pixels.reshape(*self.input.size, self.input.channels)
        pixels = pixels[..., ::-1] if steps.bgr else pixels
        values = pixels if self.input.dtype == np.uint8 else steps.scaled(pixels)
        return values if self.input.channels_last else values.transpose(2, 0, 1)

    def _by_function(self, file: Path, pixels: Array) -> Array:
        assert self.preprocessing.function is not None
        try:
            made = np.asarray(self.preprocessing.function(pixels))
        except (Exception, SystemExit) as error:  # anybody's code
            raise FeedError(f"preprocessing '{file}' failed: {in_words(error)}") from error
        wanted = self.input.sample
        made = made[0] if made.ndim == len(wanted) + 1 and len(made) == 1 else made
        if made.shape != wanted:
            raise FeedError(
                f"preprocessing '{file}' gave {list(made.shape)}, and the network takes "
                f"{list(wanted)} of '{self.input.name}'"
            )
        return made


def picture_input(graph: gs.Graph, steps: Preprocessing) -> PictureInput:
    """Return the one input of `graph`, which must take pictures; else raises FeedError."""
    inputs = [t for t in graph.inputs if not isinstance(t, gs.Constant)]
    shape = inputs[0].shape if len(inputs) == 1 else None
    found = None if shape is None or len(shape) != 4 else _channels(shape)
    dtype = None if found is None else dtypes.numpy_dtype(inputs[0].dtype)
    if shape is None or found is None or dtype is None or not _takes_pictures(dtype):
        there = ", ".join(f"{t.name} {t.shape}" for t in inputs) or "none"
        raise FeedError(
            "images fit a graph with one input of shape [N, C, H, W] or [N, H, W, C], float or "
            f"uint8, of 1 or 3 channels; this one has {there}; give an .npz file instead"
        )
    if dtype == np.uint8 and steps.function is None and not steps.keeps_bytes:
        raise FeedError(
            f"input '{inputs[0].name}' takes pixels as they are, 0..255; leave pixels, mean and "
            "std out"
        )
    channels, last = found
    for name, values in (("mean", steps.mean), ("std", steps.std)):
        if len(values) not in (1, channels):
            raise FeedError(f"{name} has {len(values)} values, and images {channels} channels")
    sides = shape[1:3] if last else shape[2:]
    return PictureInput(inputs[0].name, dtype, _size(sides, steps, inputs[0]), channels, last)


def _takes_pictures(dtype: np.dtype[Any]) -> bool:
    return dtypes.is_float(dtype) or dtype == np.uint8


def _channels(shape: Sequence[Any]) -> tuple[int, bool] | None:
    """Return the channels and whether they lie last, None where neither axis can be theirs."""
    if shape[1] in _MODES:
        return int(shape[1]), False
    return (int(shape[3]), True) if shape[3] in _MODES else None


def _size(sides: Sequence[Any], steps: Preprocessing, tensor: gs.Tensor) -> tuple[int, int]:
    wanted = steps.size or (_DYNAMIC_SIDE, _DYNAMIC_SIDE)
    height, width = (
        int(side) if is_size(side) else size for side, size in zip(sides, wanted, strict=True)
    )
    if steps.size is not None and (height, width) != steps.size:
        raise FeedError(
            f"size is {wanted[0]}x{wanted[1]}, and input '{tensor.name}' has {tensor.shape}; set "
            f"its shape first (--input-shape), or leave the size out"
        )
    return height, width


def need_pillow() -> None:
    """Raise FeedError where Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise FeedError(
            "reading images needs Pillow; install it with: pip install planish[images]"
        ) from error
