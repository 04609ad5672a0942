"""Operators that add or repeat elements, or trade channels for positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.decline import DeclinedError
from .....ir.core.variables import label
from .....ir.ops.parameters import read_parameter
from .....ir.ops.windows.pad import read_padding
from ..analysis import ChannelAnalysis, Rule
from ..cells import Array
from ..labels import MOST_LABELS, collapse, varying


def _pad(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    if labels is None:
        return
    if not varying(labels):
        analysis.put(node.outputs[0], labels)
        return
    pads: list[tuple[int, int]]
    try:
        padding = read_padding(node, analysis.view, analysis.values)
        pads = list(zip(padding.begins, padding.ends, strict=True))
    except DeclinedError as reason:
        if node.attrs.get("mode", "constant") == "constant":
            analysis.block(node, f"{label(node)} pads it, and {reason}")
            return
        pads = _spatial_pads(node, labels, analysis) or []
    if not pads or any(min(pads[axis]) < 0 for axis in varying(labels)):
        analysis.block(node, f"{label(node)} changes its channels")
        return
    for axis in varying(labels):
        shape = list(labels.shape)
        begin, end = pads[axis]
        shape[axis] = begin + end
        if _is_too_large(node, shape, analysis):
            return
        extra = analysis.cells.fresh(int(np.prod(shape))).reshape(shape)
        labels = np.concatenate(
            [extra.take(range(begin), axis), labels, extra.take(range(begin, begin + end), axis)],
            axis,
        )
    analysis.put(node.outputs[0], labels)


def _is_too_large(node: gs.Node, factors: Sequence[int], analysis: ChannelAnalysis) -> bool:
    """Say whether `node` makes more channels, the product of `factors`, than can be followed."""
    if math.prod(factors) <= MOST_LABELS:
        return False
    analysis.block(node, f"{label(node)} makes more channels than can be followed")
    return True


def _spatial_pads(
    node: gs.Node, labels: Array, analysis: ChannelAnalysis
) -> list[tuple[int, int]] | None:
    """Return pads of another mode, of which none may lie along channels."""
    before, after = analysis.view.shape(node.inputs[0]), analysis.view.shape(node.outputs[0])
    if before is None or after is None:
        return None
    if any(before[axis] != after[axis] for axis in varying(labels)):
        return None
    return [(0, 0)] * labels.ndim


def _expand(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    shape = analysis.view.shape(node.outputs[0])
    if labels is None or shape is None:
        analysis.block(node, f"{label(node)} repeats it to an unknown shape")
        return
    grown = labels.reshape((1,) * (len(shape) - labels.ndim) + labels.shape)
    if varying(grown) and not analysis.is_constant(node.inputs[1]):
        analysis.block(node, f"the target of {label(node)} is not constant")
        return
    analysis.put(node.outputs[0], grown)


def _tile(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    repeats = read_parameter(node, "repeats", analysis.view, analysis.values).values
    if labels is None:
        return
    if not varying(labels):
        analysis.put(node.outputs[0], labels)
    elif repeats is None:
        analysis.block(node, f"{label(node)} repeats it")
    else:
        counts = [int(r) if labels.shape[a] > 1 else 1 for a, r in enumerate(repeats)]
        if not _is_too_large(node, (*labels.shape, *counts), analysis):
            analysis.put(node.outputs[0], np.tile(labels, counts))


def _depth_to_space(node: gs.Node, analysis: ChannelAnalysis) -> None:
    """Channels that become positions of one channel are one cell."""
    labels = analysis.of(node.inputs[0])
    if labels is None or labels.ndim != 4 or set(varying(labels)) - {1}:
        analysis.block(node, f"{label(node)} moves positions")
        return
    area = int(node.attrs["blocksize"]) ** 2
    if labels.shape[1] == 1:
        analysis.put(node.outputs[0], labels)
        return
    columns = labels.reshape((area, -1) if node.attrs.get("mode", "DCR") == "DCR" else (-1, area))
    if node.attrs.get("mode", "DCR") != "DCR":
        columns = columns.T
    made = collapse(columns, [0], analysis.cells)
    analysis.put(node.outputs[0], made.reshape(1, -1, 1, 1))


def _space_to_depth(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    if labels is None or labels.ndim != 4 or set(varying(labels)) - {1}:
        analysis.block(node, f"{label(node)} moves positions")
        return
    area = int(node.attrs["blocksize"]) ** 2
    if _is_too_large(node, (*labels.shape, area), analysis):
        return
    if labels.size > 1:
        depth_first = node.attrs.get("mode", "DCR") == "DCR"
        labels = np.tile(labels, (1, area, 1, 1)) if depth_first else labels.repeat(area, axis=1)
    analysis.put(node.outputs[0], labels)


RULES: dict[str, Rule] = {
    "Pad": _pad,
    "Expand": _expand,
    "Tile": _tile,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
