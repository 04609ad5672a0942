"""Whether weights are still what was compiled.

PyTorch counts what is written to a tensor, but not what is written through `.data` or numpy, nor
the statistics that BatchNormalization updates. So elements are looked at too: in every call the
first few of each tensor, which updates of whole tensors change; and now and then all of a small
tensor and some of a large one. Weights that PyTorch itself no longer reads lie in no cache: to look
at that many in every call would take as long as a small network.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .arrays import to_array

_FIRST = 8
_SMALL = 4096
_SAMPLES = 64
_CALLS = 64  # from one look at many elements to the next


class Watched:
    """The tensors among `inputs` at `weights`, as they are now, and the numbers at `numbers`.

    It is asked in every call: what it looks at is laid out beforehand.
    """

    def __init__(
        self, inputs: Sequence[Any], weights: Sequence[int], numbers: Sequence[int]
    ) -> None:
        self._weights = tuple(weights)
        self._counted = tuple(i for i in weights if not inputs[i].is_inference())
        self._numbers = tuple(numbers)
        values = [_in_order(inputs[i]) for i in weights]
        self._first = _Elements([each[:_FIRST] for each in values])
        self._many = _Elements([_sample(each) for each in values])
        self._calls = 0
        self._state = self._counts(inputs)

    def same(self, inputs: Sequence[Any]) -> bool:
        """Say whether `inputs` has the same tensors and numbers, which hold what they did."""
        self._calls += 1
        looked_at = self._first if self._calls % _CALLS else self._many
        return self._state == self._counts(inputs) and looked_at.same()

    def _counts(self, inputs: Sequence[Any]) -> tuple[list[Any], ...]:
        numbers = (inputs[i] for i in self._numbers)
        return (
            [inputs[i].data_ptr() for i in self._weights],
            [inputs[i]._version for i in self._counted],
            [n.item() if isinstance(n, torch.Tensor) else n for n in numbers],
        )


class _Elements:
    """Elements of tensors, side by side by type, and their bytes as they were."""

    def __init__(self, values: list[np.ndarray[Any, Any]]) -> None:
        views: dict[np.dtype[Any], list[np.ndarray[Any, Any]]] = defaultdict(list)
        for each in values:
            views[each.dtype].append(each)
        self._views = list(views.values())
        self._seen = self._bytes()

    def same(self) -> bool:
        return self._bytes() == self._seen

    def _bytes(self) -> list[bytes]:
        return [np.concatenate(each).tobytes() for each in self._views]


def _in_order(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return elements of `tensor` that change with it, in the order in which they lie."""
    tensor = tensor.detach()
    order = sorted(range(tensor.ndim), key=lambda axis: (-tensor.stride(axis), axis))
    flat = tensor.permute(order)
    if not flat.is_contiguous():  # parts of a larger tensor: the first along each axis
        flat = tensor[(slice(0, 1),) * tensor.ndim]
    return to_array(flat).reshape(-1)


def _sample(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values if len(values) <= _SMALL else values[:: -(-len(values) // _SAMPLES)]
