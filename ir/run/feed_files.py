"""Feeds from files: read anew, batch by batch, by every loop over them.

Neither an `.npz` nor a folder of images is ever held as a whole, so that what a run needs does not
grow with the number of samples.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.errors import FeedError
from ..files.given import Model, as_graph
from .extra_feeds import FeedsWithout
from .feeds import Feed, batch_size, check_feeds, is_size
from .npz import NpzArray, member_of, read_rows

_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_DYNAMIC_SIDE = 224


def load_feeds(
    path: str | Path,
    graph: Model,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    batch: int | None = None,
    extra: Collection[str] = (),
) -> NpzFeeds | ImageFeeds:
    """Return the feeds for `graph` in an `.npz` file or a folder of images, read as they are used.

    They can be looped over any number of times, and have a length. `.npz`: one array a graph input,
    first axis = samples. Folder: every image, in name order, as RGB, resized to the input's height
    and width, scaled to (x / 255 - mean) / std, N C H W. Batches have the graph's batch size; where
    that is dynamic, `batch` samples (1 by default), and fewer in the last one. `extra` are names of
    arrays in an `.npz` file that are no inputs of the graph, such as labels. Raises FeedError
    naming file and shape, here for what the first batch shows and in the loop for the rest.
    """
    path, graph = Path(path), as_graph(graph)
    if not path.exists():
        raise FeedError(f"feeds '{path}' do not exist; give an .npz file or a folder of images")
    if path.is_dir():
        if extra:
            raise FeedError(
                f"a folder of images has no entries {', '.join(extra)}; give an .npz file that has"
            )
        return _image_feeds(path, graph, mean, std, batch)
    return _npz_feeds(path, graph, batch, extra)


def names_in(path: Path | None) -> frozenset[str]:
    """Return the names of the arrays in an `.npz` file; none of anything else."""
    try:
        with zipfile.ZipFile(path or "") as archive:
            return frozenset(info.filename.removesuffix(".npy") for info in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        return frozenset()


@dataclass(frozen=True)
class NpzFeeds:
    """The batches of an `.npz` file, `members` of `samples` rows each."""

    path: Path
    members: tuple[NpzArray, ...]
    samples: int
    batch: int

    def __len__(self) -> int:
        return -(-self.samples // self.batch)

    def __iter__(self) -> Iterator[Feed]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                rows = [read_rows(archive, member, self.batch) for member in self.members]
                names = [member.name for member in self.members]
                for arrays in zip(*rows, strict=True):
                    yield dict(zip(names, arrays, strict=True))
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise FeedError(f"feeds '{self.path}' cannot be read: {error}") from error


def _npz_feeds(path: Path, graph: gs.Graph, batch: int | None, extra: Collection[str]) -> NpzFeeds:
    try:
        with zipfile.ZipFile(path) as archive:
            members = tuple(member_of(archive, info) for info in archive.infolist())
    except Exception as error:  # zip, header and file errors share no base class
        raise FeedError(
            f"feeds '{path}' cannot be read as .npz: {error}; write them with numpy.savez"
        ) from error
    counts = {m.name: m.shape[0] if m.shape else 0 for m in members}
    if not members or 0 in counts.values() or len(set(counts.values())) > 1:
        raise FeedError(
            f"feeds '{path}' need one array an input with the same number of samples along the "
            f"first axis; found {counts or 'no arrays'}"
        )
    total = next(iter(counts.values()))
    feeds = NpzFeeds(
        path, members, total, _batch(graph, batch, total, f"feeds '{path}' hold", "samples")
    )
    for first in FeedsWithout(feeds, extra):
        try:
            check_feeds(first, graph)
        except FeedError as error:
            raise FeedError(f"feeds '{path}': {error}") from error
        break
    return feeds


@dataclass(frozen=True, kw_only=True)
class ImageFeeds:
    """The images `files` as batches of the input `name`, `dtype`[N, 3, height, width]."""

    files: tuple[Path, ...]
    name: str
    dtype: np.dtype[Any]
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batch: int

    def __len__(self) -> int:
        return -(-len(self.files) // self.batch)

    def __iter__(self) -> Iterator[Feed]:
        for first in range(0, len(self.files), self.batch):
            stacked = np.stack([self._read(f) for f in self.files[first : first + self.batch]])
            yield {self.name: stacked.astype(self.dtype)}

    def _read(self, file: Path) -> np.ndarray[Any, Any]:
        from PIL import Image

        size = (self.width, self.height)
        try:
            with Image.open(file) as image:
                resized = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        except OSError as error:
            raise FeedError(f"'{file}' cannot be read as an image: {error}") from error
        pixels: np.ndarray[Any, Any] = np.asarray(resized, np.float32) / 255
        scaled: np.ndarray[Any, Any] = (pixels - np.asarray(self.mean)) / np.asarray(self.std)
        return scaled.transpose(2, 0, 1)


def _image_feeds(
    folder: Path,
    graph: gs.Graph,
    mean: Sequence[float],
    std: Sequence[float],
    batch: int | None,
) -> ImageFeeds:
    inputs = [t for t in graph.inputs if not isinstance(t, gs.Constant)]
    shape = inputs[0].shape if len(inputs) == 1 else None
    if shape is None or len(shape) != 4 or shape[1] != 3 or not dtypes.is_float(inputs[0].dtype):
        raise FeedError(
            f"a folder of images fits a graph with one float input of shape [N, 3, H, W]; this one "
            f"has {[(t.name, t.shape) for t in inputs]}; give an .npz file instead"
        )
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise FeedError(
            "reading a folder of images needs Pillow; install it with: pip install planish[images]"
        ) from error
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _IMAGE_SUFFIXES)
    if not files:
        raise FeedError(f"folder '{folder}' holds no image ({', '.join(sorted(_IMAGE_SUFFIXES))})")
    height, width = (size if is_size(size) else _DYNAMIC_SIDE for size in shape[2:])
    size = _batch(graph, batch, len(files), f"folder '{folder}' holds", "images")
    dtype = dtypes.numpy_dtype(inputs[0].dtype)
    return ImageFeeds(
        files=tuple(files),
        name=inputs[0].name,
        dtype=dtype,
        height=height,
        width=width,
        mean=tuple(mean),
        std=tuple(std),
        batch=size,
    )


def _batch(graph: gs.Graph, given: int | None, total: int, holds: str, what: str) -> int:
    """Return the size of the batches: the graph's, or where it has none `given`, or 1."""
    declared = batch_size(graph)
    if given is not None and (given < 1 or declared not in (None, given)):
        fits = "1 or more" if declared is None else f"{declared}, the graph's own"
        raise FeedError(f"batches of {given} samples do not fit the graph; give {fits}")
    if declared and total % declared:
        raise FeedError(
            f"{holds} {total} {what}, which is no multiple of the graph's batch size {declared}"
        )
    return declared or given or 1
