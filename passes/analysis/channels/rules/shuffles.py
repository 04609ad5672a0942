"""Reshape, Transpose and Reshape that only reorder channels, taken as one.

What is between them is a grid of channels. Where the channels that stay do not fill such a grid,
one Gather with constant indices does the same.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.ops.traits.groups import RESHAPES
from ..analysis import ChannelAnalysis
from ..cells import Array, Cells
from ..findings import ChannelShuffle
from ..labels import reshape, varying

_STEPS = RESHAPES | {"Transpose", "Identity"}
_MOST_STEPS = 8


def find_shuffle(last: gs.Node, analysis: ChannelAnalysis) -> ChannelShuffle | None:
    """Return the shuffle that ends with the node `last`, or None where it is something else."""
    nodes = [last]
    source = last.inputs[0]
    while len(varying(_labels(source, analysis))) != 1:
        node = analysis.view.producer(source)
        alone = node is not None and analysis.view.read_only_by(source, nodes[-1])
        if node is None or not alone or node.op not in _STEPS or len(nodes) == _MOST_STEPS:
            return None
        nodes.append(node)
        source = node.inputs[0]
    nodes.reverse()
    before, after = analysis.view.shape(source), analysis.view.shape(last.outputs[0])
    (axis,) = varying(_labels(source, analysis))
    if before is None or after is None or len(before) != len(after) or before != after:
        return None
    if varying(_labels(last.outputs[0], analysis)) != (axis,):
        return None
    order = None
    for other, size in enumerate(before):
        if not isinstance(size, int) or size < 2:
            continue
        moved = _moved(nodes, other, size, len(before), analysis)
        if moved is None or varying(moved) != (other,):
            return None
        if other == axis:
            order = moved.reshape(-1)
        elif (moved.reshape(-1) != np.arange(size)).any():
            return None
    if order is None or len(np.unique(order)) != before[axis]:
        return None
    return ChannelShuffle(tuple(nodes), source, last.outputs[0], axis, order)


def _labels(tensor: gs.Tensor, analysis: ChannelAnalysis) -> Array:
    found = analysis.of(tensor)
    return np.zeros(0) if found is None else found


def _moved(
    nodes: list[gs.Node], axis: int, size: int, rank: int, analysis: ChannelAnalysis
) -> Array | None:
    """Return where the indices along one axis come to stand."""
    numbers = np.arange(size).reshape([size if a == axis else 1 for a in range(rank)])
    cells = Cells()
    cells.fresh(size)
    for node in nodes:
        if node.op == "Transpose":
            numbers = numbers.transpose(node.attrs.get("perm") or range(numbers.ndim)[::-1])
        elif node.op != "Identity":
            before, after = (analysis.view.shape(t) for t in (node.inputs[0], node.outputs[0]))
            if before is None or after is None:
                return None
            numbers = reshape(numbers, before, after, cells)
    return numbers if len(np.unique(cells.roots())) == size else None
