"""Layers whose branches have unlike ranges, so that one grid is too coarse for some of them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.core.variables import node_key
from ....ir.graph.view import View
from ...engine.context import Feeds
from ..lowering.split_branches import BranchedLayer, read_branched
from .calibration.calibrate import calibrate

# A branch on a grid this many times too coarse loses a bit, 6 dB.
_UNLIKE = 2.0


def branched_layers(graph: gs.Graph, view: View) -> list[BranchedLayer]:
    """Return the layers of `graph` that could be taken apart."""
    found = []
    for node in graph.nodes:
        try:
            branched = read_branched(node, view)
        except DeclinedError:
            continue
        if branched is not None:
            found.append(branched)
    return found


def unlike_branches(
    graph: gs.Graph, layers: Sequence[BranchedLayer], feeds: Feeds
) -> tuple[str, ...]:
    """Return the names of those of `layers` whose branches differ twofold in range on `feeds`."""
    names = [tensor.name for layer in layers for tensor in layer.results]
    ranges = calibrate(graph, names, feeds, method="min-max")
    unlike = []
    for layer in layers:
        known = [ranges[tensor.name] for tensor in layer.results]
        lows, highs = [min(r.minimum, 0.0) for r in known], [max(r.maximum, 0.0) for r in known]
        spans = [high - low for low, high in zip(lows, highs, strict=True)]
        if any(0 < _UNLIKE * span <= max(highs) - min(lows) for span in spans):
            unlike.append(node_key(layer.node))
    return tuple(unlike)
