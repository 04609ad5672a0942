"""The algebra of linear operators with constant weights, in numpy; no graph is needed to test it.

    y[g, m] = sum_c W[g, m, c] * x[g, c] + b[g, m]        * is a convolution, or for Gemm a product

One form for Conv, ConvTranspose, Gemm and MatMul: W is [group, M/group, C/group, k...] and b is
[M], both float64; callers store results in the weights' own type. For ConvTranspose the spatial
axes are those of its own, scattering, definition: everything here that names no spatial axis holds
for it too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Kernel:
    """Weights [group, M/group, C/group, k...] and bias [M] (None: zero), float64."""

    weight: Array
    bias: Array | None

    @property
    def group(self) -> int:
        """Number of groups."""
        return int(self.weight.shape[0])

    @property
    def outputs(self) -> int:
        """Number of output channels, M."""
        return int(self.weight.shape[0] * self.weight.shape[1])

    @property
    def inputs(self) -> int:
        """Number of input channels, C."""
        return int(self.weight.shape[0] * self.weight.shape[2])

    @property
    def size(self) -> tuple[int, ...]:
        """The kernel's spatial sizes; empty for Gemm."""
        return tuple(self.weight.shape[3:])

    @property
    def is_pointwise(self) -> bool:
        """Say whether every output reads one position: a 1x1 convolution or a Gemm."""
        return math.prod(self.size) == 1

    def full_bias(self) -> Array:
        """Return the bias [M], zeros where there is none."""
        return np.zeros(self.outputs) if self.bias is None else self.bias

    def then_affine(self, scale: Array, shift: Array | None) -> Kernel:
        """Return the kernel of scale * y + shift; both [M]."""
        blocks = scale.reshape(self.weight.shape[:2])
        bias = None if self.bias is None else self.bias * scale
        if shift is not None:
            bias = shift if bias is None else bias + shift
        return Kernel(self.weight * _column(blocks, self.weight.ndim), bias)

    def after_scale(self, scale: Array) -> Kernel:
        """Return the kernel that gives for x what this one gives for scale * x; [C]."""
        blocks = scale.reshape(self.group, 1, self.weight.shape[2])
        return replace(self, weight=self.weight * _column(blocks, self.weight.ndim))

    def of_constant(self, values: Array) -> Array:
        """Return W * x [M] for an input that is `values` [C] at every position, without padding.

        For ConvTranspose this holds only where every output position sees every tap.
        """
        taps = self.weight.reshape(*self.weight.shape[:3], -1).sum(axis=3)
        blocks = values.reshape(self.group, -1, 1)
        return np.asarray((taps @ blocks).reshape(self.outputs))

    def largest_of(self, values: Array) -> Array:
        """Return how large what it makes of each of `values` [C] is at most, [C]."""
        size = np.abs(self.weight).max(axis=(1, *range(3, self.weight.ndim)), initial=0.0)
        return np.asarray(size.reshape(-1) * np.abs(values))

    def take_outputs(self, order: Array) -> Kernel:
        """Return the kernel whose output i is this one's output `order[i]`, for group 1."""
        _one_group(self)
        bias = None if self.bias is None else self.bias[order]
        return Kernel(self.weight[:, order], bias)

    def take_inputs(self, order: Array) -> Kernel:
        """Return the kernel whose input i is this one's input `order[i]`, for group 1."""
        _one_group(self)
        return replace(self, weight=self.weight[:, :, order])

    def ungrouped(self) -> Kernel:
        """Return the same function with one group: a block diagonal weight."""
        return self.regrouped(1)

    def regrouped(self, group: int) -> Kernel:
        """Return the same function with `group` groups, a divisor of those it has."""
        blocks, outs, ins = self.weight.shape[:3]
        each = blocks // group
        dense = np.zeros((group, each * outs, each * ins, *self.size))
        add_taps(dense, self, (0,) * len(self.size))
        return replace(self, weight=dense)


def add_taps(total: Array, kernel: Kernel, at: tuple[int, ...]) -> None:
    """Add the weights of `kernel` to `total`, [group, M/group, C/group, k...], in place.

    Tap 0 of `kernel` comes to stand at `at`; the groups of `total` divide those of `kernel`.
    """
    group, (blocks, outs, ins) = len(total), kernel.weight.shape[:3]
    each = blocks // group
    taps = tuple(slice(start, start + k) for start, k in zip(at, kernel.size, strict=True))
    split = kernel.weight.reshape(group, each, outs, ins, *kernel.size)
    for i in range(each):
        rows, columns = slice(i * outs, (i + 1) * outs), slice(i * ins, (i + 1) * ins)
        total[(slice(None), rows, columns, *taps)] += split[:, i]


