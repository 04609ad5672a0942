"""Values inside a window that no input decides, such as the axes of a reduction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core.variables import dense_values
from ..applications import Applications
from ..operators import Call, Setting, results
from ..residues import Primes
from ..values import POINTS, PointValues, UnsupportedError, constant

Array = np.ndarray[Any, Any]

# What is longer is no list of axes or sizes.
_MOST_ELEMENTS = 256


class FixedValues:
    """Computes them when they are asked for; None of what an input decides."""

    def __init__(self, nodes: Sequence[gs.Node], opset: int) -> None:
        self._made = {id(tensor): node for node in nodes for tensor in node.outputs if tensor.name}
        self._opset = opset
        random = np.random.default_rng(0)  # none of what it draws is fixed
        self._setting = Setting(Applications(random, 0.0), Primes(random, POINTS), free=True)
        self._known: dict[int, PointValues | None] = {}

    def __call__(self, tensor: gs.Tensor) -> Array | None:
        """Return the value of a tensor."""
        found = self._value(tensor)
        return None if found is None else found.array[0]

    def _value(self, tensor: gs.Tensor) -> PointValues | None:
        key = id(tensor)
        if key not in self._known:
            self._known[key] = None
            self._known[key] = self._computed(tensor)
        return self._known[key]

    def _computed(self, tensor: gs.Tensor) -> PointValues | None:
        values, node = dense_values(tensor), self._made.get(id(tensor))
        try:
            if values is not None:
                return constant(values) if values.size <= _MOST_ELEMENTS else None
            if node is None:
                return None
            inputs = [self._value(each) if each.name else None for each in node.inputs]
            if any(each.name and v is None for each, v in zip(node.inputs, inputs, strict=True)):
                return None
            found = results(Call(node, inputs, self._opset, self._setting))
        except UnsupportedError:
            return None
        made = dict(zip(map(id, node.outputs), found, strict=False)).get(id(tensor))
        return made if made is not None and made.is_fixed else None
