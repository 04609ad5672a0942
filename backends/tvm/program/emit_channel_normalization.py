"""LayerNormalization of an image's channels, between two Transposes: one kernel in blocks.

Transpose(0, 2, 3, 1) -> LayerNormalization -> Transpose(0, 3, 1, 2)      none of which is stored

It reads bytes, and stores them where QuantizeLinear follows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_quantizer
from ..graph.channels_last import rolls
from ..graph.groups import FusionGroup
from ..graph.quantized import quantization_of
from ..graph.spatial import is_known
from ..kernels.channel_normalization import ChannelNormalization, channel_normalization
from ..kernels.elements import FLOAT
from ..spec.layout import Array
from .blocked import BlockedProgram
from .kernel_result import KernelResult

_EPSILON = 1e-5


class _Site(NamedTuple):
    """The nodes, and the parameters of each channel."""

    before: gs.Node
    norm: gs.Node
    after: gs.Node
    scale: Array
    shift: Array


def emit_channel_normalization(program: BlockedProgram, node: gs.Node) -> bool:
    """Emit a kernel for what `node`, any of the three, is part of; say if it needs no other.

    The first is emitted by emitting nothing, the second is the kernel, and the third is there then.
    """
    if program.values(node.outputs[0]):
        return True
    site = _site(node, program.view)
    if site is None or any(map(program.is_elsewhere, site[:3])):
        return False
    followers = _followers(program, site)
    if node is site.after:
        return any(program.values(each.outputs[0]) for each in followers)
    x = next(
        (
            value
            for value in program.values(site.before.inputs[0])
            if value.layout is not None and (value.scale is not None or value.dtype == FLOAT)
        ),
        None,
    )
    if x is None or x.layout is None:
        return False
    if node is site.before:
        return True
    program.nodes = (*site[:3], *followers)
    y = KernelResult(program, FusionGroup(site.after, followers), x.layout, x.shape[0])
    y.follow()
    op = ChannelNormalization(
        x=x.spec(),
        y=y.spec,
        epsilon=float(site.norm.attrs.get("epsilon", _EPSILON)),
        epilogue=y.epilogue.chain,
        batch=y.batch,
    )
    parameters = [program.parameter(y.layout.pack(each)) for each in (site.scale, site.shift)]
    y.emit("normalize", op, channel_normalization, [x.expr, *parameters])
    return True


def _followers(program: BlockedProgram, site: _Site) -> list[gs.Node]:
    """Return the QuantizeLinear that alone reads the result, if that is to be a kernel."""
    found = _only_reader(site.after, program.view)
    if found is None or not is_quantizer(found) or program.is_elsewhere(found):
        return []
    return [] if quantization_of(found, program.view) is None else [found]


def _site(node: gs.Node, view: View) -> _Site | None:
    """Return what `node` is part of; None where it is none, or what is inside is read elsewhere."""
    norm: gs.Node | None = node
    if node.op == "Transpose":
        norm = _only_reader(node, view) if rolls(node, view, 1) else view.producer(node.inputs[0])
    if norm is None or norm.op != "LayerNormalization" or not is_standard(norm):
        return None
    return _read(norm, view)


def _read(norm: gs.Node, view: View) -> _Site | None:
    """Return what is around a LayerNormalization."""
    before, after = view.producer(norm.inputs[0]), _only_reader(norm, view)
    if before is None or after is None or not (rolls(before, view, 1) and rolls(after, view, -1)):
        return None
    if len(norm.outputs) != 1 or len(list(view.readers(before.outputs[0]))) != 1:
        return None
    if view.is_output(before.outputs[0]):
        return None
    source, result = before.inputs[0], after.outputs[0]
    rank, shape = view.rank(source), view.shape(source)
    if rank is None or shape is None or rank > 5 or not is_known(view, source, result):
        return None
    if int(norm.attrs.get("axis", -1)) % rank != rank - 1 or norm.attrs.get("stash_type", 1) != 1:
        return None
    scale = view.constant(norm.inputs[1])
    shift = np.zeros(1, np.float32)
    if len(norm.inputs) > 2 and not norm.inputs[2].is_empty():
        given = view.constant(norm.inputs[2])
        if given is None:
            return None
        shift = given
    channels = shape[1]
    assert isinstance(channels, int)
    if scale is None or scale.dtype != np.float32 or scale.shape not in ((1,), (channels,)):
        return None
    if shift.shape not in ((1,), (channels,)):
        return None
    full = [np.broadcast_to(each, (channels,)).copy() for each in (scale, shift)]
    return _Site(before, norm, after, full[0], full[1])


def _only_reader(node: gs.Node, view: View) -> gs.Node | None:
    """Return the node that alone reads the first result of `node`."""
    result = node.outputs[0]
    readers = list(view.readers(result))
    return readers[0] if len(readers) == 1 and not view.is_output(result) else None
