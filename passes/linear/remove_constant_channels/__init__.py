"""Take out the channels whose values are known, and those that nothing reads.

    W [x; c] + b = W_x x + (b + W_c c)       c: channels that are constant at every position
    W [x; z] + b = W_x x + b                 z: channels with zero weights in every layer after

A channel is constant where all weights that make it are zero: its bias is what goes through the
operators after it. Beside padding with zeros only a value of zero is the same at every position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import dense_values
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.linear.affine import ELEMENTWISE_OPS
from ....ir.ops.linear.conditioning import need_conditioned
from ....ir.ops.linear.kernel import Array, Kernel
from ....ir.ops.linear.layer import Layer, read_layer, write_layer
from ....ir.ops.linear.storing import need_storable
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context
from ...engine.rewrite import Rewrite, RewritePass
from .region import ChannelRegion, MixingLayer, read_region


@dataclass(frozen=True)
class RemoveConstantChannels(RewritePass):
    """Take out channels of a layer that are constant, or that no layer after it reads.

    They are followed through activations, affine maps, depthwise convolutions, pools and Flatten;
    every layer that mixes them takes what they contribute into its bias.
    """

    name: ClassVar[str] = "remove-constant-channels"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_RemoveChannels(),)

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Look for regions of channels only where some layer has a row or column of zeros."""
        if any(map(_has_silent_channels, context.nodes_with(LAYERS))):
            super().run(graph, context)


@dataclass(frozen=True, kw_only=True)
class _RemovableChannels:
    layer: Layer
    region: ChannelRegion
    kept: Array  # channels that stay
    readers: tuple[tuple[MixingLayer, Kernel], ...]  # with the new kernels
    cuts: tuple[dict[int, int], ...]  # of each node between: axis of channels by constant input
    types: dict[int, TensorType]


class _RemoveChannels(Rewrite[_RemovableChannels]):
    ops = LAYERS

    def match(self, node: gs.Node, view: View) -> _RemovableChannels | None:
        try:
            layer = read_layer(node, view)
        except DeclinedError:
            return None
        if layer.outputs < 2 or (not layer.is_spatial and layer.rank != 2):
            return None
        values = _constants(layer)
        varies = bool(np.isnan(values).all())
        if layer.group != 1:
            need(varies, "its channels are in groups")
            return None
        try:
            region = read_region(layer.result, values, view)
        except DeclinedError:
            if varies:
                return None  # only what is known to be constant is worth a reason
            raise
        if not region.readers:
            return None
        removed = region.removable
        if removed.all():
            removed[0] = False  # an operator must have a channel
        if not removed.any():
            need(varies, "its constant channels reach a layer that sees padding beside them")
            return None
        need(
            not _fill_vectors(layer.outputs, int(removed.sum())),
            f"{layer.outputs} channels fill vectors, and those left would take as many",
        )
        readers = tuple((reader, _without(reader, removed)) for reader in region.readers)
        for reader, kernel in readers:
            need_storable(kernel, reader.layer.weight.dtype)
        kept = np.flatnonzero(~removed)
        cuts = tuple(_cuts(inner, layer.outputs, view) for inner in region.nodes)
        return _RemovableChannels(
            layer=layer,
            region=region,
            kept=kept,
            readers=readers,
            cuts=cuts,
            types=_types(region, len(kept), view),
        )

    def rewrite(self, site: _RemovableChannels, edit: Edit) -> None:
        region, layer = site.region, site.layer
        new = {
            key: edit.variable(f"{channels.tensor.name}_kept", site.types.get(key))
            for key, channels in region.channels.items()
        }
        for node in region.nodes:
            edit.remove(node)
        for reader, kernel in site.readers:
            write_layer(edit, reader.layer, kernel, source=new[id(reader.source.tensor)])
        kernel = layer.kernel().take_outputs(site.kept)
        write_layer(edit, layer, kernel, result=new[id(layer.result)])
        for node, cuts in zip(region.nodes, site.cuts, strict=True):
            inputs: list[gs.Tensor] = [new.get(id(tensor), tensor) for tensor in node.inputs]
            for position, axis in cuts.items():
                values = np.take(node.inputs[position].values, site.kept, axis)
                inputs[position] = edit.constant(values, f"{node.inputs[position].name}_kept")
            attrs = dict(node.attrs)
            if node.op == "Conv":
                attrs["group"] = len(site.kept)
            edit.node(node.op, inputs, [new[id(node.outputs[0])]], attrs, at=node)


