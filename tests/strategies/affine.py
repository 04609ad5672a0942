"""Steps with per-channel affine maps: before and after linear operators, alone, and near-misses."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from .basic import activation, batchnorm, conv
from .network import Network, Step


def _constant(net: Network, x: str, *, divisor: bool = False) -> str:
    """Return one value, one per channel, or (a near-miss) one per column; none near zero."""
    shape = net.shapes[x]
    channels, spatial = shape[1], [1] * (len(shape) - 2)
    forms = [(), (1,), (channels, *spatial), (1, channels, *spatial)]
    if net.draw(st.integers(0, 5)) == 0:
        forms = [(shape[-1],)]
    values = net.normal(*net.pick(*forms))
    if divisor:
        sign = np.where(values < 0, -1, 1)
        values = (sign * (0.5 + np.abs(values))).astype(np.float32)
    return net.weight(np.asarray(values, np.float32), "c")


def affine(net: Network, x: str | None = None) -> str:
    """One of x * c, x / c, x + c, x - c, c - x and -x, or a BatchNormalization."""
    x = x or net.tensor()
    shape = net.shapes[x]
    op = net.pick("Mul", "Div", "Add", "Sub", "Neg", "BatchNormalization")
    if op == "BatchNormalization":
        return batchnorm(net, x)
    if op == "Neg":
        return net.add(op, [x], shape)
    pair = [x, _constant(net, x, divisor=op in ("Mul", "Div"))]
    if op != "Div" and net.draw(st.booleans()):
        pair.reverse()
    return net.add(op, pair, shape)


def chain(net: Network, x: str | None = None) -> str:
    """Several affine operators; sometimes one between them is read elsewhere too."""
    x = affine(net, x)
    for _ in range(net.draw(st.integers(0, 3))):
        if net.draw(st.integers(0, 7)) == 0:
            activation(net, x)
        x = affine(net, x)
    return x


def linear_then_chain(net: Network) -> str:
    """A convolution and a chain; sometimes two readers of the convolution, or equal ones."""
    x = conv(net)
    form = net.pick("alone", "alone", "twice", "twin")
    if form == "twice":
        affine(net, x)
    if form == "twin" and len(net.shapes[x]) > 2:
        c = _constant(net, x)
        net.add("Mul", [x, c], net.shapes[x])
        return net.add("Mul", [c, x], net.shapes[x])
    return chain(net, x)


def chain_then_convolutions(net: Network) -> str:
    """A chain read by one or two convolutions, sometimes through pooling."""
    x = chain(net)
    n, channels, *sizes = net.shapes[x]
    if net.draw(st.integers(0, 3)) == 0:
        op = net.pick("MaxPool", "AveragePool")
        kernel = [min(2, size) for size in sizes]
        pads = [net.draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
        half = len(sizes)
        sizes = [size + pads[i] + pads[i + half] - kernel[i] + 1 for i, size in enumerate(sizes)]
        attrs = {"kernel_shape": kernel, "pads": pads}
        if op == "AveragePool":
            attrs["count_include_pad"] = net.draw(st.integers(0, 1))
        x = net.add(op, [x], (n, channels, *sizes), **attrs)
    results = []
    for _ in range(net.draw(st.integers(1, 2))):
        kernel = [net.draw(st.integers(1, min(3, size))) for size in sizes]
        pads = [net.draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
        strides = [net.draw(st.integers(1, 3)) for _ in sizes]
        group = net.pick(*[g for g in range(1, channels + 1) if channels % g == 0])
        out = group * net.draw(st.integers(1, max(1, 4 // group)))
        fan = channels // group * math.prod(kernel)
        weight = net.weight(net.normal(out, channels // group, *kernel, scale=fan**-0.5))
        half = len(sizes)
        after = tuple(
            (size + pads[i] + pads[i + half] - kernel[i]) // strides[i] + 1
            for i, size in enumerate(sizes)
        )
        attrs = {"group": group, "pads": pads, "strides": strides}
        results.append(net.add("Conv", [x, weight], (n, out, *after), **attrs))
    return results[-1]


def chain_then_transposed(net: Network) -> str:
    """A chain read by a transposed convolution with pads and output padding."""
    x = chain(net)
    n, channels, *sizes = net.shapes[x]
    if math.prod(sizes) > 150:
        return x
    group = net.pick(*[g for g in range(1, channels + 1) if channels % g == 0])
    kernel = [net.draw(st.integers(1, 3)) for _ in sizes]
    strides = [net.draw(st.integers(1, 2)) for _ in sizes]
    pads = [net.draw(st.integers(0, (k - 1) // 2)) for k in (*kernel, *kernel)]
    extra = [net.draw(st.integers(0, s - 1)) for s in strides]
    weight = net.weight(net.normal(channels, 1, *kernel, scale=channels**-0.5))
    half = len(sizes)
    after = tuple(
        (size - 1) * strides[i] + extra[i] + kernel[i] - pads[i] - pads[i + half]
        for i, size in enumerate(sizes)
    )
    attrs = {"group": group, "pads": pads, "strides": strides, "output_padding": extra}
    return net.add("ConvTranspose", [x, weight], (n, group, *after), **attrs)


STEPS: tuple[Step, ...] = (
    chain,
    linear_then_chain,
    linear_then_chain,
    chain_then_convolutions,
    chain_then_convolutions,
    chain_then_transposed,
)
