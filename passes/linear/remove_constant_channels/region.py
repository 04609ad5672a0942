"""Where the channels of a layer go: through what works on each alone, into layers that mix them.

    layer -> activations, affine maps, depthwise convolutions, pools, Flatten -> layers

Along the way the value of every channel that is constant is known. Such a region is what has to
change together when a channel is taken out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.linear.affine import ELEMENTWISE_OPS, read_affine
from ....ir.ops.linear.kernel import Array, Kernel
from ....ir.ops.linear.layer import Layer, read_layer
from ....ir.ops.linear.operators import reads_transposed
from ....ir.ops.on_constants import constant_result
from ....ir.ops.opsets import aligns
from ....ir.ops.traits.groups import LAYERS, MEAN_AND_MAX_POOLS
from ....ir.ops.windows.attributes import averages_pads, read_window
from ....ir.ops.windows.seen import sees_input

# What two channels of one value each are together.
_JOINS: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
}
_MOST_READERS = 16
_MOST_NODES = 64


@dataclass(frozen=True)
class Channels:
    """A tensor of a region: each channel's value, NaN where it varies.

    A channel is `width` neighbours on axis 1: more than one after a Flatten.
    """

    tensor: gs.Tensor
    values: Array
    width: int = 1


@dataclass(frozen=True)
class MixingLayer:
    """A layer that mixes the channels, and for each whether taking it out leaves no trace."""

    layer: Layer
    kernel: Kernel
    source: Channels
    removable: Array
    unread: Array


@dataclass
class ChannelRegion:
    """The tensors, the nodes between in order, and the layers at the end."""

    channels: dict[int, Channels] = field(default_factory=dict)
    nodes: list[gs.Node] = field(default_factory=list)
    readers: list[MixingLayer] = field(default_factory=list)

    @property
    def removable(self) -> Array:
        """Say for each channel whether every layer at the end can do without it."""
        every: Array = np.all([reader.removable for reader in self.readers], axis=0)
        return every


def read_region(start: gs.Tensor, values: Array, view: View) -> ChannelRegion:
    """Follow the channels of `start`; decline where something needs all of them as they are."""
    region = ChannelRegion()
    waiting: dict[int, gs.Node] = {}
    done: set[int] = set()
    pending = deque([Channels(start, values)])
    while pending:
        current = pending.popleft()
        region.channels[id(current.tensor)] = current
        need(not view.is_output(current.tensor), "its channels are a graph output")
        readers = view.readers(current.tensor)
        fits = len(readers) <= _MOST_READERS and len(done) <= _MOST_NODES
        need(fits, "its channels go to too many operators")
        for reader in readers:
            if id(reader) in done:
                continue
            own = view.producer(reader.outputs[0]) is reader and is_standard(reader)
            need(own, f"its channels are read by {reader.op}, which needs all of them")
            if _joins(reader, view) and any(id(t) not in region.channels for t in reader.inputs):
                waiting[id(reader)] = reader
                continue
            waiting.pop(id(reader), None)
            done.add(id(reader))
            after = _through(reader, current, region, view)
            if after is None:
                region.readers.append(_mixing_layer(reader, current, view))
            else:
                region.nodes.append(reader)
                pending.append(after)
    for node in waiting.values():
        need(None, f"{node.op} mixes its channels with others")
    return region


def _joins(node: gs.Node, view: View) -> bool:
    """Say whether `node` joins two tensors, neither of them constant, element by element."""
    return node.op in _JOINS and not any(view.is_constant(t) for t in node.inputs)


def _through(node: gs.Node, x: Channels, region: ChannelRegion, view: View) -> Channels | None:
    """Return what `node` makes of each channel; None where it is a layer that mixes them."""
    result, values = node.outputs[0], x.values
    if _joins(node, view):
        need(aligns(node.op, view.opset), "operators broadcast by attribute before opset 7")
        a, b = (region.channels[id(tensor)] for tensor in node.inputs)
        ranks = [view.rank(channels.tensor) for channels in (a, b)]
        aligned = a.width == b.width and ranks[0] == ranks[1] is not None
        need(aligned, f"{node.op} mixes its channels with others")
        return Channels(result, _JOINS[node.op](a.values, b.values), x.width)
    if node.op in LAYERS:
        alone = node.inputs[0] is x.tensor and all(t is not x.tensor for t in node.inputs[1:])
        need(alone, f"its channels are the weight of {node.op}")
    if node.op == "Conv" and node.attrs.get("group", 1) != 1:
        return Channels(result, _depthwise(node, values, view))
    if node.op in LAYERS:
        return None
    if node.op == "Flatten" or node.op == "Reshape":
        return Channels(result, values, x.width * _flattened(node, view))
    if node.op == "BatchNormalization" or node.op in ELEMENTWISE_OPS:
        affine = need(read_affine(node, view), f"{node.op} mixes its channels with others")
        need(x.width == 1, f"{node.op} stands between Flatten and the layer")
        rank = view.rank(x.tensor)
        pair = affine.on_channels(rank, 1, len(values))
        scale, shift = need(pair, f"the constant of {node.op} is not one value per channel")
        return Channels(result, scale * values + shift)
    if node.op in MEAN_AND_MAX_POOLS:
        need(
            not any(view.readers(t) or view.is_output(t) for t in node.outputs[1:]),
            "the indices of MaxPool count all channels",
        )
        need(sees_input(node, view), f"a window of {node.op} may hold no element")
        return Channels(result, _where_zero(values) if averages_pads(node, view) else values)
    found = constant_result(node, values, view)
    after = need(found, f"its channels are read by {node.op}, which needs all of them")
    return Channels(result, after, x.width)


def _depthwise(node: gs.Node, values: Array, view: View) -> Array:
    layer = read_layer(node, view)
    need(
        layer.group == layer.inputs == layer.outputs == len(values),
        "its channels are read by a grouped convolution",
    )
    kernel = layer.kernel()
    padded = read_window(node, view).is_padded
    known = _where_zero(values) if padded else values
    result = np.where(np.isnan(known), 0, known)
    return np.where(np.isnan(known), np.nan, kernel.of_constant(result) + kernel.full_bias())


def _where_zero(values: Array) -> Array:
    """Return values that stay what they are beside padding with zeros: zero ones."""
    return np.where(values == 0, 0.0, np.nan)


def _flattened(node: gs.Node, view: View) -> int:
    """Return how many neighbours each channel becomes: the number of positions."""
    if node.op == "Reshape":
        target = view.constant(node.inputs[1])
        plain = target is not None and target.shape == (2,) and target[1] == -1
        flat = view.shape(node.outputs[0])
        before = view.shape(node.inputs[0])
        same = flat is not None and before is not None and len(before) > 1
        # A batch that Reshape itself names must be the batch, or channels would run together.
        plain = plain and same and bool(before and flat and before[0] == flat[0] is not None)
        need(plain, "its channels are read by Reshape, which needs all of them")
    else:
        need(node.attrs.get("axis", 1) == 1, "Flatten does not keep the batch apart")
    shape = need(view.shape(node.inputs[0]), "the size of what is flattened is not known")
    sizes = [size for size in shape[2:] if isinstance(size, int)]
    need(len(sizes) == len(shape[2:]), "the size of what is flattened is not static")
    return math.prod(sizes)


def _mixing_layer(node: gs.Node, x: Channels, view: View) -> MixingLayer:
    if node.op == "MatMul":
        added = view.only_reader(node.outputs[0])
        if added is not None and added.op == "Add" and is_standard(added):
            node = added if any(view.is_constant(t) for t in added.inputs) else node
    layer = read_layer(node, view)
    need(layer.group == 1, "its channels are read by a grouped convolution")
    need(not reads_transposed(layer.node), "Gemm transposes its input")
    need(layer.is_spatial or view.rank(x.tensor) == 2, f"{layer.op} reads no matrix")
    need(layer.inputs == len(x.values) * x.width, f"{layer.op} reads other channels")
    kernel = layer.kernel()
    taps = kernel.weight[0].reshape(layer.outputs, len(x.values), -1)
    unread = ~taps.any(axis=(0, 2))
    plain = layer.op != "ConvTranspose" and (
        not layer.is_spatial or not read_window(layer.node, view).is_padded
    )
    known = x.values if plain else _where_zero(x.values)
    return MixingLayer(layer, kernel, x, unread | ~np.isnan(known), unread)
