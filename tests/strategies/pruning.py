"""Channels without effect, in every structure that ties channels of several layers together."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from .basic import activation, batchnorm
from .network import Array, Network, Step
from .shuffle import shuffle


def _silenced(net: Network, values: Array, axis: int) -> Array:
    """Zero random rows or columns of a weight; sometimes none, sometimes all."""
    size = values.shape[axis]
    gone = net.generator.random(size) < net.pick(0.0, 0.3, 0.6, 0.6, 1.0)
    values[(slice(None),) * axis + (gone,)] = 0
    return values


def layer(net: Network, x: str, outputs: int, kernel: int = 1, group: int = 1) -> str:
    """A convolution with rows and columns of zeros, as a mask or baked in."""
    n, channels, *sizes = net.shapes[x]
    window = [min(kernel, size) for size in sizes]
    pads = [(k - 1) // 2 * net.pick(0, 1) for k in window]
    values = net.normal(outputs, channels // group, *window, scale=(channels // group) ** -0.5)
    values = _silenced(net, _silenced(net, values, 0), 1)
    weight = net.weight(values)
    if net.draw(st.integers(0, 3)) == 0:
        mask = _silenced(net, np.ones((outputs, *[1] * (values.ndim - 1)), np.float32), 0)
        masked = net.weight(mask, f"{weight}_mask_")
        weight = net.add_private("Mul", [weight, masked])
    bias = [net.weight(_silenced(net, net.normal(outputs), 0), "b")] if net.pick(0, 1) else []
    shape = [s + 2 * p - k + 1 for s, p, k in zip(sizes, pads, window, strict=True)]
    attrs = {"group": group, "pads": [*pads, *pads]}
    made = net.add("Conv", [x, weight, *bias], (n, outputs, *shape), **attrs)
    for _ in range(net.pick(0, 0, 1, 2)):
        made = batchnorm(net, made) if net.pick(0, 1) else activation(net, made)
    return made


def _depthwise(net: Network, x: str) -> str:
    _, channels, *sizes = net.shapes[x]
    weight = net.weight(_silenced(net, net.normal(channels, 1, *[1] * len(sizes)), 0))
    bias = [net.weight(net.normal(channels), "b")] if net.pick(0, 1) else []
    return net.add("Conv", [x, weight, *bias], net.shapes[x], group=channels)


def _residual_stage(net: Network) -> str:
    x = layer(net, net.tensor(), net.pick(3, 4, 6))
    for _ in range(net.pick(1, 1, 2)):
        inner = layer(net, x, net.pick(2, 4))
        inner = _depthwise(net, inner) if net.pick(0, 1) else inner
        back = layer(net, inner, net.shapes[x][1])
        x = net.add(net.pick("Add", "Add", "Sub", "Max"), [x, back], net.shapes[x])
    return layer(net, x, 2)


def _dense_concat(net: Network) -> str:
    x = layer(net, net.tensor(), 3)
    for _ in range(net.pick(1, 2)):
        n, channels, *sizes = net.shapes[x]
        more = layer(net, x, net.pick(2, 3))
        x = net.add("Concat", [x, more], (n, channels + net.shapes[more][1], *sizes), axis=1)
    return layer(net, x, 3)


def _split_stage(net: Network) -> str:
    """Halves go different ways and meet again, sometimes shuffled."""
    x = layer(net, net.tensor(), 6)
    n, channels, *sizes = net.shapes[x]
    form = net.pick("Split", "Slice", "Gather")
    first = net.pick(2, 3)
    if form == "Split":
        left = net.add(
            "Split", [x, net.weight(np.array([first, 6 - first]))], (n, first, *sizes), axis=1
        )
        right = f"{left}_rest"
        net.nodes[-1].output.append(right)
        net.shapes[right] = (n, 6 - first, *sizes)
    else:
        parts = []
        for start, end in ((0, first), (first, 6)):
            shape = (n, end - start, *sizes)
            if form == "Slice":
                bounds = [net.weight(np.array([v])) for v in (start, end, 1)]
                parts.append(net.add("Slice", [x, *bounds], shape))
            else:
                index = net.weight(np.arange(start, end)[:: net.pick(1, -1)])
                parts.append(net.add("Gather", [x, index], shape, axis=1))
        left, right = parts
    right = _depthwise(net, right)
    joined = net.add("Concat", [left, right], (n, channels, *sizes), axis=1)
    if net.pick(0, 1):
        joined = shuffle(net, joined)
    return layer(net, joined, 3)


def _strided_slice(net: Network) -> str:
    x = layer(net, net.tensor(), 6)
    n, _, *sizes = net.shapes[x]
    bounds = [net.weight(np.array([v])) for v in (net.pick(0, 1), 6, 1, 2)]
    return layer(net, net.add("Slice", [x, *bounds], (n, 3, *sizes)), 2)


def _grouped(net: Network) -> str:
    x = layer(net, net.tensor(), 6)
    if net.pick(0, 1):
        x = shuffle(net, x)
    x = layer(net, x, 6, group=net.pick(2, 3))
    return layer(net, x, 2)


def _squeeze_excite(net: Network) -> str:
    x = layer(net, net.tensor(), 4)
    n, channels, *sizes = net.shapes[x]
    ones = (n, channels, *[1] * len(sizes))
    pooled = net.add("GlobalAveragePool", [x], ones)
    inner = layer(net, pooled, 2)
    gate = net.add("Sigmoid", [layer(net, inner, channels)], ones)
    return layer(net, net.add("Mul", [x, gate], net.shapes[x]), 3)


def _flatten_gemm(net: Network) -> str:
    """Flatten of positions too, then a matrix, then back to positions as generators do."""
    x = layer(net, net.tensor(), 4)
    n, channels, *sizes = net.shapes[x]
    width = channels * int(np.prod(sizes))
    flat = net.add("Flatten", [x], (n, width), axis=1)
    spread = int(np.prod(sizes))
    values = _silenced(net, net.normal(width, 3 * spread, scale=width**-0.5), 0)
    values = values.reshape(width, 3, spread)
    values = _silenced(net, values, 1).reshape(width, -1)
    if net.pick(0, 1):
        y = net.add("Gemm", [flat, net.weight(values)], (n, 3 * spread))
    else:
        y = net.add("MatMul", [flat, net.weight(values)], (n, 3 * spread))
    target = net.weight(np.array([net.pick(0, -1), 3, *sizes]))
    return layer(net, net.add("Reshape", [y, target], (n, 3, *sizes)), 2)


def _transposed(net: Network) -> str:
    x = layer(net, net.tensor(), 4)
    n, _, *sizes = net.shapes[x]
    group = net.pick(1, 1, 2)
    values = net.normal(4, 4 // group, *[2] * len(sizes), scale=0.4)
    weight = net.weight(_silenced(net, _silenced(net, values, 0), 1))
    shape = (n, 4, *(size + 1 for size in sizes))
    return layer(net, net.add("ConvTranspose", [x, weight], shape, group=group), 2)


def _pixel_shuffle(net: Network) -> str:
    x = net.tensor()
    if len(net.shapes[x]) != 4:
        return layer(net, layer(net, x, 4), 2)
    x = layer(net, x, 8)
    n, _, height, width = net.shapes[x]
    up = net.add(
        "DepthToSpace", [x], (n, 2, 2 * height, 2 * width), blocksize=2, mode=net.pick("DCR", "CRD")
    )
    if net.pick(0, 1):
        up = net.add("SpaceToDepth", [up], (n, 8, height, width), blocksize=2)
    return layer(net, up, 3)


def _padded_shortcut(net: Network) -> str:
    """Zeros in place of the channels that a shortcut lacks, as in a ResNet's option A."""
    x = layer(net, net.tensor(), 3)
    n, _, *sizes = net.shapes[x]
    rest = [0] * len(sizes)
    pads = net.weight(np.array([0, 1, *rest, 0, 2, *rest]))
    wide = net.add("Pad", [x, pads], (n, 6, *sizes))
    other = layer(net, x, 6)
    return layer(net, net.add("Add", [wide, other], (n, 6, *sizes)), 2)


STEPS: tuple[Step, ...] = (
    _residual_stage,
    _dense_concat,
    _split_stage,
    _strided_slice,
    _grouped,
    _squeeze_excite,
    _flatten_gemm,
    _transposed,
    _pixel_shuffle,
    _padded_shortcut,
)
