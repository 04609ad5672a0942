"""The layers of a graph and the channels between them that can be scaled.

A layer makes channels, and takes them in; between the two they go through what `propagation` knows.
Whatever else reads them fixes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard
from ....ir.graph.uses import Uses
from ....ir.graph.view import View
from ....ir.ops.clips import clip_bounds
from ....ir.ops.linear.layer import Layer, read_with_bias
from ....ir.ops.linear.operators import reads_transposed
from ....ir.ops.opsets import aligns
from ....ir.ops.traits.groups import LAYERS
from ...analysis.channels.cells import Array, Cells
from ..grids.grid import lattice_steps
from .channel_tensor import ChannelTensor
from .propagation import RULES

_FINEST_GRID = 127
_LARGEST_BOUND = 1e30
_TINY = 1e-30


@dataclass(frozen=True)
class ScalableLayer:
    """A layer, the cells it makes, and those it reads (None: not channels of another layer)."""

    layer: Layer
    result: ChannelTensor
    source: ChannelTensor | None

    @property
    def read(self) -> ChannelTensor:
        """The tensor it reads; the cell -1 stands for what is no channel of another layer."""
        if self.source is not None:
            return self.source
        axis = self.layer.axis % int(self.layer.rank or 1)
        return ChannelTensor(self.layer.source, np.full(self.layer.inputs, -1), axis)


@dataclass(frozen=True)
class ClipBound:
    """A Clip between `low` <= 0 and `high` >= 0; 0 and the infinite hold at every scale."""

    source: ChannelTensor
    low: float
    high: float

    @property
    def is_homogeneous(self) -> bool:
        """Say whether it holds at every scale, as that of Relu does."""
        return self.low in (0, -np.inf) and self.high in (0, np.inf)

    def largest_scales(self, low: Array, high: Array, headroom: float) -> Array:
        """Return by how much channels seen from `low` to `high` [C] can be scaled, at least 1.

        `headroom` times what was seen then still is within the bound; 0 where the bound is reached.
        """
        room, reached = np.full(len(low), np.inf), np.zeros(len(low), bool)
        for bound, values in ((self.low, low), (self.high, high)):
            if bound != 0 and np.isfinite(bound):
                part = values / bound
                reached |= part > 1
                room = np.where(part > 0, np.minimum(room, 1 / np.maximum(part, _TINY)), room)
        return np.where(reached, 0.0, np.maximum(room / headroom, 1.0))


@dataclass
class ScalableChannels:
    """What `read_scalable_channels` found, layers in the order in which they run."""

    cells: Cells = field(default_factory=Cells)
    layers: list[ScalableLayer] = field(default_factory=list)
    bounds: list[ClipBound] = field(default_factory=list)
    declined: list[tuple[gs.Node, str]] = field(default_factory=list)

    def is_open(self, carried: ChannelTensor | None) -> bool:
        """Say whether any channel may be scaled."""
        return carried is not None and any(
            self.cells.reason(cell) is None for cell in carried.cells.tolist()
        )

    def open_bounds(self) -> list[ClipBound]:
        """Return the bounds that do not hold at every scale."""
        return [bound for bound in self.bounds if not bound.is_homogeneous]


def read_scalable_channels(graph: gs.Graph, view: View, uses: Uses) -> ScalableChannels:
    """Follow the channels of every layer at the top level of `graph`, in one walk."""
    flow = ScalableChannels()
    carried: dict[int, ChannelTensor] = {}
    biases: set[int] = set()
    for node in graph.nodes:
        if id(node) in biases:
            continue
        outputs = _through(node, carried, flow, view, biases)
        for found in outputs:
            carried[id(found.tensor)] = found
            shown = view.is_output(found.tensor)
            if shown or any(uses.scope(r) is not graph for r in view.readers(found.tensor)):
                where = "a graph output" if shown else "read in a subgraph"
                flow.cells.fix(found.cells, f"its channels are {where}")
    return flow


def _through(
    node: gs.Node,
    carried: dict[int, ChannelTensor],
    flow: ScalableChannels,
    view: View,
    biases: set[int],
) -> list[ChannelTensor]:
    inputs = {i: carried[id(t)] for i, t in enumerate(node.inputs) if id(t) in carried}
    reason = f"its channels go through {node.op}, which does not pass a scale on"
    if is_standard(node) and node.op in LAYERS:
        try:
            reached = _layer(node, inputs, flow, view)
        except DeclinedError as error:
            flow.declined.append((node, str(error)))
            reason = f"its channels are read by {node.op}, which cannot take a scale: {error}"
        else:
            flow.layers.append(reached)
            if reached.layer.added is not None:
                biases.add(id(reached.layer.added))
            return [reached.result]
    elif is_standard(node) and inputs and node.op in RULES and aligns(node.op, view.opset):
        outputs = RULES[node.op](node, inputs, flow.cells, view)
        if outputs is not None and node.op == "Clip":
            outputs = _clip(node, inputs[0], flow, view, outputs)
        if outputs is not None:
            return outputs
    for found in inputs.values():
        flow.cells.fix(found.cells, reason)
    return []


def _clip(
    node: gs.Node,
    source: ChannelTensor,
    flow: ScalableChannels,
    view: View,
    outputs: list[ChannelTensor],
) -> list[ChannelTensor] | None:
    found = clip_bounds(node, view)
    if found is None or not found[0] <= 0 <= found[1]:
        return None
    low, high = (b if abs(b) < _LARGEST_BOUND else np.copysign(np.inf, b) for b in found)
    flow.bounds.append(ClipBound(source, float(low), float(high)))
    return outputs


def _layer(
    node: gs.Node, inputs: dict[int, ChannelTensor], flow: ScalableChannels, view: View
) -> ScalableLayer:
    layer = read_with_bias(node, view)
    need(not reads_transposed(node), "its input is transposed")
    need(view.fan_out(node.inputs[1]) == 1, "its weight is shared")
    need(layer.weight.size > 0, "it has no weights")
    need(np.isfinite(layer.weight).all(), "its weights are not finite")
    need(not _on_grid(layer), "its weights lie on an integer grid already")
    rank = need(layer.rank, "the rank of its input is unknown")
    need(rank > 1, "its input is a vector")
    axis = layer.axis % rank
    source = inputs.get(0)
    fits = source is None or (source.axis == axis and len(source.cells) == layer.inputs)
    need(fits and set(inputs) <= {0}, "it reads other channels than its input's")
    result = ChannelTensor(layer.result, flow.cells.fresh(layer.outputs), axis)
    return ScalableLayer(layer, result, source)


def _on_grid(layer: Layer) -> bool:
    """Say whether rounding or training left the rows on a grid, which scaling would undo."""
    rows: Array = layer.kernel().weight.reshape(layer.outputs, -1)
    steps = lattice_steps(rows, _FINEST_GRID)
    return bool(np.isfinite(steps).any() and np.isfinite(steps[rows.any(axis=1)]).all())
