"""What a convolution makes of a constant image, its zero padding included.

    B[m, o] = sum_c sum_k W[m, c, k] * t[c] * seen(o, k)

Output position o misses the taps that fall into the padding, so B differs along the border.
Whether a tap is seen is decided axis by axis, so that the sum over taps separates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.graph.types import Dim
from ....ir.graph.view import View
from ....ir.ops.linear.kernel import Array, Kernel
from ....ir.ops.windows.attributes import explicit_window, window_attributes
from ....ir.ops.windows.sizes import outputs_of, reach_of, transposed_outputs

Seen = tuple[Array, ...]  # one [outputs, taps] of 0 and 1 a spatial axis


def sees_every_tap(node: gs.Node, kernel: Sequence[int]) -> bool:
    """Say whether every output sums over all taps of `kernel`, whatever the size of the input.

    A ConvTranspose does so for a kernel of one tap alone, where strides leave no gaps.
    """
    window = window_attributes(node.op, node.attrs, kernel)
    if not window.transposed:
        return not window.is_padded
    one_tap = math.prod(window.kernel) == math.prod(window.strides) == 1
    return one_tap and not window.is_padded and not any(window.output_padding)


def seen_taps(node: gs.Node, sizes: Sequence[Dim], view: View) -> Seen:
    """Return which taps each output of a Conv or ConvTranspose sees; `sizes` of its input.

    Declines where a size or a pad is not known.
    """
    static = [size for size in sizes if isinstance(size, int)]
    need(len(static) == len(sizes), "its spatial size is not static")
    attrs = explicit_window(node, view)
    rank = len(static)
    axes = zip(
        static,
        attrs["kernel_shape"],
        attrs["strides"],
        attrs["dilations"],
        attrs["pads"][:rank],
        attrs["pads"][rank:],
        attrs.get("output_padding", [0] * rank),
        strict=True,
    )
    axis = _transposed_axis if node.op == "ConvTranspose" else _axis
    return tuple(axis(*values) for values in axes)


def is_uniform(seen: Seen) -> bool:
    """Say whether every output sees the same taps; not so for an image without outputs."""
    return all(len(matrix) > 0 and bool((matrix == matrix[0]).all()) for matrix in seen)


def constant_image(kernel: Kernel, values: Array, seen: Seen) -> Array:
    """Return W * x [M, outputs...] for an x that is `values` [C] everywhere; no bias is added."""
    blocks = values.reshape(kernel.group, 1, -1, *[1] * len(kernel.size))
    image = (kernel.weight * blocks).sum(axis=2).reshape(kernel.outputs, *kernel.size)
    for axis, matrix in enumerate(seen, start=1):
        image = np.moveaxis(np.tensordot(image, matrix, axes=(axis, 1)), -1, axis)
    return np.ascontiguousarray(image)


def _axis(
    size: int, kernel: int, stride: int, dilation: int, begin: int, end: int, extra: int
) -> Array:
    """Return [outputs, taps]: output o reads input o * stride - begin + j * dilation."""
    outputs = outputs_of(size, reach_of(kernel, dilation), stride, begin, end)
    read = np.arange(outputs)[:, None] * stride - begin + np.arange(kernel) * dilation
    return _as_float((read >= 0) & (read < size))


def _transposed_axis(
    size: int, kernel: int, stride: int, dilation: int, begin: int, end: int, extra: int
) -> Array:
    """Return [outputs, taps]: input i is added to output i * stride - begin + j * dilation."""
    reach = reach_of(kernel, dilation)
    outputs = transposed_outputs(size, reach, stride, begin, end, extra=extra)
    scaled = np.arange(outputs)[:, None] + begin - np.arange(kernel) * dilation
    read, gap = np.divmod(scaled, stride)
    return _as_float((gap == 0) & (read >= 0) & (read < size))


def _as_float(seen: Any) -> Array:
    return np.asarray(seen, np.float64)
