"""What feeds are, in one line, and where their scale cannot be right.

21 images -> input.1 [1,3,320,320], RGB, resized from 300x451..1411x1411 by letterbox, values
0.00..1.00
"""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.counted import counted
from ..core.errors import FeedError
from ..core.variables import dense_values
from .open_picture import open_picture
from .picture_feeds import ImageFeeds

Array = np.ndarray[Any, Any]
Feeds = Iterable[Mapping[str, Array]]

_LOOKED_AT = 8  # batches
_MOST_FILES = 1000  # whose sizes are read
_MOST_SPREADS = 8.0
_LARGEST_PIXEL = 256.0  # of what networks are trained on
_AWAY, _HARDLY = 1.5, 0.25  # in spreads


@dataclass(frozen=True)
class SeenValues:
    """Shape and type of the first batch of an input, and the values of the first few."""

    shape: tuple[int, ...]
    dtype: str
    low: float
    high: float
    mean: float


def seen_values(feeds: Feeds) -> dict[str, SeenValues]:
    """Return what the first batches hold, by name; arrays without numbers are left out."""
    arrays: dict[str, list[Array]] = {}
    for feed in itertools.islice(feeds, _LOOKED_AT):
        for name, array in feed.items():
            arrays.setdefault(name, []).append(np.asarray(array))
    return {name: _seen(found) for name, found in arrays.items() if found[0].dtype.kind in "fiub"}


def _seen(arrays: list[Array]) -> SeenValues:
    filled = [a for a in arrays if a.size] or [np.zeros(1)]
    return SeenValues(
        arrays[0].shape,
        arrays[0].dtype.name,
        min(float(a.min()) for a in filled),
        max(float(a.max()) for a in filled),
        float(np.mean([a.mean(dtype=np.float64) for a in filled])),
    )


def described(feeds: Feeds, seen: Mapping[str, SeenValues], path: Path) -> str:
    """Return one line on `feeds`, which come from `path`."""
    if isinstance(feeds, ImageFeeds):
        return _of_images(feeds, seen)
    told = ", ".join(f"{name} {_text(s)}, values {_range(s)}" for name, s in seen.items())
    count = operator.length_hint(feeds)
    return f"{counted(count, 'batch', 'batches')} of {path} -> {told}"


def _of_images(feeds: ImageFeeds, seen: Mapping[str, SeenValues]) -> str:
    steps, given = feeds.preprocessing, feeds.input
    found = seen[given.name]
    order = "grey" if given.channels == 1 else "BGR" if steps.bgr else "RGB"
    if steps.function is not None:
        how = f"by {getattr(steps.function, '__name__', 'a function')}"
    else:
        how = _sizes(feeds)
    how += ", alpha dropped" if any(map(_has_alpha, feeds.files[:_MOST_FILES])) else ""
    images = counted(len(feeds.files), "image")
    return f"{images} -> {given.name} {_text(found)}, {order}, {how}, values {_range(found)}"


def _sizes(feeds: ImageFeeds) -> str:
    sizes = sorted(set(_sizes_of(feeds.files[:_MOST_FILES])), key=lambda size: size[0] * size[1])
    if not sizes or sizes == [feeds.input.size]:
        return "of that size"
    shown = [f"{height}x{width}" for height, width in (sizes[0], sizes[-1])]
    return f"resized from {'..'.join(dict.fromkeys(shown))} by {feeds.preprocessing.resize}"


def _sizes_of(files: Iterable[Path]) -> Iterator[tuple[int, int]]:
    for file in files:
        size = None
        with contextlib.suppress(FeedError), open_picture(file) as image:  # who reads it names it
            size = image.height, image.width
        if size is not None:
            yield size


def _has_alpha(file: Path) -> bool:
    with contextlib.suppress(FeedError), open_picture(file) as image:
        return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    return False


def _text(seen: SeenValues) -> str:
    kind = "" if seen.dtype == "float32" else f" {seen.dtype}"
    return f"[{','.join(map(str, seen.shape))}]{kind}"


def _range(seen: SeenValues) -> str:
    whole = seen.dtype.startswith(("int", "uint", "bool"))
    return f"{seen.low:.0f}..{seen.high:.0f}" if whole else f"{seen.low:.2f}..{seen.high:.2f}"


def scale_doubts(feeds: Feeds, seen: Mapping[str, SeenValues], graph: gs.Graph) -> list[str]:
    """Return why the scale of feeds cannot be right: by itself, or for how the network begins."""
    doubts = _of_preprocessing(feeds) if isinstance(feeds, ImageFeeds) else []
    for tensor in graph.inputs:
        found = seen.get(tensor.name)
        asked = None if found is None else _asked(tensor)
        if found is None or asked is None:
            continue
        centre, spread = asked
        away, varies = abs(found.mean - centre) / spread, (found.high - found.low) / spread
        if away > _MOST_SPREADS or (away > _AWAY and varies < _HARDLY):
            doubts.append(
                f"the network begins with a shift of '{tensor.name}' by about {-centre:.3g}, and "
                f"the feeds lie in {_range(found)}; are pixels 0..1 or 0..255 (--pixels)?"
            )
    return doubts


def _of_preprocessing(feeds: ImageFeeds) -> list[str]:
    steps = feeds.preprocessing
    if steps.function is not None or feeds.input.dtype == np.uint8:
        return []
    low, high = steps.span
    mean, std = max(steps.mean, key=abs), max(map(abs, steps.std))
    if not low <= mean <= high:
        return [
            f"mean {mean:g} is subtracted from pixels in {low:g}..{high:g}, and lies outside; "
            "give --pixels 0..255, or the mean divided by 255"
        ]
    if std > _MOST_SPREADS * (high - low):
        return [
            f"std {std:g} divides pixels in {low:g}..{high:g}, of which little is left; give "
            "--pixels 0..255, or the std divided by 255"
        ]
    least = min(map(abs, steps.std))
    largest = max(abs(end - own) for end in (low, high) for own in steps.mean) / least
    if largest > _LARGEST_PIXEL:
        return [
            f"std {least:g} divides pixels in {low:g}..{high:g}, which makes up to {largest:.0f} "
            "of them; give --pixels 0..1, or the std times 255"
        ]
    if 0 < abs(mean) <= 1 < (high - low) / _MOST_SPREADS:
        return [
            f"mean {mean:g} is subtracted from pixels in {low:g}..{high:g}, which changes little; "
            "give --pixels 0..1, or the mean times 255"
        ]
    return []


def _asked(tensor: gs.Tensor) -> tuple[float, float] | None:
    """Return the values that the network takes for usual at an input: their centre and spread.

    A BatchNormalization has seen them; a subtraction of a constant makes them zero.
    """
    readers = list(tensor.outputs)
    if len(readers) != 1:
        return None
    node = readers[0]
    held = [dense_values(operand) for operand in node.inputs]
    if node.op == "BatchNormalization" and held[3] is not None and held[4] is not None:
        return float(held[3].mean()), float(np.sqrt(held[4].mean())) + 1e-3
    if node.op == "Sub" and len(held) > 1 and held[1] is not None and held[1].size:
        centre = float(held[1].mean())
        return centre, max(abs(centre) / 2, 0.25)
    return None
