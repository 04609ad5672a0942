"""Operators that only move channels, read as the table of where each channel comes from.

    y[n, i, ...] = x[v(i)][n, c(i), ...]      v(i) the input, c(i) its channel

Concat, Split, Slice and Gather along axis 1, and the channel shuffle of ShuffleNet (Zhang et al.,
2018), whose exporters write it as Reshape, Transpose, Reshape: with x seen as [N, f1, ..., fk, S],

    shuffle(x)[n, i, ...] = x[n, p(i), ...]    p = arange(C).reshape(f1, ..., fk).transpose(q)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.variables import is_standard
from ...ir.graph.view import View
from ...ir.ops.parameters import read_parameter
from ...ir.ops.slices import read_slice
from ..analysis.sizes.shape_arithmetic import ShapeArithmetic
from ..analysis.sizes.symbolic import ONE, SymbolicSize

Array = np.ndarray[Any, Any]
Sizes = Sequence[SymbolicSize | None]


@dataclass(frozen=True)
class ChannelRoute:
    """A mover of channels: `tables[o]` gives, for output o, input and channel of each channel.

    `nodes` are those it stands for, the one that gives the outputs last; `copied` counts the
    channels they copy.
    """

    nodes: tuple[gs.Node, ...]
    inputs: tuple[gs.Tensor, ...]
    tables: tuple[tuple[Array, Array], ...]
    copied: int

    @property
    def outputs(self) -> list[gs.Tensor]:
        """The tensors it gives, one for each table."""
        return list(self.nodes[-1].outputs)

    @property
    def is_shuffle(self) -> bool:
        """Say whether it moves channels one by one."""
        return self.nodes[-1].op in ("Reshape", "Gather")


def channels_of(tensor: gs.Tensor, view: View) -> int | None:
    """Return the number of channels of a tensor [N, C, spatial...]; None if unknown or zero."""
    shape = view.shape(tensor)
    if shape is None or len(shape) < 3 or not isinstance(shape[1], int):
        return None
    return shape[1] or None


def read_route(node: gs.Node, view: View, sizes: ShapeArithmetic) -> ChannelRoute | None:
    """Return the route at `node`, or None; declines what only looks like a channel shuffle."""
    if not is_standard(node):
        return None
    if node.op == "Reshape":
        return _shuffle(node, view, sizes)
    if node.op == "Concat":
        return _concat(node, view)
    picks = picked_channels(node, view)
    if picks is None:
        return None
    tables = tuple((np.zeros(len(pick), np.int64), pick) for pick in picks)
    return ChannelRoute((node,), (node.inputs[0],), tables, sum(map(len, picks)))


def picked_channels(node: gs.Node, view: View) -> list[Array] | None:
    """Return which channels of its input each output of a Split, Slice or Gather has, or None."""
    picked = _PICKED.get(node.op) if is_standard(node) else None
    if picked is None:
        return None
    rank, channels = view.rank(node.inputs[0]), channels_of(node.inputs[0], view)
    if rank is None or channels is None:
        return None
    if node.op != "Slice" and node.attrs.get("axis", 0) % rank != 1:
        return None
    return picked(node, channels, view)


def _concat(node: gs.Node, view: View) -> ChannelRoute | None:
    rank = view.rank(node.inputs[0])
    axis = node.attrs.get("axis")
    if rank is None or axis is None or axis % rank != 1:
        return None
    counts = [channels_of(tensor, view) for tensor in node.inputs]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return None
    places = [np.full(count, i) for i, count in enumerate(known)]
    table = (np.concatenate(places), np.concatenate([np.arange(c) for c in known]))
    return ChannelRoute((node,), tuple(node.inputs), (table,), sum(known))


def _split(node: gs.Node, channels: int, view: View) -> list[Array] | None:
    sizes = read_parameter(node, "split", view)
    if not sizes.known:
        return None
    lengths = sizes.ints()
    if lengths is None:
        parts = len(node.outputs)
        each = -(-channels // parts)
        lengths = [each] * (parts - 1) + [channels - each * (parts - 1)]
    sound = len(lengths) == len(node.outputs) and all(length > 0 for length in lengths)
    if not sound or any(t.is_empty() for t in node.outputs):
        return None
    return np.split(np.arange(channels), np.cumsum(lengths)[:-1])


def _slice(node: gs.Node, channels: int, view: View) -> list[Array] | None:
    cut = read_slice(node, view)
    if cut is None or list(cut) != [1]:
        return None
    pick = np.arange(channels)[cut[1]]
    return [pick] if len(pick) else None


def _gather(node: gs.Node, channels: int, view: View) -> list[Array] | None:
    indices = view.constant(node.inputs[1])
    if indices is None or indices.ndim != 1 or not indices.size:
        return None
    pick = np.where(indices < 0, indices + channels, indices).astype(np.int64)
    return [pick] if pick.min() >= 0 and pick.max() < channels else None


_PICKED: dict[str, Callable[[gs.Node, int, View], list[Array] | None]] = {
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
}
PICKING_OPS = frozenset(_PICKED)


def _shuffle(node: gs.Node, view: View, sizes: ShapeArithmetic) -> ChannelRoute | None:
    transpose = view.producer(node.inputs[0])
    if transpose is None or transpose.op != "Transpose" or not is_standard(transpose):
        return None
    first = view.producer(transpose.inputs[0])
    if first is None or first.op != "Reshape" or not is_standard(first):
        return None
    x = first.inputs[0]
    channels = channels_of(x, view)
    if channels is None:
        return None
    before, apart, after = (
        need(sizes.shape(tensor, view), "its rank is not known")
        for tensor in (x, first.outputs[0], node.outputs[0])
    )
    perm = transpose.attrs.get("perm") or list(range(len(apart)))[::-1]
    factors = need(_factors(before, apart), "its first Reshape does not split the channels alone")
    axes = range(1, 1 + len(factors))
    moved = [*([0]), *perm[1 : 1 + len(factors)], *range(1 + len(factors), len(apart))]
    need(
        perm == moved and sorted(perm[1 : 1 + len(factors)]) == list(axes),
        f"perm {list(perm)} does not exchange groups of channels alone",
    )
    need(
        len(after) == len(before) and _all_but_one(after, before),
        "its last Reshape does not give back the shape before",
    )
    order = np.arange(channels).reshape(factors)
    pick = order.transpose([p - 1 for p in perm[1 : 1 + len(factors)]]).ravel()
    table = (np.zeros(channels, np.int64), pick)
    return ChannelRoute((first, transpose, node), (x,), (table,), channels)


def _factors(before: Sizes, apart: Sizes) -> list[int] | None:
    """Return f1, ..., fk where [N, C, S...] became [N, f1, ..., fk, S...], S perhaps as one."""
    spatial = before[2:]
    whole = math.prod((s for s in spatial if s is not None), start=ONE)
    for tail in (list(spatial), [None if None in spatial else whole]):
        split = apart[1 : len(apart) - len(tail)]
        numbers = [None if size is None else size.number for size in split]
        if len(numbers) < 2:
            continue
        total = before[1].number if before[1] is not None else None
        known = [n for n in numbers if n is not None]
        if total is None or len(numbers) - len(known) > 1 or 0 in known:
            continue
        if len(known) == len(numbers):
            whole_channels = math.prod(known) == total
        else:
            whole_channels = total % math.prod(known) == 0
        outer = [before[0], *tail]
        found = [apart[0], *apart[len(apart) - len(tail) :]]
        missing = len(numbers) - len(known)
        if whole_channels and _all_but_one(found, outer, missing):
            return [total // math.prod(known) if n is None else n for n in numbers]
    return None


def _all_but_one(found: Sizes, wanted: Sizes, missing: int = 0) -> bool:
    """Say whether the sizes agree; one that is not known follows from the number of elements."""
    unknown = sum(a is None or b is None for a, b in zip(found, wanted, strict=True))
    return unknown + missing <= 1 and all(
        a is None or b is None or a == b for a, b in zip(found, wanted, strict=True)
    )
