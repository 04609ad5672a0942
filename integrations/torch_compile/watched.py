"""Whether weights are still what was compiled.

PyTorch counts what is written to a tensor, but not what is written through `.data` or numpy, nor
the statistics that BatchNormalization updates. So elements are looked at too: all of a small
tensor, some of a large one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .arrays import to_array

_SMALL = 4096
_SAMPLES = 64


class Watched:
    """The tensors among `inputs` at `weights`, as they are now, and the numbers at `numbers`."""

    def __init__(
        self, inputs: Sequence[Any], weights: Sequence[int], numbers: Sequence[int]
    ) -> None:
        self._weights = weights
        self._numbers = numbers
        views: dict[np.dtype[Any], list[np.ndarray[Any, Any]]] = defaultdict(list)
        for i in weights:
            view = _elements(inputs[i])
            views[view.dtype].append(view)
        self._views = list(views.values())
        self._seen = self._elements()
        self._state = self._counts(inputs)

    def same(self, inputs: Sequence[Any]) -> bool:
        """Say whether `inputs` has the same tensors and numbers, which hold what they did."""
        return self._state == self._counts(inputs) and self._seen == self._elements()

    def _counts(self, inputs: Sequence[Any]) -> list[Any]:
        tensors = [inputs[i] for i in self._weights]
        numbers = [inputs[i] for i in self._numbers]
        return [
            *((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors),
            *(n.item() if isinstance(n, torch.Tensor) else n for n in numbers),
        ]

    def _elements(self) -> list[bytes]:
        return [np.concatenate(views).tobytes() for views in self._views]


def _elements(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return elements of `tensor` that change with it."""
    tensor = tensor.detach()
    order = sorted(range(tensor.ndim), key=lambda axis: (-tensor.stride(axis), axis))
    flat = tensor.permute(order)
    if not flat.is_contiguous():  # parts of a larger tensor: the first along each axis
        flat = tensor[(slice(0, 1),) * tensor.ndim]
    values = to_array(flat).reshape(-1)
    return values if len(values) <= _SMALL else values[:: -(-len(values) // _SAMPLES)]
