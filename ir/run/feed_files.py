"""Feeds from files: read anew, batch by batch, by every loop over them.

Neither an `.npz` nor a folder of images is ever held as a whole, so that what a run needs does not
grow with the number of samples.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.counted import counted
from ..core.errors import FeedError
from ..core.kind import kind_of
from ..core.shown import Shown, Summary
from ..core.whole_file import is_device
from ..files.given import Model, as_graph
from .extra_feeds import FeedsWithout
from .feeds import Feed, batch_size_of, check_feeds
from .npy_feeds import NpyFeeds, read_npy, the_input
from .npz import NpzArray, member_of, read_rows, read_whole
from .picture_feeds import SUFFIXES, ImageFeeds, need_pillow, picture_input
from .preprocessing import Preprocessing


def load_feeds(
    path: str | Path,
    graph: Model,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    batch: int | None = None,
    extra: Collection[str] = (),
    preprocessing: Preprocessing | None = None,
) -> NpzFeeds | NpyFeeds | ImageFeeds:
    """Return the feeds for `graph` in a file or a folder of images, read as they are used.

    They can be looped over any number of times, and have a length. `.npz`: one array a graph input,
    first axis = samples; of a weight that is also an input, its value as it is; an array with one
    axis more than its input, such as a state [2, N, 128] or a number, has a value a batch. `.npy`:
    that of the only input. Folder: every image, in name order, as RGB or grey, resized to the
    input's height and width, scaled to (x / 255 - mean) / std, in the layout of the input; of a
    uint8 input, as they are. One image is a folder of one.
    `preprocessing` says otherwise, in place of `mean` and `std`. Batches have the graph's batch
    size; where that is dynamic, `batch` samples (1 by default), and fewer in the last one. `extra`
    are names of arrays in an `.npz` file that are no inputs of the graph, such as labels. Raises
    FeedError naming file and shape, here for what the first batch shows and in the loop for the
    rest.
    """
    if not isinstance(path, str | os.PathLike):
        raise FeedError(
            f"{kind_of(path)} is given where feeds are read; name an .npz or .npy file, or a "
            "folder of images"
        )
    path, graph = Path(path), as_graph(graph)
    if not path.exists():
        raise FeedError(f"feeds '{path}' do not exist; give an .npz file or a folder of images")
    if is_device(path):
        raise FeedError(f"feeds '{path}' are a device; give an .npz file or a folder of images")
    if is_of_images(path):
        if extra:
            raise FeedError(
                f"a folder of images has no entries {', '.join(extra)}; give an .npz file that has"
            )
        steps = preprocessing or Preprocessing(mean=tuple(mean), std=tuple(std))
        return _image_feeds(path, graph, steps, batch)
    if path.suffix == ".npy":
        return _npy_feeds(path, graph, batch)
    return _npz_feeds(path, graph, batch, extra)


def is_of_images(path: Path) -> bool:
    """Say whether feeds at `path` are images: a folder, or a file with such an ending."""
    return path.is_dir() or path.suffix.lower() in SUFFIXES


def names_in(path: Path | None) -> frozenset[str]:
    """Return the names of the arrays in an `.npz` file; none of anything else."""
    if path is None or not path.is_file():
        return frozenset()
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(info.filename.removesuffix(".npy") for info in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        return frozenset()


@dataclass(frozen=True, kw_only=True, repr=False)
class NpzFeeds(Shown):
    """The batches of an `.npz` file, `members` of `samples` rows each.

    `weights`: values of inputs that have one, the same in every batch. `whole`: arrays with one row
    a batch, which is the input as it is.
    """

    path: Path
    members: tuple[NpzArray, ...]
    samples: int
    batch: int
    weights: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    whole: tuple[NpzArray, ...] = ()

    def _summary(self) -> Summary:
        names = ", ".join(member.name for member in (*self.members, *self.whole))
        samples = counted(self.samples, "sample")
        return Summary(f"{samples} -> {names}, batch {self.batch}, of '{self.path}'")

    def __len__(self) -> int:
        return -(-self.samples // self.batch)

    def __iter__(self) -> Iterator[Feed]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                rows = [read_rows(archive, member, self.batch) for member in self.members]
                rows += [map(_only, read_rows(archive, member, 1)) for member in self.whole]
                names = [member.name for member in (*self.members, *self.whole)]
                for arrays in zip(*rows, strict=True):
                    yield {**dict(zip(names, arrays, strict=True)), **self.weights}
        except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise FeedError(f"feeds '{self.path}' cannot be read: {error}") from error


def _npz_feeds(path: Path, graph: gs.Graph, batch: int | None, extra: Collection[str]) -> NpzFeeds:
    try:
        with zipfile.ZipFile(path) as archive:
            found = tuple(member_of(archive, info) for info in archive.infolist())
            own = {t.name for t in graph.inputs if isinstance(t, gs.Constant)}
            weights = {m.name: read_whole(archive, m) for m in found if m.name in own}
            members = tuple(m for m in found if m.name not in own)
    except Exception as error:  # zip, header and file errors share no base class
        raise FeedError(
            f"feeds '{path}' cannot be read as .npz: {error}; write them with numpy.savez"
        ) from error
    whole = tuple(m for m in members if _is_whole(m, graph))
    members = tuple(m for m in members if m not in whole)
    total = _rows_of(members or whole, path)
    batched = [t for t in graph.inputs if t.name not in {m.name for m in whole}]
    size = _batch(batched, batch, total, f"feeds '{path}' hold", "samples") if members else 1
    feeds = NpzFeeds(
        path=path, members=members, samples=total, batch=size, weights=weights, whole=whole
    )
    if whole and _rows_of(whole, path) != len(feeds):
        raise FeedError(
            f"feeds '{path}' hold {len(feeds)} batches of {size}, but "
            f"{_rows_of(whole, path)} values of '{whole[0].name}', which has one a batch"
        )
    for first in FeedsWithout(feeds, extra):
        try:
            check_feeds(first, graph)
        except FeedError as error:
            raise FeedError(f"feeds '{path}': {error}") from error
        break
    return feeds


def _only(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the only row of `rows`, an array of no axes where that is a number."""
    return np.asarray(rows[0])