def depthwise(scale: Array, size: tuple[int, ...]) -> Kernel:
    """Return the kernel of sum over its taps of scale * x, channel by channel; scale [C]."""
    ones = np.ones((len(scale), 1, 1, *size))
    return Kernel(ones * _column(np.asarray(scale, np.float64), ones.ndim), None)


def compose(second: Kernel, first: Kernel, group: int) -> Kernel:
    """Return the kernel of second(first(x)) with `group` groups, a divisor of both.

    One of the two must have a single tap. Without padding in between: a bias of `first` is taken
    to reach every tap of `second`, and for ConvTranspose every output to see every tap.
    """
    a, b = second.regrouped(group).weight, first.regrouped(group).weight
    if first.is_pointwise:
        taps = a.reshape(*a.shape[:3], -1)
        product = b.reshape(group, 1, *b.shape[1:3]).swapaxes(2, 3) @ taps
        size = second.size
    else:
        product = a.reshape(a.shape[:3]) @ b.reshape(*b.shape[:2], -1)
        size = first.size
    weight = product.reshape(group, a.shape[1], b.shape[2], *size)
    bias = second.bias
    if first.bias is not None:
        bias = second.full_bias() + second.of_constant(first.bias)
    return Kernel(weight, bias)


def from_conv(weight: Array, bias: Array | None, group: int) -> Kernel:
    """Read a Conv: weight [M, C/group, k...], bias [M] or None."""
    return kernel_of(conv_blocks(weight, group), bias)


def conv_blocks(weight: Array, group: int) -> Array:
    """Return the weight [M, C/group, k...] of a Conv as [group, M/group, C/group, k...]."""
    return weight.reshape(group, -1, *weight.shape[1:])


def to_conv(kernel: Kernel) -> Array:
    """Return the weight [M, C/group, k...] of a Conv."""
    return kernel.weight.reshape(kernel.outputs, *kernel.weight.shape[2:])


def from_conv_transpose(weight: Array, bias: Array | None, group: int) -> Kernel:
    """Read a ConvTranspose: weight [C, M/group, k...], bias [M] or None."""
    return kernel_of(conv_transpose_blocks(weight, group), bias)


def conv_transpose_blocks(weight: Array, group: int) -> Array:
    """Return the weight [C, M/group, k...] of a ConvTranspose in the form of `conv_blocks`."""
    return weight.reshape(group, -1, *weight.shape[1:]).swapaxes(1, 2)


def to_conv_transpose(kernel: Kernel) -> Array:
    """Return the weight [C, M/group, k...] of a ConvTranspose."""
    blocks = kernel.weight.swapaxes(1, 2)
    return blocks.reshape(kernel.inputs, *blocks.shape[2:])


def from_matrix(weight: Array, bias: Array | None, *, transposed: bool = False) -> Kernel:
    """Read x @ weight + bias: weight [K, N], or [N, K] if `transposed`; bias [N] or None."""
    return kernel_of(matrix_blocks(weight, transposed=transposed), bias)


def matrix_blocks(weight: Array, *, transposed: bool = False) -> Array:
    """Return the matrix [K, N], or [N, K] if `transposed`, as [1, N, K]."""
    return (weight if transposed else weight.T)[None]


def to_matrix(kernel: Kernel, *, transposed: bool = False) -> Array:
    """Return the matrix [K, N], or [N, K] if `transposed`."""
    matrix: Array = kernel.weight[0]
    return matrix if transposed else matrix.T


def kernel_of(blocks: Array, bias: Array | None) -> Kernel:
    """Return the kernel of weights [group, M/group, C/group, k...] and a bias of M values."""
    return Kernel(np.asarray(blocks, np.float64), _vector(bias))


def _vector(bias: Array | None) -> Array | None:
    return None if bias is None else np.asarray(bias, np.float64).reshape(-1)


def _column(blocks: Array, rank: int) -> Array:
    return blocks.reshape(*blocks.shape, *[1] * (rank - blocks.ndim))


def _one_group(kernel: Kernel) -> None:
    if kernel.group != 1:
        raise ValueError(f"the kernel has {kernel.group} groups, not one")
