"""Operators over positions, and over several channels at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.variables import label
from .....ir.ops.axes.named import normal_axes, softmax_axes
from .....ir.ops.axes.reductions import read_reduction
from .....ir.ops.parameters import input_of
from .....ir.ops.traits.groups import LAYER_NORMS, POOLS, REDUCTIONS, SOFTMAXES
from ..analysis import ChannelAnalysis, Rule
from ..cells import Array
from ..findings import Role
from ..labels import varying


def _pool(node: gs.Node, analysis: ChannelAnalysis) -> None:
    """Windows over one channel; batch and channels are on the first two axes."""
    labels = analysis.of(node.inputs[0])
    if labels is None or set(varying(labels)) - {0, 1}:
        analysis.block(node, f"{label(node)} runs over it")
        return
    for tensor in node.outputs:
        analysis.put(tensor, labels)


def over_axes(node: gs.Node, axes: Sequence[int], verb: str, analysis: ChannelAnalysis) -> bool:
    """Keep the channels of the first input where they lie along `axes`; say whether they do."""
    labels = analysis.of(node.inputs[0])
    if labels is None or not set(varying(labels)) & set(axes):
        return False
    analysis.fix(node.inputs[0], f"{label(node)} {verb} channels")
    return True


def _reduce(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    if labels is None:
        return
    found = read_reduction(node, analysis.view, analysis.values)
    if found is None:
        analysis.block(node, f"the axes of {label(node)} are not constant")
    elif not over_axes(node, found.axes, "reduces over", analysis):
        left = labels if found.keepdims else np.squeeze(labels, found.axes)
        analysis.put(node.outputs[0], left)


def _along_axis(node: gs.Node, analysis: ChannelAnalysis) -> None:
    """Softmax and its kin: one axis, or up to opset 12 all from there on."""
    labels = analysis.of(node.inputs[0])
    if labels is None:
        return
    found = softmax_axes(node, labels.ndim, analysis.view.opset)
    axes = list(range(labels.ndim)) if found is None else found
    if not over_axes(node, axes, "runs over", analysis):
        analysis.put(node.outputs[0], labels)


def _layer_normalization(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    if labels is None:
        return
    if set(varying(labels)) & set(_normalized_axes(node, labels)):
        reason = f"{label(node)} normalizes over channels, which across-layernorm=true lets go"
        analysis.fix(node.inputs[0], reason)
    else:
        analysis.put(node.outputs[0], labels)


def _across_layer_normalization(node: gs.Node, analysis: ChannelAnalysis) -> None:
    """Let channels go of which it takes mean and spread: those of fewer are taken then."""
    labels = analysis.of(node.inputs[0])
    if labels is None:
        return
    axes = [a for a in varying(labels) if a in _normalized_axes(node, labels)]
    parameters = [position for position, t in enumerate(node.inputs) if position and t.name]
    asked = any(t.name and analysis.view.readers(t) for t in node.outputs[1:])
    known = all(analysis.is_constant(node.inputs[position]) for position in parameters)
    if len(axes) != 1 or asked or not known:
        _layer_normalization(node, analysis)
        return
    cells = analysis.channels(node.inputs[0], axes[0], labels.shape[axes[0]])
    assert cells is not None
    roles: tuple[Role, ...] = ("scales", "shifts")
    for position in parameters:
        values = analysis.values(node.inputs[position])
        assert values is not None
        axis = axes[0] - labels.ndim + values.ndim
        if axis >= 0 and values.shape[axis] == len(cells):
            analysis.slice(node, position, axis, roles[position - 1], cells)
    analysis.normalized.append((node, cells))
    analysis.put(node.outputs[0], labels)


def _normalized_axes(node: gs.Node, labels: Array) -> range:
    first = normal_axes(node.attrs.get("axis", -1), labels.ndim) or [0]
    return range(first[0], labels.ndim)


def _arg(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    if labels is None:
        return
    axes = normal_axes(node.attrs.get("axis", 0), labels.ndim) or list(range(labels.ndim))
    if not over_axes(node, axes, "runs over", analysis):
        kept = labels if node.attrs.get("keepdims", 1) else np.squeeze(labels, tuple(axes))
        analysis.put(node.outputs[0], kept)


def _mean_variance(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    if labels is None:
        return
    axes = normal_axes(node.attrs.get("axes", [0, 2, 3]), labels.ndim) or []
    if not over_axes(node, axes, "normalizes over", analysis):
        analysis.put(node.outputs[0], labels)


def _all_channels(node: gs.Node, analysis: ChannelAnalysis) -> None:
    analysis.block(node, f"{label(node)} runs over channels")


def _resize(node: gs.Node, analysis: ChannelAnalysis) -> None:
    """Positions only: along axes on which cells differ, the size has to stay."""
    labels = analysis.of(node.inputs[0])
    before, after = analysis.view.shape(node.inputs[0]), analysis.view.shape(node.outputs[0])
    asked = (input_of(node.op, name, analysis.view.opset) for name in ("scales", "sizes"))
    places = [place for place in asked if place is not None and place < len(node.inputs)]
    sizes = [node.inputs[place] for place in places if node.inputs[place].name]
    if labels is None or before is None or after is None:
        return
    if any(before[axis] != after[axis] for axis in varying(labels)):
        analysis.block(node, f"{label(node)} resizes channels")
    elif varying(labels) and any(not analysis.is_constant(t) for t in sizes):
        analysis.block(node, f"the sizes of {label(node)} are not constant")
    else:
        analysis.put(node.outputs[0], labels)


RULES: dict[str, Rule] = {
    **dict.fromkeys(POOLS, _pool),
    **dict.fromkeys(REDUCTIONS, _reduce),
    **dict.fromkeys(SOFTMAXES, _along_axis),
    **dict.fromkeys(LAYER_NORMS, _layer_normalization),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    **dict.fromkeys(("LRN", "GroupNormalization"), _all_channels),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "MeanVarianceNormalization": _mean_variance,
}
# In place of the rules above where channels may go that statistics are taken over.
ACROSS_LAYERNORM: dict[str, Rule] = dict.fromkeys(LAYER_NORMS, _across_layer_normalization)
