"""Kernel sizes, strides, dilations and pads of ONNX nodes, on three axes whatever the rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from ....ir.graph.types import Shape
from ....ir.graph.view import View

Sizes = tuple[int, int, int]
_ONES = (1, 1, 1)


@dataclass(frozen=True)
class Window:
    """A window over three axes; `pads` are those before and after each, resolved."""

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    pads: tuple[tuple[int, int], ...]

    @classmethod
    def none(cls) -> Window:
        """Return the window of an operator without positions."""
        return cls(_ONES, _ONES, _ONES, ((0, 0),) * 3)

    @property
    def is_pointwise(self) -> bool:
        """Say whether each result reads the one position where it stands."""
        return self.kernel == self.strides == _ONES and not any(map(any, self.pads))


def read_window(node: gs.Node, view: View) -> Window:
    """Read the window of a Conv or pooling node whose input and output sizes are known.

    Pads after the input are what the last window needs: with `ceil_mode` that may be more than the
    node says, and less where a stride skips the rest.
    """
    x, y = _sizes(view, node.inputs[0]), _sizes(view, node.outputs[0])
    rank = len(x)
    attrs = node.attrs
    kernel = attrs.get("kernel_shape")
    if kernel is None:
        shape = view.shape(node.inputs[1])
        assert shape is not None
        kernel = shape[2:]
    kernel = [int(k) for k in kernel]
    strides = [int(s) for s in attrs.get("strides") or [1] * rank]
    dilations = [int(d) for d in attrs.get("dilations") or [1] * rank]
    given = [int(p) for p in attrs.get("pads") or [0] * 2 * rank]
    mode = attrs.get("auto_pad", "NOTSET")
    pads = []
    for axis in range(rank):
        reach = (y[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        both = max(0, reach - x[axis])
        if mode == "SAME_UPPER":
            before = both // 2
        elif mode == "SAME_LOWER":
            before = both - both // 2
        else:
            before = 0 if mode == "VALID" else given[axis]
        pads.append((before, max(0, reach - x[axis] - before)))
    missing = 3 - rank
    return Window(_three(kernel), _three(strides), _three(dilations), (*[(0, 0)] * missing, *pads))


def read_transposed(node: gs.Node, view: View) -> tuple[Window, Sizes]:
    """Read the window of a ConvTranspose and its pads before each axis.

    What the pads do not say follows from the size of the result, as ONNX has it: of the total,
    `SAME_UPPER` puts the smaller half before, everything else with a given size the larger.
    """
    x, y = _sizes(view, node.inputs[0]), _sizes(view, node.outputs[0])
    rank = len(x)
    attrs = node.attrs
    shape = view.shape(node.inputs[1])
    assert shape is not None
    kernel = [int(k or 1) for k in attrs.get("kernel_shape") or shape[2:]]
    strides = [int(s) for s in attrs.get("strides") or [1] * rank]
    dilations = [int(d) for d in attrs.get("dilations") or [1] * rank]
    extra = [int(p) for p in attrs.get("output_padding") or [0] * rank]
    given = [int(p) for p in attrs.get("pads") or [0] * 2 * rank]
    mode = attrs.get("auto_pad", "NOTSET")
    befores = []
    for axis in range(rank):
        full = (
            (x[axis] - 1) * strides[axis] + extra[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        )
        total = full - y[axis]
        if mode == "NOTSET" and not attrs.get("output_shape"):
            befores.append(given[axis])
        else:
            befores.append(total // 2 if mode == "SAME_UPPER" else total - total // 2)
    window = Window(_three(kernel), _three(strides), _three(dilations), ((0, 0),) * 3)
    return window, _three(befores, missing=0)


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


def _three(sizes: list[Any], missing: int = 1) -> Sizes:
    padded = [missing] * (3 - len(sizes)) + [int(size) for size in sizes]
    return padded[0], padded[1], padded[2]
