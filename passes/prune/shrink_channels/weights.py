"""The weights of layers as blocks, whatever the operator."""

from __future__ import annotations

import numpy as np

from ....ir.ops.linear.operators import MATRIX_OPS
from ....ir.ops.windows.attributes import read_window
from ...analysis.channels.cells import Array
from ...analysis.channels.findings import ChannelLayer


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


def sees_border(layer: ChannelLayer) -> bool:
    """Say whether positions differ for an input that is the same at every position."""
    if layer.node.op in MATRIX_OPS:
        return False
    if layer.node.op == "ConvTranspose":
        return True
    return read_window(layer.node, layer.view).is_padded
