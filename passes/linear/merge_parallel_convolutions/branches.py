"""Parallel branches: what linear maps of one tensor a sum adds, and one kernel for all of them."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard
from ....ir.graph.types import Dim
from ....ir.graph.view import View
from ....ir.ops.linear.affine import AFFINE_OPS, Composition, read_affine
from ....ir.ops.linear.kernel import Array, Kernel, add_taps, depthwise
from ....ir.ops.linear.layer import Layer, read_layer
from ....ir.ops.linear.operators import reads_transposed
from ....ir.ops.windows.attributes import explicit_window, pool_window
from ....ir.ops.windows.taps import Window, cover, place

# Operators that map channel c of the source to channel c of the result, linearly.
_CHANNELWISE = AFFINE_OPS | {"AveragePool"}
_LONGEST_CHAIN = 4


@dataclass(frozen=True)
class ParallelBranch:
    """One addend that is linear in the source: a layer of its own, or a map channel by channel.

    `window` is None for Gemm and MatMul; what is `negative` is subtracted. The kernel of a map by
    channel is kept, that of a layer is read when it is needed.
    """

    nodes: tuple[gs.Node, ...]
    window: Window | None
    negative: bool
    layer: Layer | None = None
    channelwise: Kernel | None = None

    @property
    def group(self) -> int:
        """Number of groups; those of a map by channel are its channels."""
        if self.layer is not None:
            return self.layer.group
        assert self.channelwise is not None
        return self.channelwise.group

    @property
    def work(self) -> int:
        """Multiply-accumulates at one position of the result; nothing for a map by channel."""
        return 0 if self.layer is None else work(self.layer, self.window, self.group)

    def kernel(self) -> Kernel:
        """Return weight and bias in float64, with the sign that the branch has in the sum."""
        kernel = self.channelwise if self.layer is None else self.layer.kernel()
        assert kernel is not None
        return kernel.then_affine(np.full(kernel.outputs, -1.0), None) if self.negative else kernel


def work(layer: Layer, window: Window | None, group: int) -> int:
    """Return the multiply-accumulates at one position for the channels of `layer`."""
    taps = 1 if window is None else math.prod(window.kernel)
    return layer.inputs * layer.outputs * taps // group


def layer_branch(node: gs.Node, view: View, *, negative: bool) -> ParallelBranch:
    """Read the layer at `node` as a branch; declines where it cannot be one."""
    layer = read_layer(node, view)
    if layer.op == "Conv":
        return ParallelBranch((node,), Window.of(explicit_window(node, view)), negative, layer)
    need(layer.op != "ConvTranspose", "a ConvTranspose has no window that others could share")
    need(not reads_transposed(node), "its Gemm transposes the input")
    return ParallelBranch((node,), None, negative, layer)


def channelwise_branch(
    steps: Sequence[gs.Node], like: ParallelBranch, view: View, *, negative: bool
) -> ParallelBranch:
    """Read `steps` (see `steps_from`) as a branch beside `like`; declines where they cannot be."""
    layer = like.layer
    assert layer is not None
    channels = layer.inputs
    need(
        channels == layer.outputs,
        f"the branch adds {channels} channels and {layer.op} gives {layer.outputs}",
    )
    window = None if like.window is None else Window.point(len(like.window.kernel))
    kernel = depthwise(np.ones(channels), () if window is None else window.kernel)
    total = Composition.of(np.zeros(channels))
    for node in steps:
        if node.op == "AveragePool":
            need(window is not None and node is steps[0], "a pool of a scaled input")
            window, kernel = _pool(node, channels, view)
            continue
        affine = need(read_affine(node, view), f"the branch's {node.op} is no map by channel")
        factors = affine.on_channels(layer.rank, layer.axis, channels)
        scale, shift = need(factors, f"the branch's {node.op} is no map by channel")
        kernel = kernel.then_affine(scale, shift if shift.any() else None)
        total = total.then(scale, shift, affine.typical)
    total.need_conditioned(layer.weight.dtype)
    return ParallelBranch(tuple(steps[::-1]), window, negative, None, kernel)


def steps_from(
    sources: Container[int], tensor: gs.Tensor, view: View
) -> tuple[gs.Tensor, tuple[gs.Node, ...]] | None:
    """Find one of `sources` (by id) of which `tensor` is a map by channel.

    Returns it with the operators from there to `tensor`, each of them read by the next alone; None
    where there is no such source.
    """
    steps: list[gs.Node] = []
    while id(tensor) not in sources:
        node = view.producer(tensor)
        if (
            node is None
            or not is_standard(node)
            or node.op not in _CHANNELWISE
            or len(steps) == _LONGEST_CHAIN
            or view.only_reader(tensor) is None
        ):
            return None
        steps.append(node)
        tensor = node.inputs[_data_position(node, view)]
    return tensor, tuple(steps[::-1])


def _data_position(node: gs.Node, view: View) -> int:
    return int(len(node.inputs) == 2 and view.is_constant(node.inputs[0]))


def _pool(node: gs.Node, channels: int, view: View) -> tuple[Window, Kernel]:
    """Read an AveragePool as the depthwise convolution it is where every window counts alike."""
    window = Window.of(explicit_window(node, view))
    pool = pool_window(node)
    need(not pool.ceil, "the pool rounds its size up (ceil_mode)")
    need(
        pool.counts_pads or not window.is_padded,
        "the pool leaves out pads in its mean (count_include_pad=0)",
    )
    share = np.full(channels, 1 / math.prod(window.kernel))
    return window, depthwise(share, window.kernel)


@dataclass(frozen=True)
class MergedBranches:
    """Branches that one operator computes: the layer it takes the place of, and its kernel."""

    branches: tuple[ParallelBranch, ...]
    layer: Layer
    window: Window | None
    group: int

    def kernel(self) -> Kernel:
        """Return the sum of the branches' kernels, each at its taps of the shared window."""
        layer, size = self.layer, () if self.window is None else self.window.kernel
        total = np.zeros(
            (self.group, layer.outputs // self.group, layer.inputs // self.group, *size)
        )
        bias: Array | None = None
        for branch in self.branches:
            kernel = branch.kernel()
            at: tuple[int, ...] = ()
            if branch.window is not None and self.window is not None:
                at = place(branch.window, self.window)
            add_taps(total, kernel, at)
            if kernel.bias is not None:
                bias = kernel.bias if bias is None else bias + kernel.bias
        return Kernel(total, bias)

    def biases(self) -> list[Array]:
        """Return the bias [M] of each branch that has one."""
        kernels = (branch.kernel() for branch in self.branches)
        return [kernel.bias for kernel in kernels if kernel.bias is not None]

    @property
    def attrs(self) -> dict[str, Any]:
        """Return the attributes of the operator."""
        kept = dict(self.layer.node.attrs)
        if self.window is None:
            return kept
        kept.pop("auto_pad", None)
        return {**kept, **self.window.attrs, "group": self.group}


def merge(branches: Sequence[ParallelBranch], sizes: Sequence[Dim]) -> list[MergedBranches]:
    """Put branches together where that multiplies no more than they do apart.

    The branch that covers most is merged with every other that fits under it; what is left is tried
    again. `sizes` are the spatial sizes of the source. Declines where no two fit.
    """
    left = sorted(branches, key=lambda branch: -branch.work)
    found: list[MergedBranches] = []
    refusal: DeclinedError | None = None
    while left and left[0].layer is not None:
        first, *others = left
        assert first.layer is not None
        merged = MergedBranches((first,), first.layer, first.window, first.group)
        left = []
        for branch in others:
            try:
                merged = _joined(merged, branch, sizes)
            except DeclinedError as reason:
                refusal = refusal or reason
                left.append(branch)
        if len(merged.branches) > 1:
            found.append(merged)
    if refusal is not None and not found:
        raise refusal
    return found


def _joined(merged: MergedBranches, branch: ParallelBranch, sizes: Sequence[Dim]) -> MergedBranches:
    layer, other = merged.layer, branch.layer
    if other is not None:
        need(
            (layer.inputs, layer.outputs) == (other.inputs, other.outputs),
            "the branches have different numbers of channels",
        )
    window = merged.window
    need((window is None) == (branch.window is None), "the branches are not all convolutions")
    if window is not None and branch.window is not None:
        window = cover((window, branch.window), sizes)
    group = math.gcd(merged.group, branch.group)
    apart = sum(part.work for part in (*merged.branches, branch))
    together = work(layer, window, group)
    need(
        together <= apart,
        f"one kernel would multiply {together} times at each position, the branches {apart} times",
    )
    return MergedBranches((*merged.branches, branch), layer, window, group)
