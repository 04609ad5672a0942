"""Sequences of tensors, whose lengths are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..values import PointValues, UnsupportedError, spread
from .call import Call

Rule = Callable[[Call], PointValues | list[PointValues]]


@dataclass(frozen=True)
class SequenceValues(PointValues):
    """A sequence of tensors; what it is as one tensor means nothing."""

    items: tuple[PointValues, ...] = ()


def _sequence(items: list[PointValues]) -> SequenceValues:
    points = max((item.array.shape[0] for item in items), default=1)
    dtype = items[0].dtype if items else np.dtype(np.float32)
    return SequenceValues(np.zeros(points), dtype, items=tuple(items))


def _items(call: Call) -> list[PointValues]:
    found = call.x
    if not isinstance(found, SequenceValues):
        raise UnsupportedError("a sequence of unknown length")
    return list(found.items)


def _position(call: Call, at: int, size: int) -> int:
    given = call.given(at)
    if given is None:
        return size
    found = int(given.fixed().reshape(()))
    return found + size if found < 0 else found


def _construct(call: Call) -> PointValues:
    return _sequence(call.values())


def _empty(call: Call) -> PointValues:
    return _sequence([])


def _at(call: Call) -> PointValues:
    items = _items(call)
    return items[_position(call, 1, len(items))]


def _length(call: Call) -> PointValues:
    return PointValues(np.array([len(_items(call))], np.int64), np.dtype(np.int64))


def _insert(call: Call) -> PointValues:
    items = _items(call)
    items.insert(_position(call, 2, len(items)), call.value(1))
    return _sequence(items)


def _erase(call: Call) -> PointValues:
    items = _items(call)
    del items[_position(call, 1, len(items)) if call.given(1) else -1]
    return _sequence(items)


def _split(call: Call) -> PointValues:
    x, given = call.x, call.given(1)
    axis = int(call.attribute("axis"))
    axis = axis + 1 if axis >= 0 else axis + x.rank + 1
    size = x.array.shape[axis]
    if given is None:
        sizes, keeps = [1] * size, bool(call.attribute("keepdims"))
    elif given.rank == 0:
        each, keeps = int(given.fixed()), True
        sizes = [min(each, size - begin) for begin in range(0, size, each)]
    else:
        sizes, keeps = [int(each) for each in given.fixed()], True
    ends = list(itertools.accumulate(sizes))[:-1]
    parts = np.split(x.array, ends, axis=axis)
    return _sequence([x.with_array(p if keeps else p.squeeze(axis)) for p in parts])


def _concat(call: Call) -> PointValues:
    items = _items(call)
    axis, stacks = int(call.attribute("axis")), bool(call.attribute("new_axis"))
    rank = items[0].rank + stacks
    axis = axis + 1 if axis >= 0 else axis + rank + 1
    points = max(item.array.shape[0] for item in items)
    arrays = [spread(i.array, points) for i in items]
    made = np.stack(arrays, axis) if stacks else np.concatenate(arrays, axis)
    return items[0].with_array(made)


RULES: dict[str, Rule] = {
    "ConcatFromSequence": _concat,
    "SequenceAt": _at,
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SequenceErase": _erase,
    "SequenceInsert": _insert,
    "SequenceLength": _length,
    "SplitToSequence": _split,
}
