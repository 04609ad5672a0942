"""How much larger a model may get by the maps that padded convolutions need along their borders.

    other constants + maps  <=  max(growth * weights, 128 KiB)

A map is as large as an activation, and narrow networks have activations larger than their weights.
Constants of one axis do not count: they go with the operators that are pushed. So weights stay as
large as they are, maps only take room, and another run accepts no map more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.dtypes import byte_size
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.traits.groups import LAYERS

# So many bytes are no matter, whatever the weights take.
_LEAST = 1 << 17


class MapRoom:
    """Says whether there is room for a map; `limit` is in elements, `growth` a part of weights."""

    def __init__(self, limit: int, growth: float) -> None:
        self._limit = limit
        self._growth = growth
        self._left: dict[int, float] = {}
        self._taken = 0

    def need(self, sizes: Sequence[int], dtype: np.dtype[Any], view: View) -> None:
        """Decline where maps of so many elements are larger than what is left."""
        largest = max(sizes, default=0)
        need(largest <= self._limit, f"the map of {largest} elements is larger than map-limit")
        key = id(view.scope)
        if key not in self._left:
            self._left[key] = _room(view.scope, self._growth)
        size = byte_size(sum(sizes), dtype)
        need(
            not sizes or size + self._taken <= self._left[key],
            f"the map of {size} bytes would make the model much larger",
        )

    def take(self, size: int) -> None:
        """Note that a map of `size` bytes was added."""
        self._taken += size


def _room(scope: gs.Graph, growth: float) -> float:
    weights, others = _weights(scope), 0
    held = {id(t): t for n in scope.nodes for t in n.inputs if isinstance(t, gs.Constant)}
    for key, tensor in held.items():
        if key not in weights and sum(size > 1 for size in tensor.shape) > 1:
            others += _bytes(tensor)
    return max(_LEAST, growth * sum(map(_bytes, weights.values()))) - others


def _weights(scope: gs.Graph) -> dict[int, gs.Constant]:
    """Return the weights of layers by identity."""
    layers = (n for n in scope.nodes if n.op in LAYERS and is_standard(n))
    read = (node.inputs[1] for node in layers)
    return {id(tensor): tensor for tensor in read if isinstance(tensor, gs.Constant)}


def _bytes(tensor: gs.Constant) -> int:
    return byte_size(math.prod(tensor.shape), tensor.dtype)
