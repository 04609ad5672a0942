"""QuantizeLinear on its own: behind what is no kernel of ours, or read in more than one layout.

Channels of zeros that a Pad adds before it are written on the way.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_quantizer
from ....ir.ops.windows.pad import read_padding
from ..graph.groups import FusionGroup
from ..graph.quantized import quantization_of
from ..graph.spatial import is_known
from ..kernels.pack import Pack, pack
from ..spec.layout import Layout, no_halo
from .blocked import BlockedProgram
from .emit_channels import emit_scalar
from .kernel_result import KernelResult

# Bytes of so many channels are one number of a dot product.
_FEW_CHANNELS = 4


def can_emit_quantize(node: gs.Node, view: View) -> bool:
    """Say whether `node` quantizes channels of known number to bytes with one scale."""
    return is_known(view, node.outputs[0]) and quantization_of(node, view) is not None


def can_emit_pad(node: gs.Node, view: View) -> bool:
    """Say whether `node` adds channels of zeros behind few others, for a QuantizeLinear alone."""
    result = node.outputs[0]
    readers = view.readers(result)
    if not is_known(view, node.inputs[0], result) or view.dtype(result) != np.float32:
        return False
    if len(readers) != 1 or not is_quantizer(readers[0]) or view.is_output(result):
        return False
    shape, before = view.shape(result), view.shape(node.inputs[0])
    if not can_emit_quantize(readers[0], view) or shape is None or before is None:
        return False
    if not _FEW_CHANNELS >= int(shape[1] or 0) > int(before[1] or 0):
        return False
    try:
        padding = read_padding(node, view)
    except DeclinedError:
        return False
    others = (*padding.begins, padding.ends[0], *padding.ends[2:])
    return not any(others) and padding.value == 0.0


def emit_pad(program: BlockedProgram, group: FusionGroup) -> None:
    """Emit channels of zeros and the QuantizeLinear that follows."""
    x = program.plain_value(group.anchor.inputs[0])
    shape = program.inferred_shape(group.result)
    layout = Layout.plain(int(shape[1] or 0), _FEW_CHANNELS, no_halo(len(shape) - 2))
    y = KernelResult(program, group, layout, x.shape[0])
    y.follow()
    y.emit("pack", Pack(x.spec(), y.spec, y.epilogue.chain, y.batch), pack, [x.expr])


def emit_quantize(program: BlockedProgram, group: FusionGroup) -> None:
    """Emit QuantizeLinear of a tensor in any layout."""
    source = group.anchor.inputs[0]
    if emit_scalar(program, group):
        return
    x = program.plain_value(source)
    channels, rank = int(x.shape[1]), len(x.shape) - 2
    lanes = _FEW_CHANNELS if channels <= _FEW_CHANNELS else program.machine.lanes
    y = KernelResult(program, group, Layout.plain(channels, lanes, no_halo(rank)), x.shape[0])
    y.epilogue.begin(group.anchor, source, len(x.shape))
    y.emit("pack", Pack(x.spec(), y.spec, y.epilogue.chain, y.batch), pack, [x.expr])
