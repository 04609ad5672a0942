"""Steps for passes over pads, concatenations, means and channels that are known or unread."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .basic import activation, batchnorm, bias_of
from .network import Network, Step


def _pointwise(net: Network, x: str, outputs: int, bias: bool = True) -> str:
    n, channels, *sizes = net.shapes[x]
    weight = net.weight(
        net.normal(outputs, channels, *[1] * len(sizes), scale=channels**-0.5), "pw"
    )
    biases = bias_of(net, outputs, weight) if bias else []
    return net.add("Conv", [x, weight, *biases], (n, outputs, *sizes))


def _padded_window(net: Network) -> str:
    """Pad, sometimes twice or by other values, then a convolution or pool, or two of them."""
    x = net.tensor()
    if net.draw(st.booleans()):
        x = net.add("Relu", [x], net.shapes[x])
    rank = len(net.shapes[x])
    value = net.pick(0.0, 0.0, 0.0, -np.inf, 1.0)
    for _ in range(net.pick(1, 1, 2)):
        n, channels, *sizes = net.shapes[x]
        begins = [net.draw(st.integers(0, 2)) for _ in sizes]
        ends = [net.draw(st.integers(0, 2)) for _ in sizes]
        shape = (
            n,
            channels,
            *(a + b + c for a, b, c in zip(sizes, begins, ends, strict=True)),
        )
        fill = net.weight(np.array(value, np.float32))
        if net.draw(st.booleans()):
            pads = net.weight(np.array([0, 0, *begins, 0, 0, *ends], np.int64))
            x = net.add("Pad", [x, pads, fill] if value else [x, pads], shape)
        else:
            pads = net.weight(np.array([*begins, *ends], np.int64))
            axes = net.weight(np.array([axis - net.pick(0, rank) for axis in range(2, rank)]))
            x = net.add("Pad", [x, pads, fill, axes], shape)
    # What pads with infinity must not reach a sum.
    kinds = ("MaxPool",) if math.isinf(value) else ("Conv", "AveragePool", "MaxPool")
    results = [_window(net, x, net.pick(*kinds)) for _ in range(net.pick(1, 1, 2))]
    return results[-1]


def _window(net: Network, x: str, kind: str) -> str:
    n, channels, *sizes = net.shapes[x]
    kernel = [min(net.draw(st.integers(2, 3)), size) for size in sizes]
    strides = [net.draw(st.integers(1, 2)) for _ in sizes]
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    begins = ends = [0] * len(sizes)
    if net.draw(st.booleans()):
        begins = [net.draw(st.integers(0, 1)) if k > 1 else 0 for k in kernel]
        ends = [net.draw(st.integers(0, 1)) if k > 1 else 0 for k in kernel]
        attrs["pads"] = [*begins, *ends]
    shape = tuple(
        (size + b + e - k) // s + 1
        for size, b, e, k, s in zip(sizes, begins, ends, kernel, strides, strict=True)
    )
    if kind == "Conv":
        weight = net.weight(net.normal(3, channels, *kernel, scale=0.3))
        return net.add("Conv", [x, weight, *bias_of(net, 3, weight)], (n, 3, *shape), **attrs)
    if kind == "AveragePool":
        attrs["count_include_pad"] = net.pick(0, 1)
    return net.add(kind, [x], (n, channels, *shape), **attrs)


def _normalized_concat(net: Network) -> str:
    """Concat of convolutions, sometimes nested or with one that is no convolution, then BN."""
    x = net.tensor()
    n, _, *sizes = net.shapes[x]
    parts = [_pointwise(net, x, net.draw(st.integers(1, 3))) for _ in range(net.pick(1, 2, 3))]
    if net.draw(st.integers(0, 3)) == 0:
        parts.append(x)
    if net.draw(st.booleans()):
        channels = sum(net.shapes[part][1] for part in parts)
        inner = net.add("Concat", parts, (n, channels, *sizes), axis=net.pick(1, -1 - len(sizes)))
        parts = [_pointwise(net, x, 2), inner]
    channels = sum(net.shapes[part][1] for part in parts)
    joined = net.add("Concat", parts, (n, channels, *sizes), axis=1)
    if net.draw(st.booleans()):
        return batchnorm(net, joined)
    column = (channels, *[1] * len(sizes))
    scaled = net.add("Mul", [joined, net.weight(net.normal(*column))], net.shapes[joined])
    return net.add("Add", [net.weight(net.normal(*column)), scaled], net.shapes[joined])


def _pooled_pointwise(net: Network) -> str:
    """A 1x1 convolution and a mean over positions."""
    x = net.tensor()
    y = _pointwise(net, x, net.draw(st.integers(1, 6)))
    n, channels, *sizes = net.shapes[y]
    match net.pick("AveragePool", "AveragePool", "GlobalAveragePool", "ReduceMean"):
        case "AveragePool":
            return _window(net, y, "AveragePool")
        case "GlobalAveragePool":
            return net.add("GlobalAveragePool", [y], (n, channels, *[1] * len(sizes)))
        case _:
            axes = net.weight(np.arange(2, 2 + len(sizes)))
            return net.add("ReduceMean", [y, axes], (n, channels, *[1] * len(sizes)), keepdims=1)


def _known_channels(net: Network) -> str:
    """Layers of which some outputs have zero weights, or are read with zero weights alone."""
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    ones = [1] * len(sizes)
    outputs = net.draw(st.integers(2, 5))
    values = net.normal(outputs, channels, *ones, scale=channels**-0.5)
    values[: net.draw(st.integers(0, 2))] = 0
    bias = [net.weight(net.normal(outputs), "b")] if net.draw(st.booleans()) else []
    y = net.add("Conv", [x, net.weight(values), *bias], (n, outputs, *sizes))
    for _ in range(net.pick(0, 1, 1, 2)):
        match net.pick("activation", "batchnorm", "depthwise", "pool"):
            case "activation":
                y = activation(net, y)
            case "batchnorm":
                y = batchnorm(net, y)
            case "depthwise":
                kernel = [min(3, size) for size in sizes]
                weight = net.weight(net.normal(outputs, 1, *kernel, scale=0.3))
                padded = net.draw(st.booleans())
                pads = [(k - 1) // 2 * padded for k in kernel]
                sizes = [s + 2 * p - k + 1 for s, p, k in zip(sizes, pads, kernel, strict=True)]
                y = net.add(
                    "Conv", [y, weight], (n, outputs, *sizes), group=outputs, pads=[*pads, *pads]
                )
            case _:
                y = net.add("MaxPool", [y], net.shapes[y], kernel_shape=ones)
    kernel = [min(net.pick(1, 3), size) for size in sizes]
    pads = [(k - 1) // 2 for k in kernel]
    sizes = [s + 2 * p - k + 1 for s, p, k in zip(sizes, pads, kernel, strict=True)]
    for _ in range(net.pick(1, 1, 2)):
        values = net.normal(3, outputs, *kernel, scale=0.3)
        values[:, outputs - net.draw(st.integers(0, 1)) :] = 0
        last = net.add("Conv", [y, net.weight(values)], (n, 3, *sizes), pads=[*pads, *pads])
    return last


STEPS: tuple[Step, ...] = (
    _padded_window,
    _normalized_concat,
    _pooled_pointwise,
    _known_channels,
)