def _fill_vectors(channels: int, removed: int) -> bool:
    """Say whether `channels` are a multiple of 16 or 8 that without `removed` is rounded up to.

    Runtimes lay channels out by as many; `shrink-channels` leaves some without effect for it.
    """
    width = next((width for width in (16, 8) if channels % width == 0), 0)
    return 0 < width < channels and removed < width


def _has_silent_channels(node: gs.Node) -> bool:
    constant = node.op in LAYERS and len(node.inputs) > 1
    weight = dense_values(node.inputs[1]) if constant else None
    if weight is None or weight.ndim < 2:
        return False
    return any(bool(_silent(weight, axis).any()) for axis in (0, 1))


def _silent(weight: Array, axis: int) -> Array:
    """Say of each index along `axis` whether all weights there are zero."""
    others = tuple(a for a in range(weight.ndim) if a != axis)
    if weight.size:
        # One weight of each tells for almost every network, without reading the rest.
        first = weight[tuple(slice(None) if a == axis else 0 for a in range(weight.ndim))] == 0
        if not first.any():
            return np.asarray(first)
    return np.asarray(~weight.any(axis=others))


def _constants(layer: Layer) -> Array:
    """Return the value [M] of each output that has no weights but zeros, and NaN for the others."""
    silent = _silent(layer.weight, layer.output_axis)
    if layer.op == "ConvTranspose":
        silent = np.resize(silent, layer.outputs) & (layer.group == 1)
    bias = np.zeros(layer.outputs) if layer.bias is None else layer.bias.astype(np.float64)
    beta = layer.node.attrs.get("beta", 1.0) if layer.op == "Gemm" else 1.0
    return np.where(silent, beta * bias, np.nan)


def _without(reader: MixingLayer, removed: Array) -> Kernel:
    """Return the kernel that reads the channels left, what the others gave put into its bias."""
    width = reader.source.width
    known = np.where(removed & ~reader.unread, reader.source.values, 0.0)
    given = reader.kernel.of_constant(np.repeat(known, width))
    kernel = reader.kernel.take_inputs(np.flatnonzero(np.repeat(~removed, width)))
    if not given.any():
        return kernel
    bias = kernel.full_bias() + given
    terms = reader.kernel.largest_of(np.repeat(known, width))
    need_conditioned(terms, bias, reader.layer.weight.dtype)
    return replace(kernel, bias=bias)


def _cuts(node: gs.Node, channels: int, view: View) -> dict[int, int]:
    """Return the constant inputs of `node` that hold a value a channel, each with that axis."""
    if node.op == "BatchNormalization":
        return dict.fromkeys(range(1, 5), 0)
    if node.op == "Conv":
        return {i: 0 for i, tensor in enumerate(node.inputs) if i > 0 and not tensor.is_empty()}
    rank = view.rank(node.outputs[0])
    if node.op not in ELEMENTWISE_OPS or rank is None:
        return {}
    axis = 1 - rank
    constants = ((i, view.constant(tensor)) for i, tensor in enumerate(node.inputs))
    return {
        i: axis
        for i, values in constants
        if values is not None and values.ndim >= -axis and values.shape[axis] == channels
    }


def _types(region: ChannelRegion, kept: int, view: View) -> dict[int, TensorType]:
    found = {}
    for key, channels in region.channels.items():
        kind = view.type(channels.tensor)
        if kind is not None and kind.shape is not None:
            shape = (kind.shape[0], kept * channels.width, *kind.shape[2:])
            found[key] = TensorType(kind.dtype, shape)
    return found
