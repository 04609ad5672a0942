"""Tensors of one element-wise operation, seen with as few axes as tell them apart.

    [n, 197, 192] + [192]               [n * 197, 192] + [1, 192]
    [8, 12, 49, 49] + [12, 49, 49]      [8, 28812] + [1, 28812]

Neighbouring axes that each operand either has or lacks are one. The last, along which kernels read
vectors, is then cut in equal pieces where it is long, for threads to share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..spec.layout import BufferSpec, plain_spec

_LONGEST = 4096  # elements of a row
_MOST_AXES = 5


class Broadcast(Protocol):
    """How tensors that broadcast to one are seen by the kernel that gives that one."""

    @property
    def batch(self) -> Any:
        """The number of images that the kernel computes."""

    def spec(self, shape: Sequence[Any]) -> BufferSpec | None:
        """Return how an operand of `shape` is seen; None where there is no index for it."""


@dataclass(frozen=True, kw_only=True)
class MergedAxes:
    """A result of the sizes [batch, *sizes]; each operand has all of such an axis, or 1 of it.

    `axes`: for each axis of the tensor its size and the merged axis, None where it is 1. `cut`: the
    last of them is two of `sizes`.
    """

    batch: Any
    sizes: tuple[int, ...]
    axes: tuple[tuple[Any, int | None], ...]
    cut: bool

    @property
    def result(self) -> BufferSpec:
        """How the result is seen."""
        return _spec(self.sizes)

    def spec(self, shape: Sequence[Any]) -> BufferSpec | None:
        """Return how an operand of `shape` is seen; None where its sizes are not those expected."""
        aligned = [*[1] * (len(self.axes) - len(shape)), *shape]
        has: dict[int, bool] = {}
        for size, (wanted, axis) in zip(aligned, self.axes, strict=True):
            if axis is None:
                continue
            whole = not _is_one(size)
            if (whole and not _equal(size, wanted)) or has.setdefault(axis, whole) != whole:
                return None
        count = len(self.sizes) + 1 - self.cut
        flags = [has.get(axis, True) for axis in range(count)]
        flags += flags[-1:] if self.cut else []
        sizes = [size if flag else 1 for size, flag in zip(self.sizes, flags[1:], strict=True)]
        return _spec(sizes, single=not flags[0])


@dataclass(frozen=True, kw_only=True)
class ProductRows:
    """A product of matrices [*lead, columns], whose kernel sees `batch` images of so many `rows`.

    The rows are those of all `lead` where the kernel has one row an image, else the last of them.
    """

    batch: Any
    lead: tuple[Any, ...]
    rows: int
    columns: int
    single_rows: bool

    def spec(self, shape: Sequence[Any]) -> BufferSpec | None:
        """Return how an operand of `shape` is seen; None where there is no index for it."""
        wanted = (*self.lead, self.columns)
        aligned = [*[1] * (len(wanted) - len(shape)), *shape]
        if any(not _is_one(a) and not _equal(a, b) for a, b in zip(aligned, wanted, strict=True)):
            return None
        *lead, last = aligned
        rows = 1
        if not self.single_rows:
            rows = lead.pop()
        images = self.lead[: len(lead)]
        first = next((at for at, size in enumerate(lead) if not _is_one(size)), len(lead))
        if any(not _equal(a, b) for a, b in zip(lead[first:], images[first:], strict=True)):
            return None
        there = plain_spec(int(rows), (int(last),))
        count = lead[first:]
        if all(_is_one(size) for size in images[:first]):
            return there
        if not count:
            return replace(there, single=True)
        if not all(isinstance(size, int) for size in count):
            return None
        return replace(there, repeat=math.prod(count))


def merged(
    result: Sequence[Any], operands: Sequence[Sequence[Any]], lanes: int
) -> MergedAxes | None:
    """Return how a `result` and its `operands` are seen; None where that takes too many axes."""
    aligned = [[*[1] * (len(result) - len(each)), *each] for each in operands]
    kinds: list[tuple[bool, ...]] = []
    sizes: list[Any] = []
    axes: list[tuple[Any, int | None]] = []
    for place, size in enumerate(result):
        kind = tuple(not _is_one(each[place]) for each in aligned)
        if _is_one(size) and not any(kind):
            axes.append((size, None))
            continue
        known = isinstance(size, int) and bool(sizes) and isinstance(sizes[-1], int)
        if known and kinds[-1] == kind:
            sizes[-1] *= size
        else:
            kinds.append(kind)
            sizes.append(size)
        axes.append((size, len(sizes) - 1))
    if any(not isinstance(size, int) for size in sizes[1:]):
        return None
    if len(sizes) < 2 and all(isinstance(size, int) for size in sizes):
        axes = [(size, None if axis is None else axis + 1) for size, axis in axes]
        sizes = [1, *sizes]  # a row that is cut, of one image
    sizes += [1] * (2 - len(sizes))
    *rest, last = sizes
    pieces = _pieces(last, lanes)
    sizes = [*rest, pieces, last // pieces] if pieces > 1 else sizes
    if len(sizes) > _MOST_AXES:
        return None
    return MergedAxes(batch=sizes[0], sizes=tuple(sizes[1:]), axes=tuple(axes), cut=pieces > 1)


def _spec(sizes: Sequence[int], *, single: bool = False) -> BufferSpec:
    channels, spatial = (1, sizes) if len(sizes) == 1 else (sizes[0], sizes[1:])
    return replace(plain_spec(channels, spatial), single=single)


def _pieces(size: int, lanes: int) -> int:
    """Return in how many equal pieces a row is cut: as few as leave none too long."""
    if size <= _LONGEST:
        return 1
    for count in range(-(-size // _LONGEST), size // lanes):
        if size % count == 0 and (size // count) % lanes == 0:
            return count
    return 1


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _equal(a: Any, b: Any) -> bool:
    from tvm import sym

    return bool(sym.Analyzer().can_prove_equal(a, b))
