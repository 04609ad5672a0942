"""Steps with layers whose weights have a low rank in one way or another, or nearly so."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from .network import Array, Network, Step


def _low_rank_convolution(net: Network) -> str:
    """A convolution that is depthwise and pointwise, separable, or has few inner channels."""
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    rank = len(sizes)
    group = net.pick(1, 1, *[g for g in range(2, channels + 1) if channels % g == 0])
    each, out = channels // group, group * net.draw(st.integers(2, 6))
    kernel = [net.pick(1, 3, 3, 3) for _ in range(rank)]
    strides = [net.pick(1, 1, 2) for _ in range(rank)]
    dilations = [net.pick(1, 1, 2) for _ in range(rank)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begins = [net.draw(st.integers(0, r)) for r in reach]
    ends = [max(0, r - size - b) for r, size, b in zip(reach, sizes, begins, strict=True)]
    inputs = [x, net.weight(_weight(net, out, each, kernel))]
    if net.draw(st.booleans()):
        inputs.append(net.weight(net.normal(out), "b"))
    result = [
        (size + b + e - r) // s + 1
        for size, b, e, r, s in zip(sizes, begins, ends, reach, strides, strict=True)
    ]
    return net.add(
        "Conv",
        inputs,
        (n, out, *result),
        group=group,
        strides=strides,
        dilations=dilations,
        pads=[*begins, *ends],
    )


def _weight(net: Network, out: int, channels: int, kernel: list[int]) -> Array:
    """Return [out, channels, *kernel] of rank one in the way drawn, or of full rank."""
    scale = (channels * math.prod(kernel)) ** -0.5
    wide = [1] * len(kernel)
    match net.pick("depthwise", "separable", "core", "dense"):
        case "depthwise":
            parts = [net.normal(out, channels, *wide), net.normal(1, channels, *kernel)]
        case "separable":
            parts = [
                net.normal(out, 1, *[1] * (len(kernel) - 1), kernel[-1]),
                net.normal(1, channels, *kernel[:-1], 1),
            ]
        case "core":
            parts = [net.normal(out, 1, *kernel), net.normal(1, channels, *wide)]
        case _:
            parts = [net.normal(out, channels, *kernel)]
    return np.asarray(math.prod(parts, start=np.float32(scale)), np.float32)


def _low_rank_matrix(net: Network) -> str:
    """A product over the last axis with a matrix of rank one or full rank, and often a bias."""
    x = net.tensor()
    *outer, size = net.shapes[x]
    out = net.draw(st.integers(2, 8))
    matrix = net.normal(size, out, scale=size**-0.5)
    if net.draw(st.booleans()):
        matrix = net.normal(size, 1) @ net.normal(1, out, scale=size**-0.5)
    made = net.add("MatMul", [x, net.weight(matrix)], (*outer, out))
    if net.draw(st.booleans()):
        made = net.add("Add", [made, net.weight(net.normal(out), "b")], (*outer, out))
    return made


STEPS: tuple[Step, ...] = (_low_rank_convolution, _low_rank_convolution, _low_rank_matrix)
