"""Steps of which every network is drawn: convolutions, normalization, activations, no-ops, heads.

A step draws what it needs, adds nodes to the network and returns the name of its result.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper

from .network import Network, Step

_PLAIN_ACTIVATIONS = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Clip")


def pads_of(net: Network, rank: int, kernel: list[int]) -> list[int]:
    return [net.draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]


def bias_of(net: Network, channels: int, weight: str) -> list[str]:
    """Return no bias, a constant one, or one hidden behind an exporter's shape arithmetic."""
    form = net.pick("none", "constant", "expanded")
    if form == "none":
        return []
    if form == "constant":
        return [net.weight(net.normal(channels), "b")]
    size = net.add("Shape", [weight], (1,), start=0, end=1)
    zero = net.add("CastLike", [net.weight(np.array(0.5, np.float64)), net.tensor()], ())
    return [net.add("Expand", [zero, size], (channels,))]


def conv(net: Network) -> str:
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    for shape, attrs, weight in net.convolutions:
        if shape == net.shapes[x] and net.draw(st.integers(0, 3)) == 0:
            bias = net.weight(net.normal(attrs["out"][1]), "b")
            kept = {key: value for key, value in attrs.items() if key != "out"}
            return net.add("Conv", [x, weight, bias], attrs["out"], **kept)
    rank = len(sizes)
    kernel = [net.draw(st.integers(1, min(3, size))) for size in sizes]
    dilations = [
        net.draw(st.integers(1, 2)) if 2 * (k - 1) < size else 1
        for k, size in zip(kernel, sizes, strict=True)
    ]
    strides = [net.draw(st.integers(1, 3)) for _ in sizes]
    pads = pads_of(net, rank, kernel)
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]
    group = net.pick(*divisors)
    out = group * net.draw(st.integers(1, max(1, 6 // group)))
    fan = channels // group * math.prod(kernel)
    weight = net.weight(net.normal(out, channels // group, *kernel, scale=fan**-0.5))
    attrs: dict[str, Any] = {"group": group, "strides": strides, "dilations": dilations}
    if net.draw(st.booleans()):
        attrs["kernel_shape"] = kernel
    if net.draw(st.integers(0, 4)) == 0 and max(dilations) == 1:
        attrs["auto_pad"] = net.pick("SAME_UPPER", "SAME_LOWER")
        result = tuple(-(-size // s) for size, s in zip(sizes, strides, strict=True))
    else:
        attrs["pads"] = pads
        result = tuple(
            (size + pads[i] + pads[i + rank] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
            for i, size in enumerate(sizes)
        )
    shape = (n, out, *result)
    net.convolutions.append((net.shapes[x], {**attrs, "out": shape}, weight))
    return net.add("Conv", [x, weight, *bias_of(net, out, weight)], shape, **attrs)


def _conv_transpose(net: Network) -> str:
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    if math.prod(sizes) > 200:
        return x
    group = net.pick(*[g for g in range(1, channels + 1) if channels % g == 0])
    per_group = net.draw(st.integers(1, 2))
    kernel = [net.draw(st.integers(1, 3)) for _ in sizes]
    strides = [net.draw(st.integers(1, 2)) for _ in sizes]
    fan = channels // group * math.prod(kernel)
    weight = net.weight(net.normal(channels, per_group, *kernel, scale=fan**-0.5))
    out = group * per_group
    bias = [net.weight(net.normal(out), "b")] if net.draw(st.booleans()) else []
    shape = tuple((size - 1) * s + k for size, s, k in zip(sizes, strides, kernel, strict=True))
    return net.add(
        "ConvTranspose", [x, weight, *bias], (n, out, *shape), group=group, strides=strides
    )


def batchnorm(net: Network, x: str | None = None) -> str:
    x = x or net.tensor()
    channels = net.shapes[x][1]
    epsilon = net.pick(1e-5, 1e-3, 0.1)
    var = net.generator.uniform(0.1, 3, channels).astype(np.float32)
    odd = net.draw(st.integers(0, 3))
    if odd == 0:
        var[0] = net.pick(0.0, 1e-12, 1e-6)
    # Scales near the deviation keep the network's values of order one, and half are negative.
    scale = net.normal(channels) * np.sqrt(var + np.float32(epsilon))
    parameters = (scale, net.normal(channels), net.normal(channels, scale=0.1), var)
    names = [net.weight(values, "bn") for values in parameters]
    return net.add("BatchNormalization", [x, *names], net.shapes[x], epsilon=epsilon)


def activation(net: Network, x: str | None = None) -> str:
    x = x or net.tensor()
    op = net.pick(*_PLAIN_ACTIVATIONS, "Silu", "GatedHardSigmoid")
    shape = net.shapes[x]
    if op in ("Silu", "GatedHardSigmoid"):
        gate = net.add("Sigmoid" if op == "Silu" else "HardSigmoid", [x], shape)
        return net.add("Mul", [x, gate] if net.draw(st.booleans()) else [gate, x], shape)
    if op == "Clip":
        bounds = [net.weight(np.array(v, np.float32)) for v in (-0.5, 1.5)]
        return net.add("Clip", [x, *net.pick(bounds, ["", bounds[1]], bounds[:1])], shape)
    attrs = {"LeakyRelu": {"alpha": 0.3}, "HardSigmoid": {"alpha": 0.4, "beta": 0.3}}.get(op, {})
    return net.add(op, [x], shape, **attrs)


def _residual(net: Network) -> str:
    x = net.tensor()
    partners = [name for name, shape in net.shapes.items() if shape == net.shapes[x]]
    return net.add("Add", [x, net.pick(*partners)], net.shapes[x])


def _block(net: Network) -> str:
    """Conv, BatchNormalization, sometimes a residual, activation: what networks are made of."""
    x = net.tensor()
    _, channels, *sizes = net.shapes[x]
    weight = net.weight(net.normal(channels, channels, *[1] * len(sizes), scale=channels**-0.5))
    conv = net.add("Conv", [x, weight, *bias_of(net, channels, weight)], net.shapes[x])
    y = batchnorm(net, conv)
    if net.draw(st.booleans()):
        y = net.add("Add", [y, x] if net.draw(st.booleans()) else [x, y], net.shapes[x])
    return activation(net, y)


def concat(net: Network) -> str:
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    partners = [
        name
        for name, shape in net.shapes.items()
        if len(shape) == len(sizes) + 2 and list(shape[2:]) == sizes and shape[1] + channels < 12
    ]
    if not partners:
        return x
    other = net.pick(*partners)
    return net.add("Concat", [x, other], (n, channels + net.shapes[other][1], *sizes), axis=1)


def pool(net: Network) -> str:
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    kernel = [min(2, size) for size in sizes]
    shape = tuple(size - k + 1 for size, k in zip(sizes, kernel, strict=True))
    return net.add(
        net.pick("MaxPool", "AveragePool"), [x], (n, channels, *shape), kernel_shape=kernel
    )


def _no_op(net: Network) -> str:
    x = net.tensor()
    shape = net.shapes[x]
    rank = len(shape)
    match net.pick("Identity", "Dropout", "Cast", "Add", "Mul", "Transpose", "Pad", "Expand"):
        case "Cast":
            return net.add("Cast", [x], shape, to=TensorProto.FLOAT)
        case "Add":
            return net.add("Add", [net.weight(np.zeros(1, np.float32)), x], shape)
        case "Mul":
            return net.add("Mul", [x, net.weight(np.ones((1,) * (rank - 1), np.float32))], shape)
        case "Transpose":
            return net.add("Transpose", [x], shape, perm=list(range(rank)))
        case "Pad":
            return net.add("Pad", [x, net.weight(np.zeros(2 * rank, np.int64))], shape)
        case "Expand":
            return net.add("Expand", [x, net.weight(np.ones(rank, np.int64))], shape)
        case op:
            return net.add(op, [x], shape)


def _twin(net: Network) -> str:
    """Repeat an earlier node under another name."""
    single = [node for node in net.nodes if len(node.output) == 1]
    nodes = [node for node in single if node.output[0] not in net.private]
    if not nodes:
        return net.tensor()
    node = net.pick(*nodes)
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return net.add(node.op_type, list(node.input), net.shapes[node.output[0]], **attrs)


def head(net: Network) -> str:
    """Pool, flatten as exporters spell it, and classify."""
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    pooled = net.add("GlobalAveragePool", [x], (n, channels, *[1] * len(sizes)))
    match net.pick("Flatten", "Reshape", "arithmetic"):
        case "Flatten":
            flat = net.add("Flatten", [pooled], (n, channels))
        case "Reshape":
            flat = net.add("Reshape", [pooled, net.weight(np.array([0, -1]))], (n, channels))
        case _:
            shape = net.add("Shape", [pooled], (len(sizes) + 2,))
            batch = net.add("Gather", [shape, net.weight(np.array(0))], ())
            listed = net.add("Unsqueeze", [batch, net.weight(np.array([0]))], (1,))
            target = net.add("Concat", [listed, net.weight(np.array([-1]))], (2,), axis=0)
            flat = net.add("Reshape", [pooled, target], (n, channels))
    classes = net.draw(st.integers(1, 5))
    weight = net.normal(channels, classes, scale=channels**-0.5)
    match net.pick("Gemm", "transposed", "MatMul", "MatMul+Add"):
        case "Gemm":
            linear = net.add(
                "Gemm", [flat, net.weight(weight)], (n, classes), alpha=net.pick(1.0, 0.5)
            )
        case "transposed":
            bias = net.normal(*net.pick((classes,), (1, classes), (1,)))
            inputs = [flat, net.weight(np.ascontiguousarray(weight.T)), net.weight(bias)]
            linear = net.add("Gemm", inputs, (n, classes), transB=1, beta=net.pick(1.0, 2.0))
        case form:
            linear = net.add("MatMul", [flat, net.weight(weight)], (n, classes))
            if form == "MatMul+Add":
                pair = [linear, net.weight(net.normal(classes))]
                linear = net.add(
                    "Add", pair if net.draw(st.booleans()) else pair[::-1], (n, classes)
                )
    if net.draw(st.booleans()):
        linear = batchnorm(net, linear)
    return (
        net.add(net.pick("Relu", "Tanh"), [linear], (n, classes))
        if net.draw(st.booleans())
        else linear
    )


STEPS: tuple[Step, ...] = (
    conv,
    conv,
    conv,
    batchnorm,
    batchnorm,
    _block,
    _block,
    activation,
    activation,
    _residual,
    _conv_transpose,
    concat,
    pool,
    _no_op,
    _twin,
)
