"""The linear operators that read a tensor, also through operators that keep its channels apart.

f(s * x + t) = s * f(x) + t   channel by channel, for f an average over positions of a channel, a
                              maximum where s > 0, and any reordering of elements
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.axes.permutation import perm_of
from ....ir.ops.axes.reductions import read_reduction
from ....ir.ops.linear.kernel import Array
from ....ir.ops.linear.layer import Layer, read_layer
from ....ir.ops.linear.operators import reads_transposed
from ....ir.ops.traits.groups import LAYERS, MEAN_AND_MAX_POOLS, MEAN_POOLS, RESHAPES
from ....ir.ops.windows.attributes import averages_pads
from ....ir.ops.windows.seen import sees_input

_REORDERING = RESHAPES - {"Unsqueeze"}
_KEEPING = _REORDERING | MEAN_AND_MAX_POOLS | {"ReduceMean", "Transpose"}
_LONGEST_PATH = 6
_MOST_READERS = 16


@dataclass(frozen=True)
class LinearReader:
    """A layer, and the nodes between the tensor and it, each the sole reader of the one before."""

    path: tuple[gs.Node, ...]
    layer: Layer

    @property
    def entry(self) -> gs.Node:
        """The node that reads the tensor."""
        return self.path[0] if self.path else self.layer.node


@dataclass(frozen=True)
class ChannelPlace:
    """Where the tensor's channels are in a layer's input: each stands for `repeat` in a row."""

    channels: int
    repeat: int
    needs_positive: bool

    def spread(self, values: Array) -> Array:
        """Return values [channels] as the layer's input channels."""
        return np.repeat(values, self.repeat)


@dataclass(frozen=True)
class LinearReaders:
    """All readers of a tensor of `rank`, whose `axis` (from 0) each of them reads as channels."""

    rank: int
    axis: int
    readers: tuple[LinearReader, ...]
    places: tuple[ChannelPlace, ...]

    @property
    def channels(self) -> int:
        """How many channels the tensor has."""
        return self.places[0].channels

    @property
    def needs_positive(self) -> bool:
        """Whether a maximum is taken on the way to a layer."""
        return any(place.needs_positive for place in self.places)

    @property
    def column(self) -> tuple[int, ...]:
        """The shape in which values by channel broadcast against the tensor."""
        return (self.channels, *[1] * (self.rank - 1 - self.axis))


def is_read_by_linear(tensor: gs.Tensor, view: View) -> bool:
    """Say whether a linear operator reads `tensor`, and not too many do; a cheap first look."""
    readers = view.readers(tensor)
    return len(readers) <= _MOST_READERS and any(_leads_to_linear(r, view) for r in readers)


def read_linear_readers(tensor: gs.Tensor, view: View) -> LinearReaders:
    """Read the layers that take in a map of channels of `tensor`, all its readers; or decline."""
    need(not view.is_output(tensor), "its result is a graph output")
    nodes = view.readers(tensor)
    need(
        all(view.producer(node.outputs[0]) is node for node in nodes if node.outputs),
        "a subgraph reads its result",
    )
    readers = [read_linear_reader(node, tensor, view) for node in nodes]
    rank = view.rank(tensor) or next((each.layer.rank for each in readers if not each.path), None)
    rank = need(rank, "the rank of its input is not known")
    axis, places = need(
        same_axis(readers, tensor, rank, view), "its channels are not what the layers sum over"
    )
    return LinearReaders(rank, axis, tuple(readers), tuple(places))


def _leads_to_linear(node: gs.Node, view: View) -> bool:
    for _ in range(_LONGEST_PATH):
        if not is_standard(node) or node.op not in _KEEPING:
            break
        reader = view.only_reader(node.outputs[0])
        if reader is None:
            return False
        node = reader
    return node.op in LAYERS and is_standard(node)


def read_linear_reader(node: gs.Node, tensor: gs.Tensor, view: View) -> LinearReader:
    """Read the layer that `node`, a reader of `tensor`, is or leads to; or decline."""
    problem = f"{node.op} reads it and cannot take it in"
    path: list[gs.Node] = []
    while node.op in _KEEPING and is_standard(node) and len(path) < _LONGEST_PATH:
        need(node.inputs[0] is tensor, problem)
        path.append(node)
        tensor = node.outputs[0]
        node = need(view.only_reader(tensor), f"the result of {node.op} has other readers")
    need(node.op in LAYERS and is_standard(node), problem)
    need(node.inputs[0] is tensor, f"it is the weight or the bias of {node.op}")
    need(not reads_transposed(node), "Gemm reads it transposed")
    return LinearReader(tuple(path), _with_bias(node, view))


def place_channels(
    reader: LinearReader, tensor: gs.Tensor, axis: int, view: View
) -> ChannelPlace | None:
    """Follow the channels on `axis` (from 0) of `tensor` into the layer, or return None."""
    repeat, needs_positive = 1, False
    for node in reader.path:
        shape = view.shape(node.inputs[0])
        if shape is None or repeat > 1:
            return None
        if node.op in _REORDERING:
            inner = [size for size in shape[2:] if isinstance(size, int)]
            if axis != 1 or len(inner) != len(shape) - 2 or view.rank(node.outputs[0]) != 2:
                return None
            repeat = math.prod(inner)
            continue
        moved = _moved(node, axis, view)
        if moved is None:
            return None
        axis = moved
        needs_positive |= node.op in MEAN_AND_MAX_POOLS - MEAN_POOLS
    layer = reader.layer
    last = 1 if layer.is_spatial else (layer.rank or 0) - 1
    if axis != last or (layer.is_spatial and repeat > 1):
        return None
    if repeat < 1 or layer.inputs % repeat:
        return None
    return ChannelPlace(layer.inputs // repeat, repeat, needs_positive)


def _moved(node: gs.Node, axis: int, view: View) -> int | None:
    """Return the axis of the channels behind `node`, which keeps them apart; None where not."""
    match node.op:
        case "Transpose":
            order = perm_of(node, view)
            return None if order is None else order.index(axis)
        case "ReduceMean":
            found = read_reduction(node, view)
            return None if found is None or 0 in found.axes else found.axis_after(axis)
        case "AveragePool":
            if averages_pads(node, view) or not sees_input(node, view):
                return None
        case "MaxPool":
            read = any(view.readers(t) or view.is_output(t) for t in node.outputs[1:])
            if read or not sees_input(node, view):
                return None
    return axis if axis == 1 else None


def _with_bias(node: gs.Node, view: View) -> Layer:
    """Read the layer at `node`, for a MatMul together with the Add of its bias where it has one."""
    reader = view.only_reader(node.outputs[0]) if node.op == "MatMul" else None
    if reader is not None and reader.op == "Add":
        try:
            return read_layer(reader, view)
        except DeclinedError:
            pass
    return read_layer(node, view)


def same_axis(
    readers: Sequence[LinearReader], tensor: gs.Tensor, rank: int, view: View
) -> tuple[int, list[ChannelPlace]] | None:
    """Return the one axis of `tensor` that every reader reads as channels, and its places there."""
    for axis in dict.fromkeys((1, rank - 1)):
        places = [place_channels(reader, tensor, axis, view) for reader in readers]
        found = [place for place in places if place is not None]
        if len(found) == len(readers) and len({place.channels for place in found}) == 1:
            return axis, found
    return None
