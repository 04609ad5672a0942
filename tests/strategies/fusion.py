"""Steps of what the fusions look for: residual Adds, pooled convolutions, squeeze-and-excite."""

from __future__ import annotations

import numpy as np

from .basic import activation, bias_of, conv
from .network import Network, Step


def _parametric(net: Network, x: str) -> str:
    """Add an activation that the basic steps lack."""
    shape = net.shapes[x]
    op = net.pick("PRelu", "Elu", "Selu", "Softplus", "Relu")
    slope = net.normal(shape[1], *[1] * (len(shape) - 2))
    return net.add(op, [x, net.weight(slope)] if op == "PRelu" else [x], shape)


def conv_transpose(net: Network) -> str:
    """Add a ConvTranspose with output padding."""
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    if np.prod(sizes) > 200:
        return x
    rank = len(sizes)
    weight = net.weight(net.normal(channels, 2, *[3] * rank, scale=(9 * channels) ** -0.5))
    extra = net.pick(0, 1)
    attrs = {"strides": [2] * rank, "output_padding": [extra] * rank, "pads": [1] * 2 * rank}
    shape = (n, 2, *[2 * size - 1 + extra for size in sizes])
    bias = [net.weight(net.normal(2), "b")] if net.pick(True, False) else []
    y = net.add("ConvTranspose", [x, weight, *bias], shape, **attrs)
    return _parametric(net, y) if net.pick(True, False) else y


def residual(net: Network) -> str:
    """Add two convolutions of one tensor, or one and the tensor, and sometimes an activation."""
    x = net.tensor()
    shape = net.shapes[x]
    channels = shape[1]

    def pointwise() -> str:
        values = net.normal(channels, channels, *[1] * (len(shape) - 2), scale=channels**-0.5)
        weight = net.weight(values)
        return net.add("Conv", [x, weight, *bias_of(net, channels, weight)], shape)

    first = pointwise()
    second = x if net.pick(True, False) else pointwise()
    y = net.add("Add", net.pick([first, second], [second, first]), shape)
    end = net.pick("none", "basic", "parametric")
    return y if end == "none" else activation(net, y) if end == "basic" else _parametric(net, y)


def conv_pool(net: Network) -> str:
    """Add a convolution, sometimes an activation, and pooling of every kind."""
    y = conv(net)
    if net.pick(True, False):
        y = net.pick(activation, _parametric)(net, y)
    n, channels, *sizes = net.shapes[y]
    if net.pick(True, False, False):
        op = net.pick("GlobalAveragePool", "GlobalMaxPool")
        return net.add(op, [y], (n, channels, *[1] * len(sizes)))
    kernel = [min(2, size) for size in sizes]
    begin = [net.pick(0, k - 1) for k in kernel]
    shape = [(s + b - k) // 2 + 1 for s, b, k in zip(sizes, begin, kernel, strict=True)]
    attrs = {
        "kernel_shape": kernel,
        "strides": [2] * len(sizes),
        "pads": [*begin, *[0] * len(sizes)],
    }
    op = net.pick("MaxPool", "AveragePool")
    if op == "AveragePool":
        attrs["count_include_pad"] = net.pick(0, 1)
    return net.add(op, [y], (n, channels, *shape), **attrs)


def squeeze_excite(net: Network) -> str:
    """Add squeeze-and-excite of convolutions or linear layers, sometimes read from outside."""
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    ones = [1] * len(sizes)
    reduced = net.pick(1, 3)
    form = net.pick("conv", "Gemm", "MatMul") if len(sizes) == 2 else "conv"
    if net.pick(True, False):
        pooled = net.add("GlobalAveragePool", [x], (n, channels, *ones))
    else:
        axes = net.weight(np.arange(2, 2 + len(sizes)))
        pooled = net.add("ReduceMean", [x, axes], (n, channels, *ones), keepdims=1)
    y = pooled
    if form != "conv":
        y = net.add("Flatten", [pooled], (n, channels))

    def layer(y: str, into: int, out: int) -> str:
        values = net.normal(out, into, scale=into**-0.5)
        bias = [net.weight(net.normal(out), "b")] if net.pick(True, False) else []
        if form == "conv":
            weight = net.weight(values.reshape(out, into, *ones))
            return net.add("Conv", [y, weight, *bias], (n, out, *ones))
        if form == "Gemm":
            return net.add("Gemm", [y, net.weight(values), *bias], (n, out), transB=1)
        y = net.add("MatMul", [y, net.weight(np.ascontiguousarray(values.T))], (n, out))
        return net.add("Add", net.pick([y, *bias], [*bias, y]), (n, out)) if bias else y

    y = activation(net, layer(y, channels, reduced))
    y = layer(y, reduced, channels)
    gate = net.add(net.pick("Sigmoid", "HardSigmoid"), [y], net.shapes[y])
    if form != "conv":
        gate = net.add(
            "Reshape", [gate, net.weight(np.array([-1, channels, 1, 1]))], (n, channels, 1, 1)
        )
    y = net.add("Mul", net.pick([x, gate], [gate, x]), net.shapes[x])
    if net.pick(True, False, False, False):
        net.add("Relu", [pooled], net.shapes[pooled])
    return y


STEPS: tuple[Step, ...] = (conv_transpose, residual, conv_pool, squeeze_excite)
