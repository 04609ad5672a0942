"""Kernel sizes, strides, dilations and pads of ONNX nodes, on three axes whatever the rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ....ir.ops.windows.attributes import read_window as window_of

Sizes = tuple[int, int, int]
_ONES = (1, 1, 1)


@dataclass(frozen=True)
class SpatialWindow:
    """A window over three axes; `pads` are those before and after each, resolved."""

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    pads: tuple[tuple[int, int], ...]

    @classmethod
    def none(cls) -> SpatialWindow:
        """Return the window of an operator without positions."""
        return cls(_ONES, _ONES, _ONES, ((0, 0),) * 3)

    @property
    def is_pointwise(self) -> bool:
        """Say whether each result reads the one position where it stands."""
        return self.kernel == self.strides == _ONES and not any(map(any, self.pads))


def read_window(node: gs.Node, view: View) -> SpatialWindow:
    """Read the window of a Conv or pooling node whose input and output sizes are known.

    Pads after the input are what the last window needs: with `ceil_mode` that may be more than the
    node says, and less where a stride skips the rest.
    """
    found = window_of(node, view)
    x, y = _sizes(view, node.inputs[0]), _sizes(view, node.outputs[0])
    befores, _ = found.pads(x)
    pads = []
    for axis, before in enumerate(befores):
        reach = (y[axis] - 1) * found.strides[axis] + found.reaches[axis]
        pads.append((before, max(0, reach - x[axis] - before)))
    missing = [(0, 0)] * (3 - found.rank)
    return SpatialWindow(
        _three(found.kernel), _three(found.strides), _three(found.dilations), (*missing, *pads)
    )


def read_transposed(node: gs.Node, view: View) -> tuple[SpatialWindow, Sizes]:
    """Read the window of a ConvTranspose and its pads before each axis."""
    found = window_of(node, view)
    befores, _ = found.pads(_sizes(view, node.inputs[0]))
    kernel, strides, dilations = map(_three, (found.kernel, found.strides, found.dilations))
    return SpatialWindow(kernel, strides, dilations, ((0, 0),) * 3), _three(befores, missing=0)


def read_sizes(tensor: gs.Tensor, view: View) -> Sizes:
    """Return the spatial sizes of `tensor`, which are known."""
    return _three(_sizes(view, tensor))


def is_known(view: View, *tensors: gs.Tensor) -> bool:
    """Say whether these have one to three or no spatial axes, all sizes but the batch numbers."""
    for tensor in tensors:
        shape = view.shape(tensor)
        if shape is None or not 2 <= len(shape) <= 5:
            return False
        if not all(isinstance(size, int) and size > 0 for size in shape[1:]):
            return False
        if shape[0] == 0:
            return False
    return True


def spatial_sizes(shape: Shape) -> tuple[int, ...]:
    """Return the sizes after batch and channels, which are known."""
    return tuple(int(size) for size in shape[2:] if size is not None)


def _sizes(view: View, tensor: gs.Tensor) -> list[int]:
    shape = view.shape(tensor)
    assert shape is not None
    return [int(size) for size in shape[2:] if size is not None]


def _three(sizes: Sequence[int], missing: int = 1) -> Sizes:
    padded = [missing] * (3 - len(sizes)) + list(sizes)
    return padded[0], padded[1], padded[2]
