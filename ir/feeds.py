"""Feeds: an iterable of name -> array, one item a batch, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from . import dtypes
from .errors import FeedError

Feed = dict[str, np.ndarray[Any, Any]]

_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_DYNAMIC_BATCH = 2


def check_feeds(feed: Mapping[str, np.ndarray[Any, Any]], graph: gs.Graph) -> None:
    """Raise FeedError where `feed` does not fit the inputs of `graph`: name, type, rank or size."""
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    required = {t.name for t in graph.inputs if not isinstance(t, gs.Constant)}
    for name in feed:
        if name not in inputs:
            raise FeedError(
                f"feed '{name}' is no input of the graph; its inputs are {_listing(required)}"
            )
    for name in required:
        if name not in feed:
            raise FeedError(
                f"no feed for graph input '{name}'; the feeds given are {_listing(feed)}"
            )
    for name, array in feed.items():
        tensor = inputs[name]
        if not isinstance(array, np.ndarray):
            raise FeedError(f"feed '{name}' is a {type(array).__name__}, not a numpy array")
        if tensor.dtype is not None and not _same_type(array.dtype, tensor.dtype):
            raise FeedError(
                f"feed '{name}' is {array.dtype.name}, but the graph input is "
                f"{dtypes.type_name(tensor.dtype)}; convert it with .astype"
            )
        if tensor.shape is not None and not _fits(array.shape, tensor.shape):
            raise FeedError(
                f"feed '{name}' has shape {_shape(array.shape)}, but the graph input has "
                f"{_shape(tensor.shape)}"
            )


def random_feeds(
    graph: gs.Graph,
    *,
    samples: int = 1,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> list[Feed]:
    """Draw `samples` batches from a seeded generator, in the shapes of the graph's inputs.

    Floats are standard normal, integers 0 or 1 (valid as indices into any axis of two), strings
    "a". A dynamic first axis becomes 2, other dynamic axes a size convolutions accept; `shapes`
    overrides them by input name. Raises FeedError for an input that cannot be drawn.
    """
    generator = np.random.default_rng(seed)
    sizes: dict[str, int] = {}
    fixed: dict[str, tuple[int, ...]] = {}
    names = {t.name for t in graph.inputs}
    for name, shape in (shapes or {}).items():
        if name not in names:
            raise FeedError(f"shape given for '{name}', but the inputs are {_listing(names)}")
        if any(size < 0 for size in shape):
            raise FeedError(
                f"shape {_shape(shape)} given for '{name}' has a negative size; give each axis its "
                "number of elements"
            )
        fixed[name] = tuple(shape)
    for tensor in graph.inputs:
        if tensor.name in fixed:
            declared = tensor.shape
            if declared is not None and not _fits(fixed[tensor.name], declared):
                raise FeedError(
                    f"shape {_shape(fixed[tensor.name])} given for '{tensor.name}' does not fit "
                    f"the graph input's {_shape(declared)}"
                )
            for size, dim in zip(fixed[tensor.name], declared or (), strict=False):
                if isinstance(dim, str):
                    sizes.setdefault(dim, size)
    for tensor in graph.inputs:
        if tensor.name not in fixed and not isinstance(tensor, gs.Constant):
            fixed[tensor.name] = _concrete(tensor, sizes)
    return [
        {
            t.name: _draw(generator, t, fixed[t.name])
            for t in graph.inputs
            if not isinstance(t, gs.Constant)
        }
        for _ in range(samples)
    ]


def load_feeds(
    path: str | Path,
    graph: gs.Graph,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Iterator[Feed]:
    """Read feeds for `graph` from an `.npz` file or a folder of images, batch by batch.

    `.npz`: one array a graph input, first axis = samples. Folder: every image, in name order, as
    RGB, resized to the input's height and width, scaled to (x / 255 - mean) / std, N C H W. Batches
    have the graph's batch size, one where it is dynamic. Raises FeedError naming file and shape.
    """
    path = Path(path)
    if not path.exists():
        raise FeedError(f"feeds '{path}' do not exist; give an .npz file or a folder of images")
    if path.is_dir():
        return _image_feeds(path, graph, mean, std)
    return _npz_feeds(path, graph)


def _npz_feeds(path: Path, graph: gs.Graph) -> Iterator[Feed]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile, pickle and format errors share no base class
        raise FeedError(
            f"feeds '{path}' cannot be read as .npz: {error}; write them with numpy.savez"
        ) from error
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if not arrays or 0 in counts.values() or len(set(counts.values())) > 1:
        raise FeedError(
            f"feeds '{path}' need one array an input with the same number of samples along the "
            f"first axis; found {counts or 'no arrays'}"
        )
    total = next(iter(counts.values()))
    batch = batch_size(graph) or 1
    if total % batch:
        raise FeedError(
            f"feeds '{path}' hold {total} samples, which is no multiple of the graph's batch size "
            f"{batch}"
        )
    feeds = [
        {name: array[i : i + batch] for name, array in arrays.items()}
        for i in range(0, total, batch)
    ]
    try:
        check_feeds(feeds[0], graph)
    except FeedError as error:
        raise FeedError(f"feeds '{path}': {error}") from error
    return iter(feeds)


def _image_feeds(
    folder: Path, graph: gs.Graph, mean: Sequence[float], std: Sequence[float]
) -> Iterator[Feed]:
    inputs = [t for t in graph.inputs if not isinstance(t, gs.Constant)]
    shape = inputs[0].shape if len(inputs) == 1 else None
    if shape is None or len(shape) != 4 or shape[1] != 3 or not dtypes.is_float(inputs[0].dtype):
        raise FeedError(
            f"a folder of images fits a graph with one float input of shape [N, 3, H, W]; this one "
            f"has {[(t.name, t.shape) for t in inputs]}; give an .npz file instead"
        )
    try:
        from PIL import Image
    except ImportError as error:
        raise FeedError(
            "reading a folder of images needs Pillow; install it with: pip install planish[images]"
        ) from error
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _IMAGE_SUFFIXES)
    if not files:
        raise FeedError(f"folder '{folder}' holds no image ({', '.join(sorted(_IMAGE_SUFFIXES))})")
    height, width = (size if is_size(size) else 224 for size in shape[2:])
    tensor = inputs[0]
    batch = batch_size(graph) or 1
    if len(files) % batch:
        raise FeedError(
            f"folder '{folder}' holds {len(files)} images, which is no multiple of the graph's "
            f"batch size {batch}"
        )

    def read(file: Path) -> np.ndarray[Any, Any]:
        try:
            with Image.open(file) as image:
                resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        except OSError as error:
            raise FeedError(f"'{file}' cannot be read as an image: {error}") from error
        pixels: np.ndarray[Any, Any] = np.asarray(resized, np.float32) / 255
        scaled: np.ndarray[Any, Any] = (pixels - np.asarray(mean)) / np.asarray(std)
        return scaled.transpose(2, 0, 1)

    def batches() -> Iterator[Feed]:
        for first in range(0, len(files), batch):
            stacked = np.stack([read(file) for file in files[first : first + batch]])
            yield {tensor.name: stacked.astype(dtypes.numpy_dtype(tensor.dtype))}

    return batches()


def batch_size(graph: gs.Graph) -> int | None:
    """Return the batch size that the inputs of `graph` declare, None where it is dynamic."""
    sizes = {
        t.shape[0]
        for t in graph.inputs
        if not isinstance(t, gs.Constant) and t.shape and is_size(t.shape[0])
    }
    return sizes.pop() if len(sizes) == 1 else None


def _concrete(tensor: gs.Variable, sizes: dict[str, int]) -> tuple[int, ...]:
    if tensor.shape is None:
        raise FeedError(
            f"graph input '{tensor.name}' has no declared rank, so no input can be drawn; give "
            "feeds or a shape"
        )
    rank = len(tensor.shape)
    shape = []
    for axis, dim in enumerate(tensor.shape):
        if is_size(dim):
            shape.append(int(dim))
            continue
        default = dynamic_size(axis, rank)
        named = isinstance(dim, str) and dim != "?"
        shape.append(sizes.setdefault(dim, default) if named else default)
    return tuple(shape)


def is_size(dim: object) -> bool:
    """Say whether a declared dimension is a size; some exporters write -1 for one they know not."""
    return isinstance(dim, int) and dim >= 0


def dynamic_size(axis: int, rank: int) -> int:
    """Return a size for an axis that has none, on which networks of that rank can run."""
    if axis == 0:
        return _DYNAMIC_BATCH
    if axis == 1 and rank > 2:
        return 3
    return {3: 256, 4: 64, 5: 16}.get(rank, 8)


def _draw(
    generator: np.random.Generator, tensor: gs.Variable, shape: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    if tensor.dtype is None:
        raise FeedError(
            f"graph input '{tensor.name}' is no tensor or has no type, so no input can be drawn; "
            "give feeds"
        )
    dtype = dtypes.numpy_dtype(tensor.dtype)
    if dtype.kind == "O":
        return np.full(shape, "a", dtype=object)
    if dtype.kind == "c":
        real, imaginary = generator.standard_normal((2, *shape))
        return np.asarray(real + 1j * imaginary).astype(dtype)
    if dtypes.is_float(dtype) or dtype.name.startswith("float"):
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)


def _same_type(given: np.dtype[Any], declared: Any) -> bool:
    try:
        return dtypes.elem_type(given) == dtypes.elem_type(declared)
    except (KeyError, ValueError):  # a numpy type that ONNX does not have, such as a date
        return False


def _fits(shape: Sequence[int], declared: Sequence[int | str | None]) -> bool:
    return len(shape) == len(declared) and all(
        not is_size(dim) or size == dim for size, dim in zip(shape, declared, strict=True)
    )


def _shape(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"


def _listing(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
