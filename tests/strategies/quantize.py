"""Steps whose channels have very unequal ranges, as depthwise networks leave them after folding."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from .network import Array, Network, Step

_MOST = 24


def _spread(net: Network, channels: int) -> Array:
    """Return factors from 1/100 to 100, sometimes 0."""
    factors = 10.0 ** net.generator.uniform(-2, 2, channels)
    if net.draw(st.integers(0, 4)) == 0:
        factors[0] = 0
    return factors.astype(np.float32)


def _unequal_conv(net: Network, x: str, out: int, *, group: int = 1, kernel: int = 1) -> str:
    """A convolution that keeps the size, whose rows and columns are of unequal magnitude."""
    n, channels, *sizes = net.shapes[x]
    rank = len(sizes)
    weight = net.normal(out, channels // group, *[kernel] * rank)
    rows, columns = _spread(net, out), _spread(net, channels // group)
    weight *= rows.reshape(-1, *[1] * (rank + 1)) * columns.reshape(1, -1, *[1] * rank)
    weight /= np.abs(weight).max(initial=1)
    inputs = [x, net.weight(weight)]
    if net.draw(st.booleans()):
        inputs.append(net.weight(net.normal(out, scale=0.1) * rows / rows.max(initial=1), "b"))
    pads = [(kernel - 1) // 2] * 2 * rank
    return net.add("Conv", inputs, (n, out, *sizes), group=group, pads=pads)


def _passing(net: Network, x: str) -> str:
    """Something that passes a scale on, or only nearly does."""
    shape = net.shapes[x]
    form = net.pick("Relu", "Relu6", "LeakyRelu", "PRelu", "none", "MaxPool", "Pad", "Tanh", "gate")
    match form:
        case "none":
            return x
        case "Relu6":
            bounds = [net.weight(np.array(v, np.float32)) for v in (0.0, net.pick(0.5, 6.0))]
            return net.add("Clip", [x, *bounds], shape)
        case "LeakyRelu":
            return net.add("LeakyRelu", [x], shape, alpha=0.2)
        case "PRelu":
            slope = net.weight(np.abs(net.normal(shape[1], *[1] * (len(shape) - 2))))
            return net.add("PRelu", [x, slope], shape)
        case "MaxPool":
            rank = len(shape) - 2
            return net.add("MaxPool", [x], shape, kernel_shape=[3] * rank, pads=[1] * 2 * rank)
        case "Pad":
            rank = len(shape)
            pads = np.array([0, 0, *[1] * (rank - 2)] * 2, np.int64)
            padded = (*shape[:2], *(size + 2 for size in shape[2:]))
            return net.add("Pad", [x, net.weight(pads)], padded)
        case "gate":
            pooled = net.add("GlobalAveragePool", [x], (*shape[:2], *[1] * (len(shape) - 2)))
            gate = net.add("Sigmoid", [pooled], net.shapes[pooled])
            return net.add("Mul", [x, gate], shape)
        case op:
            return net.add(op, [x], shape)


def _inverted_residual(net: Network) -> str:
    """Expand, depthwise, project, with activations between and sometimes the sum around."""
    x = net.tensor()
    channels = net.shapes[x][1]
    wide = min(channels * net.draw(st.integers(1, 4)), _MOST)
    y = _passing(net, _unequal_conv(net, x, wide))
    if net.draw(st.booleans()):
        y = _passing(net, _unequal_conv(net, y, wide, group=wide, kernel=3))
    y = _unequal_conv(net, y, channels)
    if net.shapes[y] == net.shapes[x] and net.draw(st.booleans()):
        y = net.add("Add", [x, y], net.shapes[x])
        y = _unequal_conv(net, y, channels)
    return y


def _joined_branches(net: Network) -> str:
    """Two convolutions of one tensor, joined or split, read by a third."""
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    out = net.draw(st.integers(1, 4))
    a, b = (net.add("Relu", [_unequal_conv(net, x, out)], (n, out, *sizes)) for _ in range(2))
    form = net.pick("Concat", "Add", "Max", "Split")
    if form == "Concat":
        joined = net.add("Concat", [a, b], (n, 2 * out, *sizes), axis=1)
    elif form == "Split":
        parts = net.add("Concat", [a, b], (n, 2 * out, *sizes), axis=1)
        lengths = net.weight(np.array([out, out], np.int64))
        name = f"t{len(net.nodes)}"
        net.add("Split", [parts, lengths], (n, out, *sizes), axis=1)
        net.nodes[-1].output.append(f"{name}_second")
        joined = name
    else:
        joined = net.add(form, [a, b], (n, out, *sizes))
    return _unequal_conv(net, joined, channels)


def _unequal_head(net: Network) -> str:
    """Convolution, activation, Flatten of all positions, Gemm, and an image again."""
    x = net.tensor()
    n, _, *sizes = net.shapes[x]
    out = net.draw(st.integers(1, 4))
    y = net.add("Relu", [_unequal_conv(net, x, out)], (n, out, *sizes))
    width = out * int(np.prod(sizes))
    flat = net.add("Flatten", [y], (n, width))
    weight = net.normal(3, width, scale=width**-0.5)
    linear = net.add("Gemm", [flat, net.weight(weight)], (n, 3), transB=1, alpha=0.5)
    shape = (n, 3, *[1] * len(sizes))
    target = net.weight(np.array([0, 3, *[1] * len(sizes)], np.int64))
    return net.add("Reshape", [linear, target], shape)


STEPS: tuple[Step, ...] = (
    _inverted_residual,
    _inverted_residual,
    _joined_branches,
    _unequal_head,
)
