"""QuantizeLinear on its own: behind what is no kernel of ours, or read in more than one layout."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
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
