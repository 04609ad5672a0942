"""The weights of a layer between pairs that have one scale before and others behind.

y = W x + b,   x = x_q r,  y = y_q t      of what is quantized:  y_q = (W r / t) x_q + b / t
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.graph.view import View
from ....ir.ops.linear.layer import read_layer
from ....ir.ops.traits.groups import LAYERS
from ..equalize_ranges.rescale import rescaled
from .pairs import Pairs

Array = np.ndarray[Any, Any]


def weights_between(node: gs.Node, twin: gs.Node, pairs: Pairs, view: View) -> dict[int, Array]:
    """Return weight and bias of the float layer `twin` as `node` between its pairs has them.

    By input position; nothing where these multiply by nothing. `view` is of the graph of `twin`.
    """
    if node.op not in LAYERS or not node.inputs or not node.outputs:
        return {}
    own = pairs.view(node)
    before, behind = pairs.before(node.inputs[0]), pairs.behind(pairs.result(node))
    taken = None if before is None else before.ratio(own)
    given = behind[0].ratio(own) if behind else None
    if taken is None and given is None:
        return {}
    try:
        layer = read_layer(twin, view)
    except DeclinedError:
        return {}
    scales = [_of(taken, layer.inputs), _of(given, layer.outputs)]
    if scales[0] is None or scales[1] is None:
        return {}
    found = rescaled(layer, 1 / scales[0], 1 / scales[1])
    return {1: found.weight} if found.bias is None else {1: found.weight, 2: found.bias}


def _of(ratio: Array | None, channels: int) -> Array | None:
    """Return `ratio` for each channel [C]; None where it is of something else.

    Behind them are those that layers are padded by.
    """
    if ratio is None or ratio.size == 1:
        return np.full(channels, 1.0 if ratio is None else float(ratio.reshape(())))
    return ratio.reshape(-1)[:channels] if ratio.size >= channels else None