def _is_whole(member: NpzArray, graph: gs.Graph) -> bool:
    """Say whether each row of `member` is an input as it is: one axis more than that declares."""
    shapes = (t.shape for t in graph.inputs if t.name == member.name)
    return any(shape is not None and len(member.shape) == len(shape) + 1 for shape in shapes)


def _rows_of(members: Sequence[NpzArray], path: Path) -> int:
    """Return how many rows all of `members` have."""
    counts = {m.name: m.shape[0] if m.shape else 0 for m in members}
    if 0 in counts.values() or len(set(counts.values())) != 1:
        raise FeedError(
            f"feeds '{path}' need one array an input with the same number of samples along the "
            f"first axis; found {counts or 'no arrays'}. An input without an axis of samples takes "
            "an array with one axis more than it has"
        )
    return next(iter(counts.values()))


def _npy_feeds(path: Path, graph: gs.Graph, batch: int | None) -> NpyFeeds:
    """Return the rows of a file; an array without the first axis of the input is one sample."""
    tensor, array = the_input(graph, path), read_npy(path)
    single = tensor.shape is not None and array.ndim == len(tensor.shape) - 1
    total = 1 if single else len(array) if array.ndim else 0
    if not total:
        raise FeedError(f"feeds '{path}' hold no samples: the array is {list(array.shape)}")
    size = _batch(graph.inputs, batch, total, f"feeds '{path}' hold", "samples")
    feeds = NpyFeeds(path, tensor.name, size, total, single)
    try:
        check_feeds(next(iter(feeds)), graph)
    except FeedError as error:
        raise FeedError(f"feeds '{path}': {error}") from error
    return feeds


def _image_feeds(
    path: Path, graph: gs.Graph, steps: Preprocessing, batch: int | None
) -> ImageFeeds:
    found = picture_input(graph, steps)
    need_pillow()
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not files:
            raise FeedError(f"folder '{path}' holds no image ({', '.join(sorted(SUFFIXES))})")
        holds = f"folder '{path}' holds"
    else:
        files, holds = [path], f"'{path}' is"
    size = _batch(graph.inputs, batch, len(files), holds, "images")
    return ImageFeeds(files=tuple(files), input=found, preprocessing=steps, batch=size)


def _batch(
    inputs: Sequence[gs.Tensor], given: int | None, total: int, holds: str, what: str
) -> int:
    """Return the size of the batches: that of `inputs`, or where they have none `given`, or 1."""
    declared = batch_size_of(inputs)
    if given is not None and (given < 1 or declared not in (None, given)):
        fits = "1 or more" if declared is None else f"{declared}, the graph's own"
        raise FeedError(f"batches of {given} samples do not fit the graph; give {fits}")
    if declared and total % declared:
        raise FeedError(
            f"{holds} {total} {what}, which is no multiple of the graph's batch size {declared}; "
            "give as many, or set the shape of the inputs first (--input-shape)"
        )
    return declared or given or 1
