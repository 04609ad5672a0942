"""The weights of layers as blocks, whatever the operator."""

from __future__ import annotations

import numpy as np

from ....ir.ops.windows.attributes import read_window
from ...analysis.channels.cells import Array
from ...analysis.channels.findings import ChannelLayer


def blocks_of(layer: ChannelLayer, values: Array) -> Array:
    """Return a layer's weight as [group, M/group, C/group, k...], a view where possible."""
    match layer.node.op:
        case "Conv":
            return values.reshape(layer.group, -1, *values.shape[1:])
        case "ConvTranspose":
            return values.reshape(layer.group, -1, *values.shape[1:]).swapaxes(1, 2)
        case _:
            return (values if _is_transposed(layer) else values.T)[None]


def weight_of(layer: ChannelLayer, blocks: Array) -> Array:
    """Return the weight, as the operator takes it, of [group, M/group, C/group, k...]."""
    match layer.node.op:
        case "Conv":
            made = blocks.reshape(-1, *blocks.shape[2:])
        case "ConvTranspose":
            made = blocks.swapaxes(1, 2).reshape(-1, blocks.shape[1], *blocks.shape[3:])
        case _:
            made = blocks[0] if _is_transposed(layer) else blocks[0].T
    return np.ascontiguousarray(made)


def cut_blocks(layer: ChannelLayer, blocks: Array, read: Array, made: Array) -> Array:
    """Return the blocks left: `read` [C] and `made` [M] say which channels stay.

    A block of which nothing stays is gone; the others have as many left of either.
    """
    ins, outs = read.reshape(layer.group, -1), made.reshape(layer.group, -1)
    if layer.group == 1:
        return np.asarray(blocks[0][np.ix_(outs[0], ins[0])][None])
    return np.stack(
        [blocks[b][outs[b]][:, ins[b]] for b in range(layer.group) if ins[b].any() or outs[b].any()]
    )


def is_absent_bias(layer: ChannelLayer, bias: Array | None) -> bool:
    """Say whether it is what PyTorch's exporter writes for no bias of a Conv3d: zeros [M, N]."""
    spatial = layer.node.op in ("Conv", "ConvTranspose")
    return bias is not None and spatial and bias.ndim != 1 and not bias.any()


def sees_border(layer: ChannelLayer) -> bool:
    """Say whether positions differ for an input that is the same at every position."""
    if layer.node.op in ("Gemm", "MatMul"):
        return False
    if layer.node.op == "ConvTranspose":
        return True
    return read_window(layer.node, layer.view).is_padded


def _is_transposed(layer: ChannelLayer) -> bool:
    return layer.node.op == "Gemm" and bool(layer.node.attrs.get("transB", 0))
