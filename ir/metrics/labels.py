"""Labels that say what is right: one class a sample, or a map of them, one a position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from .result import Array


class UnfitLabelsError(ValueError):
    """Labels that cannot be what is right; the text says what would be."""


LEFT_OUT = -100  # of a position that counts for nothing
_VOID = 255  # by which maps of classes leave out pixels (Pascal VOC)


def label_names(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return the entries of the feeds that `given` names: one, or several."""
    return (given,) if isinstance(given, str) else tuple(given)


def class_axis_of(
    output: Sequence[int], labels: Sequence[int], known: int | None = None
) -> int | None:
    """Return the axis of an output along which `labels` name one place each, None where none fits.

    `output` and `labels` are shapes; without that axis they are the same, axes of size 1 aside.
    `known` is where the classes are known to lie, which is looked at first.
    """
    if not labels or not output or output[0] != labels[0]:
        return None
    wanted = _without_ones(labels[1:])
    for axis in _candidates(len(output), known):
        rest = [size for place, size in enumerate(output) if place not in (0, axis)]
        if output[axis] > 1 and _without_ones(rest) == wanted:
            return axis
    return None


def as_classes(labels: Array, count: int) -> Array:
    """Return `labels` of `count` classes as int64, [N] or [N, ...], without axes of size 1.

    In maps, negative numbers are `LEFT_OUT`, and so is 255 where there is no such class.
    """
    found = labels.astype(np.int64).reshape(len(labels), *_without_ones(labels.shape[1:]))
    if found.ndim == 1:
        return found
    void = (found < 0) | ((found == _VOID) & (count <= _VOID))
    return np.where(void, LEFT_OUT, found)


def whole_numbers(labels: Array, count: int | None, *, void: bool = False) -> Array:
    """Return `labels` of `count` classes (None: any number) as int64; negative ones count nowhere.

    `void`: nor does 255 where there is no such class, for which `LEFT_OUT` is put. Raises
    UnfitLabelsError where they are no whole numbers or name no class.
    """
    below = "" if count is None else f" from 0 to {count - 1}"
    needed = f"whole numbers{below}, the indices of classes"
    if labels.dtype.kind not in "biuf" or not np.array_equal(labels, np.trunc(labels)):
        raise UnfitLabelsError(needed)
    found: Array = labels.astype(np.int64)
    if count is None:
        return found
    if void and count <= _VOID:
        found = np.where(found == _VOID, LEFT_OUT, found)
    if found.max(initial=0) >= count:
        raise UnfitLabelsError(needed)
    return found


def shown_labels(labels: Array) -> str:
    """Write type, shape and range: `int64 [4], from 0 to 30`."""
    of = "strings" if labels.dtype.kind in "US" else labels.dtype.name
    text = f"{of} {list(labels.shape)}"
    if not labels.size or labels.dtype.kind not in "biuf":
        return text
    low, high = labels.min(), labels.max()
    return f"{text}, all {low}" if low == high else f"{text}, from {low} to {high}"


def _candidates(rank: int, known: int | None) -> Iterator[int]:
    first = () if known is None else (known % rank,)
    yield from (axis for axis in (*first, 1, rank - 1) if 0 < axis < rank)


def _without_ones(sizes: Sequence[int]) -> list[int]:
    return [size for size in sizes if size != 1]
