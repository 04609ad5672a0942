"""What layers were before they were rounded for integers: those that stay float after all have it.

A pass that changes the weights of layers for the sake of integers records both, by the layer's
result. What something else has changed since is not known any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .fingerprint import Marks

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LayerWeights:
    """Weight and bias of a layer, as stored; `bias` is [M], None where there is none."""

    weight: Array
    bias: Array | None

    def __eq__(self, other: object) -> bool:
        """Say whether both are the same numbers; no bias is one of zeros."""
        if not isinstance(other, LayerWeights):
            return NotImplemented
        return np.array_equal(self.weight, other.weight) and _same_bias(self.bias, other.bias)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class _Rounded:
    before: LayerWeights
    after: LayerWeights


class FloatLayers:
    """The layers of one run that were rounded, by the name of what they give.

    `network`: the float graph that the quantized one was made of, once there is one.
    `reconstructed`: the marks of that one once its blocks have learned.
    """

    def __init__(self) -> None:
        self._rounded: dict[str, _Rounded] = {}
        self.network: gs.Graph | None = None
        self.reconstructed: Marks | None = None

    def record(self, result: str, before: LayerWeights, after: LayerWeights) -> None:
        """Keep `before` of the layer that gives `result`; of several changes, before the first."""
        known = self._rounded.get(result)
        if known is not None and known.after == before:
            before = known.before
        self._rounded[result] = _Rounded(before, after)

    def before(self, result: str, now: LayerWeights) -> LayerWeights | None:
        """Return what the layer that gives `result` was; None where it is not as it was left."""
        known = self._rounded.get(result)
        return known.before if known is not None and known.after == now else None

    def __bool__(self) -> bool:
        """Say whether any layer was rounded."""
        return bool(self._rounded)


def _same_bias(a: Array | None, b: Array | None) -> bool:
    if a is None or b is None:
        return all(each is None or not each.any() for each in (a, b))
    return np.array_equal(a, b)
