"""Steps of the weights that reach less far than their largest one, by what the feeds show.

Only layers with weights that are coarse on their own grid are looked at (`clipped_steps`): where
there is none, no sample is run.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.core.variables import node_key
from ....ir.graph.view import View
from ....ir.ops.linear.layer import Layer, read_layer
from ....ir.ops.traits.groups import LAYERS
from ...analysis.observe.capture import stream_tensors
from ...engine.context import Feeds
from ..grids.clipped_steps import clipped_steps, is_peaked
from ..grids.formats import IntegerFormat
from ..grids.grid import lattice_steps

Array = np.ndarray[Any, Any]

# Mean squares need few samples.
_MOST_FEEDS = 64
_PARTS = 4


def weight_steps(
    graph: gs.Graph, view: View, feeds: Feeds, form: IntegerFormat
) -> dict[str, Array]:
    """Return steps [M] by the key of the node, for layers of `graph` that gain by clipping weights.

    Rows that do not gain, or that lie on a grid already, have NaN. Feeds count as samples; one
    alone does not show what others are.
    """
    layers = [layer for layer in _layers(graph, view) if is_peaked(_rows(layer), form.qmax).any()]
    if not layers:
        return {}
    power = _powers(graph, layers, feeds)
    found = {node_key(layer.node): _steps(layer, power, form.qmax) for layer in layers}
    return {key: steps for key, steps in found.items() if not np.isnan(steps).all()}


def _layers(graph: gs.Graph, view: View) -> list[Layer]:
    found = []
    for node in graph.nodes:
        if node.op not in LAYERS:
            continue
        try:
            layer = read_layer(node, view)
        except DeclinedError:
            continue
        if layer.op != "ConvTranspose" or layer.group == 1:
            found.append(layer)
    return found


def _rows(layer: Layer) -> Array:
    return layer.kernel().weight.reshape(layer.outputs, -1)


def _powers(graph: gs.Graph, layers: Sequence[Layer], feeds: Feeds) -> Mapping[str, Array]:
    """Return the mean square of each channel that `layers` read, of that part which has most [C].

    Nothing for what a single feed shows.
    """
    axes = {layer.source.name: layer.axis for layer in layers}
    sums: dict[str, list[list[Array]]] = {name: [[] for _ in range(_PARTS)] for name in axes}
    few = itertools.islice(iter(feeds), _MOST_FEEDS)
    for index, found in enumerate(stream_tensors(graph, list(axes), few)):
        for name, axis in axes.items():
            if not found[name].size:
                continue  # an empty batch says nothing
            values = np.moveaxis(found[name], axis, 0)
            squares = np.square(values, dtype=np.float64).reshape(len(values), -1)
            sums[name][index % _PARTS].append(squares.mean(axis=1))
    parts = {name: [np.mean(s, axis=0) for s in own if s] for name, own in sums.items()}
    return {name: np.max(own, axis=0) for name, own in parts.items() if len(own) > 1}


def _steps(layer: Layer, powers: Mapping[str, Array], qmax: int) -> Array:
    rows = _rows(layer)
    steps = np.full(layer.outputs, np.nan)
    power = powers.get(layer.source.name)
    if power is None:
        return steps
    taps = rows.shape[1] // (layer.inputs // layer.group)
    own = power.reshape(layer.group, -1).repeat(taps, axis=1)
    for rows_of_group, at, each in zip(
        np.split(rows, layer.group),
        np.split(np.arange(len(rows)), layer.group),
        own,
        strict=True,
    ):
        steps[at] = clipped_steps(rows_of_group, each, qmax)
    on_grid = ~np.isnan(lattice_steps(layer.kernel().weight.reshape(layer.outputs, -1), qmax))
    return np.where(on_grid, np.nan, steps)
