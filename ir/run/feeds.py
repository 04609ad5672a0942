"""Feeds: an iterable of name -> array, one item a batch, checked or drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.errors import FeedError
from ..core.kind import kind_of, type_of_values
from ..core.nearest import nearest
from ..core.seed import require_seed
from ..files.given import Model, as_graph

Feed = dict[str, np.ndarray[Any, Any]]

_DYNAMIC_BATCH = 2
_RANK_OF_IMAGES = 4
# Elements of all inputs together, 256 MiB of float32; eight times as many where shapes are given.
_MOST_ELEMENTS = 1 << 26


def check_feeds(feed: Mapping[str, np.ndarray[Any, Any]], graph: gs.Graph) -> None:
    """Raise FeedError where `feed` does not fit the inputs of `graph`: name, type, rank or size."""
    told: Any = feed
    if not isinstance(told, Mapping):
        names = _listing(t.name for t in graph.inputs if not isinstance(t, gs.Constant))
        raise FeedError(f"feeds are {kind_of(feed)}; give a dict of arrays, for {names}")
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
            raise FeedError(f"feed '{name}' is {kind_of(array)}, not a numpy array")
        if tensor.dtype is not None and not _same_type(array.dtype, tensor.dtype):
            raise FeedError(
                f"feed '{name}' is {type_of_values(array.dtype)}, but the graph input is "
                f"{dtypes.type_name(tensor.dtype)}; convert it with .astype"
            )
        if tensor.shape is not None and not _fits(array.shape, tensor.shape):
            raise FeedError(
                f"feed '{name}' has shape {_shape(array.shape)}, but the graph input has "
                f"{_shape(tensor.shape)}"
            )
    _check_names(feed, inputs)


def _check_names(feed: Mapping[str, np.ndarray[Any, Any]], inputs: Mapping[str, Any]) -> None:
    """Raise FeedError where axes of one name have two sizes: no runtime has to notice."""
    sizes: dict[str, tuple[int, str]] = {}
    for name, array in feed.items():
        for size, dim in zip(array.shape, inputs[name].shape or (), strict=False):
            if _is_named(dim):
                known, first = sizes.setdefault(dim, (size, name))
                if known != size:
                    raise FeedError(
                        f"feed '{name}' has {size} for the dimension '{dim}', and feed '{first}' "
                        f"has {known}; the graph says that they are equal"
                    )


def fits(feeds: Iterable[Mapping[str, np.ndarray[Any, Any]]], graph: gs.Graph) -> bool:
    """Say whether the first of `feeds` fits the inputs of `graph`."""
    try:
        for feed in feeds:
            check_feeds(feed, graph)
            break
    except FeedError:
        return False
    return True


def in_types_of(feed: Mapping[str, np.ndarray[Any, Any]], graph: gs.Graph) -> Feed:
    """Return `feed` with floats in the types that the inputs of `graph` declare."""
    declared = {t.name: t.dtype for t in graph.inputs if t.dtype is not None}
    found = {}
    for name, array in feed.items():
        wanted = dtypes.numpy_dtype(declared[name]) if name in declared else None
        both = wanted is not None and dtypes.is_float(wanted) and array.dtype.kind == "f"
        found[name] = array.astype(wanted, copy=False) if both else array
    return found


def random_feeds(
    graph: Model,
    *,
    samples: int = 1,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> list[Feed]:
    """Draw `samples` batches from a seeded generator, in the shapes of the graph's inputs.

    Floats are standard normal, integers 0 or 1 (valid as indices into any axis of two), pictures of
    uint8 0 to 255, strings "a". A dynamic first axis becomes 2, other dynamic axes a size
    convolutions accept; `shapes` overrides them by input name. Where that would be over 2^26
    elements in all, dynamic axes become 1. Raises FeedError for an input that cannot be drawn, or
    is too large even so.
    """
    graph = as_graph(graph)
    require_seed(seed)
    generator = np.random.default_rng(seed)
    fixed = drawn_shapes(graph, samples=samples, shapes=shapes)
    return [
        {t.name: _draw(generator, t, fixed[t.name]) for t in graph.inputs if t.name in fixed}
        for _ in range(samples)
    ]


def drawn_shapes(
    graph: gs.Graph, *, samples: int = 1, shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, tuple[int, ...]]:
    """Return the shapes that `random_feeds` draws, by input; raises FeedError as it does."""
    sizes: dict[str, int] = {}
    fixed: dict[str, tuple[int, ...]] = {}
    check_shapes(shapes or {}, graph)
    for name, shape in (shapes or {}).items():
        fixed[name] = tuple(shape)
    for tensor in graph.inputs:
        for size, dim in zip(fixed.get(tensor.name, ()), tensor.shape or (), strict=False):
            if isinstance(dim, str):
                sizes.setdefault(dim, size)
    found = _all_shapes(graph, fixed, sizes, samples)
    return {t.name: found[t.name] for t in graph.inputs if not isinstance(t, gs.Constant)}


def check_shapes(shapes: Mapping[str, Sequence[int]], graph: gs.Graph) -> None:
    """Raise FeedError where `shapes` are none that inputs of `graph` may have."""
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    for name, shape in shapes.items():
        if name not in inputs:
            raise FeedError(f"shape given for '{name}', which is no input{nearest(name, inputs)}")
        if any(size < 0 for size in shape):
            raise FeedError(
                f"shape {_shape(shape)} given for '{name}' has a negative size; give each axis its "
                "number of elements"
            )
        declared = inputs[name].shape
        if declared is not None and not _fits(shape, declared):
            raise FeedError(
                f"shape {_shape(shape)} given for '{name}' does not fit the graph input's "
                f"{_shape(declared)}"
            )


def _all_shapes(
    graph: gs.Graph,
    given: Mapping[str, tuple[int, ...]],
    sizes: Mapping[str, int],
    samples: int,
) -> dict[str, tuple[int, ...]]:
    """Return a shape for each input; raises FeedError where they do not fit in memory."""
    drawn = [t for t in graph.inputs if t.name not in given and not isinstance(t, gs.Constant)]
    most = _MOST_ELEMENTS if drawn else 8 * _MOST_ELEMENTS
    shapes: dict[str, tuple[int, ...]] = {}
    for least in (False, True):
        known = dict(sizes)
        shapes = {**given, **{t.name: _concrete(t, known, least=least) for t in drawn}}
        if samples * sum(math.prod(shape) for shape in shapes.values()) <= most:
            return shapes
    name, shape = max(shapes.items(), key=lambda item: math.prod(item[1]))
    raise FeedError(
        f"graph input '{name}' of shape {_shape(shape)} makes the inputs larger than the {most} "
        "elements that are drawn; give feeds, or a smaller shape"
    )


def batch_size(graph: gs.Graph) -> int | None:
    """Return the batch size that the inputs of `graph` declare, None where it is dynamic."""
    return batch_size_of(graph.inputs)


def batch_size_of(inputs: Iterable[gs.Tensor]) -> int | None:
    """Return the batch size that `inputs` declare, None where it is dynamic."""
    sizes = {
        t.shape[0]
        for t in inputs
        if not isinstance(t, gs.Constant) and t.shape and is_size(t.shape[0])
    }
    return sizes.pop() if len(sizes) == 1 else None


def _concrete(
    tensor: gs.Variable, sizes: dict[str, int], *, least: bool = False
) -> tuple[int, ...]:
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
        default = 1 if least else dynamic_size(axis, rank)
        shape.append(sizes.setdefault(dim, default) if _is_named(dim) else default)
    return tuple(shape)


def _is_named(dim: Any) -> TypeGuard[str]:
    """Say whether a dimension has a name, that all of the same size share."""
    return isinstance(dim, str) and dim not in ("", "?")


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
    most = 256 if dtype == np.uint8 and _is_picture(shape) else 2
    return generator.integers(0, most, shape).astype(dtype)


def _is_picture(shape: Sequence[int]) -> bool:
    """Say whether an input of this shape takes pictures: grey or of three colours."""
    return len(shape) == _RANK_OF_IMAGES and bool({shape[1], shape[3]} & {1, 3})


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
