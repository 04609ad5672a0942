"""What a dense layer multiplies: float32 weights, of bfloat16, or the bytes of a quantized one.

    sum over k of (q[k] - z) * w[m, k] = sum over k of q[k] * w[m, k] - z * sum over k of w[m, k]

The second sum is a constant that the integer sums start with, together with an integer bias; what
remains is one scale a channel. Padding reads z, which stands for zero.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, CVPR 2018, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....ir.ops.linear.layer import Layer
from ..graph.spatial import SpatialWindow
from ..kernels.bfloat16 import HALF
from ..kernels.dot import FLOAT_DOT, Dot, HalfTapDot, SharedBlock, dot_of
from ..spec.layout import Array
from .blocked import BlockedProgram
from .value import Value

_MOST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Products:
    """Weights [group, M/group, C/group, k...] and how they are multiplied.

    The result is the sum of products * scale + bias. Of bytes, `zero` is first subtracted from each
    of them, and the integers `whole` are added to the sum. All but `zero` are [M] or absent.
    """

    weight: Array
    dot: Dot = FLOAT_DOT
    zero: int = 0
    whole: Array | None = None
    scale: Array | None = None
    bias: Array | None = None

    def together(self, joined: int) -> Products:
        """Return the same where so many groups share a block, of which the last may have fewer.

        Zeros are between them, unless lanes have numbers of their own.
        """
        if joined == 1:
            return self
        shared = SharedBlock(self.weight.shape[2], self.weight.shape[1])
        if self.dot.can_share(shared):
            return replace(self, dot=replace(self.dot, shared=shared))
        return replace(self, weight=_block_diagonal(self.weight, joined))

    def of_taps(self, kernel: Sequence[int], taps: Sequence[Sequence[int]]) -> Products:
        """Return what some `taps` along each axis of a `kernel` give: zero where there are none."""
        part = self.weight.reshape(*self.weight.shape[:3], *kernel)
        for axis, some in enumerate(taps, start=3):
            part = np.take(part, some or (0,), axis=axis)
        return replace(self, weight=part if all(taps) else np.zeros_like(part))

    @property
    def are_bytes(self) -> bool:
        """Say whether bytes are multiplied, to sums that are integers."""
        return self.whole is not None

    @property
    def start(self) -> Array:
        """What sums of products of bytes start with, int32 [M]."""
        assert self.whole is not None
        rows = self.weight.reshape(self.weight.shape[0] * self.weight.shape[1], -1)
        each = rows.sum(axis=1, dtype=np.int64)[: len(self.whole)]
        return np.asarray(self.whole - each * self.zero).astype(np.int32)


def _block_diagonal(weight: Array, joined: int) -> Array:
    """Return weights [group, M, C, k...] with so many groups in one; zeros are between them.

    The last one has fewer where there are not enough.
    """
    missing = -len(weight) % joined
    weight = np.pad(weight, [(0, missing), *[(0, 0)] * (weight.ndim - 1)])
    group, outs, ins, *kernel = weight.shape
    apart = weight.reshape(group // joined, joined, outs, ins, *kernel)
    found = np.zeros((group // joined, joined, outs, joined, ins, *kernel), weight.dtype)
    for index in range(joined):
        found[:, index, :, index] = apart[:, index]
    return found.reshape(group // joined, joined * outs, joined * ins, *kernel)


def products_of(program: BlockedProgram, layer: Layer, x: Value, window: SpatialWindow) -> Products:
    """Return integer products where `x` and the weights are bytes, else those of floats."""
    found = _of_bytes(program, layer, x)
    if found is not None:
        return found
    kernel = layer.kernel()
    bias = None if kernel.bias is None else kernel.bias.astype(np.float32)
    weight, dot = kernel.weight.astype(np.float32), _of_floats(program, x, window)
    return Products(weight=weight, dot=dot, bias=bias)


def _of_floats(program: BlockedProgram, x: Value, window: SpatialWindow) -> Dot:
    dot = dot_of(program.machine, x.dtype) if x.scale is None else None
    if dot is None:
        return FLOAT_DOT
    if x.layout is not None:
        return dot
    paired = x.dtype == HALF and window.kernel[2] > 1 and window.dilations[2] == 1
    return HalfTapDot() if paired else FLOAT_DOT


def _of_bytes(program: BlockedProgram, layer: Layer, x: Value) -> Products | None:
    integers = program.integers.get(id(layer.node.inputs[1]))
    if integers is None or x.scale is None or x.layout is None:
        return None
    dot = dot_of(program.machine, x.dtype)
    if dot is None or x.layout.lanes % dot.width or layer.node.attrs.get("alpha", 1.0) != 1.0:
        return None
    weight = _kernel_of(layer, integers.values).astype(np.int64)
    outputs = weight.shape[0] * weight.shape[1]
    steps = np.broadcast_to(integers.scale, integers.values.shape)
    scales = _kernel_of(layer, steps).reshape(outputs, -1)
    unsigned = 128 if x.dtype == "int8" else 0
    each = weight.reshape(outputs, -1)
    most = np.abs(each).sum(axis=1).max(initial=0) * 255
    if (scales != scales[:, :1]).any() or np.abs(each + 0.5).max(initial=0) > 128 or most > _MOST:
        return None
    scale = scales[:, 0] * np.float64(x.scale)
    bias, whole = layer.kernel().bias, np.zeros(outputs, np.int64)
    if bias is not None:
        nearest = np.rint(bias / scale)
        # An integer bias with the scale of the products belongs to their sum.
        if _is_on(nearest * scale, bias) and np.abs(nearest).max() + most <= _MOST:
            whole, bias = nearest.astype(np.int64), None
    return Products(
        weight=weight.astype(np.int8),
        dot=dot,
        zero=x.zero + unsigned,
        whole=whole,
        scale=scale.astype(np.float32),
        bias=None if bias is None else bias.astype(np.float32),
    )


def _kernel_of(layer: Layer, values: Array) -> Array:
    return replace(layer, weight=np.asarray(values, np.float64), bias=None).kernel().weight


def _is_on(found: Array, bias: Array) -> bool:
    return bool(np.allclose(found, bias, rtol=1e-6, atol=0.0))
