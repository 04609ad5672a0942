"""Steps with weights below masks: of weights, of rows, of biases, shared, and what is no mask."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from onnx import numpy_helper

from .network import Array, Network, Step


def _masked(net: Network, values: Array) -> str:
    """Return a weight times a mask, mostly; some masks take whole rows or columns."""
    weight = net.weight(values)
    kind = net.pick("all", "all", "rows", "columns", "none", "half")
    if kind == "none":
        return weight
    shape = list(values.shape)
    if kind in ("rows", "columns"):
        kept = 0 if kind == "rows" or values.ndim == 1 else 1
        shape = [size if axis == kept else 1 for axis, size in enumerate(shape)]
    mask = (net.generator.random(shape) < 0.6).astype(np.float32)
    if kind == "half":
        mask *= np.float32(0.5)  # such a product is no masked weight
    name = f"{weight}_mask"
    net.initializers.append(numpy_helper.from_array(mask, name))
    factors = [weight, name] if net.draw(st.booleans()) else [name, weight]
    return net.add_private("Mul", factors)


def _masked_convolution(net: Network) -> str:
    """A convolution, grouped or not, whose weight and bias may be masked."""
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    group = net.pick(*[g for g in range(1, channels + 1) if channels % g == 0])
    out = group * net.draw(st.integers(1, 4))
    kernel = [net.pick(1, min(3, size)) for size in sizes]
    fan = channels // group * math.prod(kernel)
    inputs = [x, _masked(net, net.normal(out, channels // group, *kernel, scale=fan**-0.5))]
    if net.draw(st.booleans()):
        inputs.append(_masked(net, net.normal(out)))
    result = [size - k + 1 for size, k in zip(sizes, kernel, strict=True)]
    found = net.add("Conv", inputs, (n, out, *result), group=group, kernel_shape=kernel)
    return net.add("Relu", [found], net.shapes[found]) if net.draw(st.booleans()) else found


def _shared_masked_weight(net: Network) -> str:
    """Two pointwise convolutions, one after the other, with one masked weight."""
    x = net.tensor()
    channels, rank = net.shapes[x][1], len(net.shapes[x]) - 2
    weight = _masked(net, net.normal(channels, channels, *[1] * rank, scale=channels**-0.5))
    for _ in range(2):
        x = net.add("Conv", [x, weight], net.shapes[x], kernel_shape=[1] * rank)
        x = net.add("Relu", [x], net.shapes[x])
    return x


STEPS: tuple[Step, ...] = (_masked_convolution, _shared_masked_weight)
