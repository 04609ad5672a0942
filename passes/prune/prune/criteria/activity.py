"""Scores of channels by what they are over the feeds.

    activation: mean |a|          apoz: 1 - (zeros among a) / (all of a)

a is the channel behind each layer that makes it: after its normalization, the branch it is added
to, and its activation function. A channel that is zero most of the time has little to say (Hu et
al., "Network trimming", 2016: average percentage of zeros). Of several layers the mean counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.variables import is_standard
from .....ir.graph.view import View
from .....ir.ops.linear.affine import AFFINE_OPS
from .....ir.ops.linear.operators import CONV_OPS
from .....ir.ops.traits import Homogeneous, operators_with
from ....analysis.observe.capture import stream_tensors
from ..channel_units import ChannelUnits
from ..units import Units
from .criterion import Array, Criterion, ScoringContext

# What keeps the channels as they are but for their sizes.
_ON_THE_WAY = AFFINE_OPS | {"Identity"}
_ACTIVATIONS = operators_with(
    lambda t: t.unary and t.continuous and t.homogeneous != Homogeneous.ANY
) | {"PRelu", "ThresholdedRelu"}
_FARTHEST = 8


class MeanActivation(Criterion):
    """Mean absolute activity over the feeds."""

    name: ClassVar[str] = "activation"
    needs_feeds: ClassVar[bool] = True
    channels_only: ClassVar[bool] = True

    def scores(self, rows: Sequence[Units], state: ScoringContext) -> list[Array]:
        """Return mean |a| of each channel."""
        return _means(rows, state, np.abs)


class Apoz(Criterion):
    """Part of its values over the feeds that are not zero."""

    name: ClassVar[str] = "apoz"
    needs_feeds: ClassVar[bool] = True
    channels_only: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def scores(self, rows: Sequence[Units], state: ScoringContext) -> list[Array]:
        """Return 1 - the percentage of zeros, as a part of one."""
        return _means(rows, state, lambda a: a != 0)


def activity_of(node: gs.Node, view: View) -> gs.Tensor:
    """Return the tensor in which the channels that `node` makes are active."""
    tensor = node.outputs[0]
    for _ in range(_FARTHEST):
        reader = view.only_reader(tensor)
        if reader is None or not is_standard(reader):
            break
        if reader.op in _ACTIVATIONS and reader.inputs[0] is tensor:
            return reader.outputs[0]
        shape = view.shape(tensor)
        rank = view.rank(reader.outputs[0])
        if reader.op not in _ON_THE_WAY or shape is None or rank != len(shape):
            break
        tensor = reader.outputs[0]
    return tensor


def _means(
    rows: Sequence[Units], state: ScoringContext, measure: Callable[[Array], Array]
) -> list[Array]:
    context = state.context.on(state.graph)
    view = context.view()
    nodes = {node.outputs[0].name: node for node in state.graph.nodes if node.outputs}
    places: list[list[tuple[str, int, Array]]] = []
    for row in rows:
        assert isinstance(row, ChannelUnits)
        places.append([])
        for slot in row.group.of_role("makes", "carries"):
            # The graph may be a masked copy: its nodes are found by what they give.
            node = nodes[slot.node.outputs[0].name]
            axis = 1 if node.op in CONV_OPS else -1
            places[-1].append((activity_of(node, view).name, axis, slot.index))
    wanted = dict.fromkeys((name, axis) for each in places for name, axis, _ in each)
    sums: dict[tuple[str, int], Array] = {}
    counts = dict.fromkeys(wanted, 0)
    feeds = state.context.feeds or ()
    names = list(dict.fromkeys(name for name, _ in wanted))
    for arrays in stream_tensors(state.graph, names, feeds, state.context.progress):
        for name, axis in wanted:
            lines = np.moveaxis(arrays[name], axis, 0).reshape(arrays[name].shape[axis], -1)
            found = measure(lines).sum(axis=1, dtype=np.float64)
            sums[name, axis] = sums.get((name, axis), 0.0) + found
            counts[name, axis] += lines.shape[1]
    return [
        np.mean(
            [(sums[n, a] / max(counts[n, a], 1))[index].mean(axis=1) for n, a, index in each],
            axis=0,
        )
        for each in places
    ]
