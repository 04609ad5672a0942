"""Channel shuffles and what surrounds them, in every spelling; and what only looks like one."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from .basic import activation, batchnorm, bias_of
from .network import Array, Network, Step

_MOST_CHANNELS = 12


def _channels(net: Network) -> str:
    """Return a tensor of an even number of channels, by a 1x1 convolution if need be."""
    x = net.tensor()
    return x if net.shapes[x][1] % 2 == 0 and net.draw(st.booleans()) else pointwise(net, x)


def pointwise(net: Network, x: str, outputs: int | None = None) -> str:
    """Add a 1x1 convolution of one or several groups."""
    n, channels, *sizes = net.shapes[x]
    outputs = outputs or net.pick(4, 6, 8)
    groups = [g for g in (1, 1, 2, 3) if channels % g == 0 and outputs % g == 0]
    group = net.pick(*groups)
    kernel = [1] * len(sizes)
    weight = net.weight(
        net.normal(outputs, channels // group, *kernel, scale=(channels // group) ** -0.5)
    )
    shape = (n, outputs, *sizes)
    return net.add("Conv", [x, weight, *bias_of(net, outputs, weight)], shape, group=group)


def depthwise(net: Network, x: str) -> str:
    """Add a depthwise convolution."""
    n, channels, *sizes = net.shapes[x]
    kernel = [min(2, size) for size in sizes]
    strides = [net.draw(st.integers(1, 2)) for _ in sizes]
    weight = net.weight(net.normal(channels, 1, *kernel, scale=math.prod(kernel) ** -0.5))
    result = [(size - k) // s + 1 for size, k, s in zip(sizes, kernel, strides, strict=True)]
    bias = [net.weight(net.normal(channels), "b")] if net.draw(st.booleans()) else []
    attrs = {"group": channels, "strides": strides}
    return net.add("Conv", [x, weight, *bias], (n, channels, *result), **attrs)


def shuffle(net: Network, x: str | None = None) -> str:
    """Add a channel permutation: Reshape, Transpose, Reshape as exporters write it, or Gather."""
    x = x or _channels(net)
    shape = net.shapes[x]
    n, channels, *sizes = shape
    groups = [g for g in range(2, channels) if channels % g == 0]
    # No runtime pools over four dimensions, which the steps after this one may draw.
    apart_in_full = ("static", "minus one", "zeros", "arithmetic", "transposed")
    form = net.pick("Gather", "merged", *(apart_in_full if len(sizes) < 3 else ()))
    if form == "Gather" or not groups:
        return net.add(
            "Gather", [x, net.weight(net.generator.permutation(channels))], shape, axis=1
        )
    group = net.pick(*groups)
    apart = [group, channels // group]
    middle, back = [n, *apart, *sizes], list(shape)
    first, last = list(middle), list(back)
    perm = [0, 2, 1, *range(3, len(middle))]
    match form:
        case "merged":
            first = middle = [n, *apart, math.prod(sizes)]
            perm = [0, 2, 1, 3]
        case "minus one":
            first[0], last[net.draw(st.integers(0, len(last) - 1))] = -1, -1
        case "zeros":
            first[0], last[0] = 0, 0
        case "transposed":  # moves the batch or the positions too: no shuffle
            perm = list(net.pick((1, 0, 2), (2, 1, 0), (0, 2, 1))) + perm[3:]
            if net.draw(st.booleans()):
                perm[-1], perm[2] = perm[2], perm[-1]
    moved = [middle[axis] for axis in perm]
    one, two = (_target(net, x, target, form) for target in (first, last))
    apart_name = net.add("Reshape", [x, one], tuple(middle))
    turned = net.add("Transpose", [apart_name], tuple(moved), perm=perm)
    return net.add("Reshape", [turned, two], shape)


def _target(net: Network, x: str, target: list[int], form: str) -> str:
    if form != "arithmetic":
        return net.weight(np.array(target))
    sizes = net.add("Shape", [x], (len(net.shapes[x]),))
    batch = net.add("Gather", [sizes, net.weight(np.array(0))], ())
    listed = net.add("Unsqueeze", [batch, net.weight(np.array([0]))], (1,))
    rest = net.weight(np.array(target[1:]))
    return net.add("Concat", [listed, rest], (len(target),), axis=0)


def split(net: Network, x: str) -> list[str]:
    """Cut the channels in two, with Split or two Slices."""
    n, channels, *sizes = net.shapes[x]
    at = channels // 2 if net.draw(st.booleans()) else net.draw(st.integers(1, channels - 1))
    shapes = [(n, at, *sizes), (n, channels - at, *sizes)]
    if net.draw(st.integers(0, 3)) == 0:
        bounds = ((0, at), (at, channels))
        return [
            net.add("Slice", [x, *(net.weight(np.array([v])) for v in (*ends, 1))], shape)
            for ends, shape in zip(bounds, shapes, strict=True)
        ]
    lengths = net.weight(np.array([at, channels - at]))
    first = net.add("Split", [x, lengths], shapes[0], axis=1)
    second = f"{first}b"
    net.nodes[-1].output.append(second)
    net.shapes[second] = shapes[1]
    return [first, second]


def unit(net: Network) -> str:
    """Add a unit of ShuffleNetV2: half passes, half is worked on, both are shuffled."""
    x = _channels(net)
    if net.shapes[x][1] > _MOST_CHANNELS:
        return x
    kept, worked = split(net, x)
    _, channels, *_ = net.shapes[worked]
    y = pointwise(net, worked, channels)
    for step in net.pick((), (activation,), (batchnorm,), (batchnorm, activation)):
        y = step(net, y)
    pair = [kept, y] if net.draw(st.booleans()) else [y, kept]
    joined = net.add("Concat", pair, net.shapes[x], axis=1)
    return shuffle(net, joined) if net.draw(st.integers(0, 3)) else joined


def grouped_unit(net: Network) -> str:
    """Add a unit of ShuffleNet: grouped 1x1, shuffle, depthwise, grouped 1x1, residual."""
    x = _channels(net)
    y = shuffle(net, activation(net, pointwise(net, x)))
    y = depthwise(net, y) if net.draw(st.booleans()) else y
    y = pointwise(net, y, net.shapes[x][1])
    return net.add("Add", [x, y], net.shapes[x]) if net.shapes[x] == net.shapes[y] else y


def carried(net: Network) -> str:
    """Add what a permutation passes through: channelwise operators, gates, sums of shuffles."""
    x = shuffle(net)
    shape = net.shapes[x]
    rank = len(shape)
    match net.pick("affine", "PRelu", "pool", "pad", "gate", "sum", "depthwise"):
        case "affine":
            held: Array = net.normal(*net.pick((shape[1],), (1, shape[1])), *[1] * (rank - 2))
            pair = [x, net.weight(held)]
            op = net.pick("Mul", "Add", "Sub")
            return net.add(op, pair if net.draw(st.booleans()) else pair[::-1], shape)
        case "PRelu":
            slope = net.weight(net.normal(shape[1], *[1] * (rank - 2)))
            return net.add("PRelu", [x, slope], shape)
        case "pool":
            pooled = net.add("GlobalAveragePool", [x], (*shape[:2], *[1] * (rank - 2)))
            return net.add("Mul", [x, pooled], shape)
        case "pad":
            ends = [0, 0, *[1] * (rank - 2)]
            sizes = tuple(size + 2 * end for size, end in zip(shape, ends, strict=True))
            if math.prod(sizes) > 600:
                return x
            return net.add("Pad", [x, net.weight(np.array(ends * 2))], sizes)
        case "gate":
            return net.add("Mul", [x, net.add("Sigmoid", [x], shape)], shape)
        case "sum":
            partners = [name for name, other in net.shapes.items() if other == shape]
            return net.add("Add", [x, net.pick(*partners)], shape)
        case _:
            return depthwise(net, x)


STEPS: tuple[Step, ...] = (shuffle, unit, unit, grouped_unit, carried)
