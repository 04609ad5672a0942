"""A strided transposed convolution is a convolution to all phases at once, then DepthToSpace.

    y[s q + r - a] = sum_j w[s j + r + p - a] x[q - j]      0 <= r < s, a = p mod s

For output position o = s q + r - a, the taps k with o = s i + k - p are k = s j + r + p - a, where
j = q - i. So phase r of all positions q is one convolution with the taps of step s, s * s of them
are channels of one convolution, and DepthToSpace interleaves them. The choice of a leaves ceil(k/s)
values of j, the fewest; its price are a positions at the start that are cut off again.

Where k = s that is a 1x1 convolution with as many products; where s divides k, it has as many but
for the border; otherwise ceil(k/s)^2 s^2 / k^2 times as many, half of which meet zeros.

Runtimes have integer kernels for Conv and none for ConvTranspose, and ONNX Runtime's own
ConvTranspose in float multiplies matrices and adds up columns, on one thread for one image.

Source: ONNX operators ConvTranspose-11 and DepthToSpace-13; Shi et al., "Is the deconvolution layer
the same as a convolutional layer?" (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.graph.edit import Edit
from ...ir.graph.types import TensorType
from ...ir.graph.view import View
from ...ir.ops.build import build_slice
from ...ir.ops.linear.layer import Layer, read_layer
from ...ir.ops.linear.storing import stored
from ...ir.ops.opsets import has_attribute
from ...ir.ops.slices import TO_THE_END
from ...ir.ops.windows.attributes import window_attributes
from ..engine.rewrite import Rewrite, RewritePass

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LowerConvTranspose(RewritePass):
    """Compute a two-dimensional ConvTranspose by Conv, DepthToSpace, and Slice where it must.

    - `most`: how many times the products of the transposed convolution it may take.
    """

    name: ClassVar[str] = "lower-conv-transpose"
    most: float = 2.0

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_LowerToPhases(self.most),)


@dataclass(frozen=True)
class Phases:
    """One axis of a transposed convolution as a convolution to its phases.

    `taps`: index into the kernel for each window position and phase, -1 for none. `pads`: of the
    convolution. `crop`: positions to cut off from the interleaved result, at its start and end.
    """

    taps: Array  # [T, s]
    pads: tuple[int, int]
    crop: tuple[int, int]


def phases(kernel: int, stride: int, pads: tuple[int, int], output_padding: int = 0) -> Phases:
    """Return the phases of one axis; a pad is negative where inputs at that end are unread."""
    begin, end = pads
    cut = begin % stride
    first, last = -((stride - 1 + begin - cut) // stride), (kernel - 1 - begin + cut) // stride
    steps = np.arange(last, first - 1, -1)
    taps = stride * steps[:, None] + np.arange(stride) + begin - cut
    taps = np.where((taps >= 0) & (taps < kernel), taps, -1)
    # The result has s (H - 1) + reach positions; the convolution gives ceil of that over s.
    reach = kernel + output_padding - begin - end + cut
    blocks = -(-reach // stride)
    return Phases(taps, (last, blocks - 1 - first), (cut, stride * blocks - reach))


def phase_weights(weight: Array, group: int, vertical: Array, horizontal: Array) -> Array:
    """Return the weight [M, s, s, C/g, T, T] of the phases of `weight` [C, M/g, k, k]."""
    channels, outputs, *_ = weight.shape
    padded = np.pad(weight, ((0, 0), (0, 0), (0, 1), (0, 1)))  # tap -1 reads zero
    taken = padded[:, :, vertical][..., horizontal]  # C, M/g, T, s, T, s
    apart = taken.reshape(group, channels // group, outputs, *taken.shape[2:])
    return apart.transpose(0, 2, 4, 6, 1, 3, 5).reshape(
        group * outputs, *taken.shape[3:6:2], channels // group, *taken.shape[2:6:2]
    )


@dataclass(frozen=True)
class _StridedTransposed:
    layer: Layer
    stride: int
    axes: tuple[Phases, Phases]


@dataclass(frozen=True)
class _LowerToPhases(Rewrite[_StridedTransposed]):
    ops = frozenset({"ConvTranspose"})
    most: float

    def match(self, node: gs.Node, view: View) -> _StridedTransposed | None:
        layer = read_layer(node, view)
        need(layer.weight.ndim == 4, "only two spatial dimensions have DepthToSpace")
        window = window_attributes(node.op, node.attrs, layer.weight.shape[2:])
        need(window.output_shape is None, "its output_shape is given instead of pads")
        need(not window.is_same, f"its auto_pad is {window.auto_pad}")
        need(all(d == 1 for d in window.dilations), "it is dilated")
        strides = window.strides
        need(strides[0] == strides[1], "its strides differ, and the blocks of DepthToSpace do not")
        keeps_groups = has_attribute("DepthToSpace", "mode", view.opset)
        need(layer.group == 1 or keeps_groups, "DepthToSpace keeps groups from opset 11 on")
        kernel = window.kernel
        pads = list(zip(window.begins, window.ends, strict=True))
        vertical, horizontal = (
            phases(kernel[axis], strides[0], pads[axis], window.output_padding[axis])
            for axis in (0, 1)
        )
        axes = (vertical, horizontal)
        need(all(min(axis.pads) >= 0 for axis in axes), "its pads cut off whole inputs")
        times = vertical.taps.size * horizontal.taps.size / (kernel[0] * kernel[1])
        need(times <= self.most, f"it would take {times:.2f} times the products")
        return _StridedTransposed(layer, int(strides[0]), axes)

    def rewrite(self, site: _StridedTransposed, edit: Edit) -> None:
        layer, stride = site.layer, site.stride
        node, (vertical, horizontal) = layer.node, site.axes
        weight = phase_weights(layer.weight, layer.group, vertical.taps, horizontal.taps)
        # Whole groups lie together only where the phases are the inner part of the channels; one
        # group alone has them outside, which moves more values at a time.
        columns, phases_first = stride * stride, layer.group == 1
        if phases_first:
            weight = weight.transpose(1, 2, 0, 3, 4, 5)
        weight = weight.reshape(-1, *weight.shape[3:])
        inputs = [layer.source, edit.constant(stored(weight, layer.weight.dtype), _named(node, 1))]
        if layer.bias is not None:
            bias = np.tile if phases_first else np.repeat
            inputs.append(edit.constant(bias(layer.bias, columns), _named(node, 2)))
        pads = [*(a.pads[0] for a in site.axes), *(a.pads[1] for a in site.axes)]
        attrs = {"kernel_shape": list(weight.shape[2:]), "pads": pads, "group": layer.group}
        result = layer.result
        edit.remove(node)
        if stride == 1:
            edit.node("Conv", inputs, [result], attrs, at=node)
            return
        dtype = layer.weight.dtype
        made = edit.variable(f"{result.name}_phases", TensorType(dtype, None))
        edit.node("Conv", inputs, [made], attrs, at=node)
        cut = any(any(axis.crop) for axis in site.axes)
        whole = edit.variable(f"{result.name}_whole", TensorType(dtype, None)) if cut else result
        blocks: dict[str, Any] = {"blocksize": stride}
        if not phases_first:
            blocks["mode"] = "CRD"
        edit.node("DepthToSpace", [made], [whole], blocks, at=node)
        if cut:
            ends = [-axis.crop[1] if axis.crop[1] else TO_THE_END for axis in site.axes]
            bounds = {
                place: (axis.crop[0], end, 1)
                for place, (axis, end) in enumerate(zip(site.axes, ends, strict=True), start=2)
            }
            build_slice(edit, whole, result, bounds, at=node)


def _named(node: gs.Node, position: int) -> str:
    return f"{node.inputs[position].name}_phases"
