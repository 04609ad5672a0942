"""Channels last between convolutions, and what exporters reshape: steps with Transposes and not."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from .basic import conv
from .network import Network, Step


def _transpose(net: Network, x: str, perm: list[int]) -> str:
    return net.add("Transpose", [x], tuple(net.shapes[x][axis] for axis in perm), perm=perm)


def _to_last(net: Network, x: str) -> str:
    rank = len(net.shapes[x])
    return _transpose(net, x, [0, *range(2, rank), 1])


def _to_first(net: Network, x: str) -> str:
    rank = len(net.shapes[x])
    return _transpose(net, x, [0, rank - 1, *range(1, rank - 1)])


def _float(net: Network, name: str) -> str:
    net.integers.discard(name)
    return name


def _channels_last(net: Network, x: str) -> str:
    """Add one operator of a channels-last network to `x` [N, ..., C]."""
    shape = net.shapes[x]
    rank, channels = len(shape), shape[-1]
    kind = net.pick(
        "bias", "scale", "Relu", "Pad", "Slice", "Concat", "gate", "residual", "Softmax", "Split",
        "product",
    )  # fmt: skip
    match kind:
        case "bias":
            return net.add("Add", [x, net.weight(net.normal(channels))], shape)
        case "scale":
            factors = net.weight(net.normal(*[1] * (rank - 1), channels))
            return net.add("Mul", [factors, x], shape)
        case "Pad":
            pads = [0] * (2 * rank)
            pads[1], pads[rank + 1] = net.draw(st.integers(0, 2)), net.draw(st.integers(0, 1))
            grown = (shape[0], shape[1] + pads[1] + pads[rank + 1], *shape[2:])
            return net.add("Pad", [x, net.weight(np.array(pads, np.int64))], grown)
        case "Slice" if shape[1] > 1:
            bounds = [net.weight(np.array([v], np.int64)) for v in (1, 2**31, 1)]
            return net.add("Slice", [x, *bounds], (shape[0], shape[1] - 1, *shape[2:]))
        case "Concat" if channels < 8:
            other = net.add("Sigmoid", [x], shape)
            return net.add("Concat", [x, other], (*shape[:-1], 2 * channels), axis=rank - 1)
        case "gate":
            axes = net.weight(np.arange(1, rank - 1))
            one = (shape[0], *[1] * (rank - 2), channels)
            mean = net.add("ReduceMean", [x, axes], one, keepdims=1)
            return net.add("Mul", [x, net.add("Sigmoid", [mean], one)], shape)
        case "residual":
            return net.add("Add", [net.add("Tanh", [x], shape), x], shape)
        case "Softmax":
            return net.add("Softmax", [x], shape, axis=-1)
        case "Split" if channels > 1:
            sizes = net.weight(np.array([1, channels - 1], np.int64))
            first = net.add("Split", [x, sizes], (*shape[:-1], 1), axis=-1)
            second = f"{first}_rest"
            net.nodes[-1].output.append(second)
            net.shapes[second] = (*shape[:-1], channels - 1)
            return net.add("Concat", [second, first], shape, axis=-1)
        case "product":
            swapped = [*range(rank - 2), rank - 1, rank - 2]
            turned = _transpose(net, net.add("Tanh", [x], shape), swapped)
            weights = net.add("MatMul", [x, turned], (*shape[:-1], shape[-2]))
            return net.add("MatMul", [net.add("Softmax", [weights], net.shapes[weights]), x], shape)
        case _:
            return net.add("Relu", [x], shape)


def nhwc_block(net: Network) -> str:
    """A convolution between Transposes, and channels-last operators behind it."""
    x = conv(net) if net.draw(st.booleans()) else net.tensor()
    y = _to_last(net, x)
    for _ in range(net.draw(st.integers(0, 4))):
        y = _channels_last(net, y)
    return _to_first(net, y) if net.draw(st.integers(0, 4)) else y


def odd_transpose(net: Network) -> str:
    """Any permutation, sometimes another after it or an element-wise operator between."""
    x = net.tensor()
    for _ in range(net.draw(st.integers(1, 2))):
        rank = len(net.shapes[x])
        order = net.draw(st.permutations(range(1, rank)))
        x = _transpose(net, x, [0, *order])
        if net.draw(st.booleans()):
            x = net.add(net.pick("Relu", "Neg"), [x], net.shapes[x])
    return x


def mixed_sides(net: Network) -> str:
    """An Add of which one side alone stands behind a Transpose."""
    x = net.tensor()
    rank = len(net.shapes[x])
    turned = _transpose(net, x, [0, 1, *range(rank - 1, 1, -1)])
    if net.shapes[turned] != net.shapes[x]:
        return _transpose(net, turned, [0, 1, *range(rank - 1, 1, -1)])
    return net.add("Add", [turned, net.add("Relu", [x], net.shapes[x])], net.shapes[x])


def dense_head(net: Network) -> str:
    """Channels last, flattened, before a linear layer, whose rows then follow."""
    x = net.tensor()
    shape = net.shapes[x]
    last = _to_last(net, x)
    rows = math.prod(shape[1:])
    target = net.weight(np.array(net.pick([0, -1], [-1, rows], [0, rows]), np.int64))
    flat = net.add("Reshape", [last, target], (shape[0], rows))
    net.add("MatMul", [flat, net.weight(net.normal(rows, 3, scale=rows**-0.5))], (shape[0], 3))
    return x


def reshape_chain(net: Network) -> str:
    """Unsqueeze, Reshape and Squeeze that lead back, with and without something between."""
    x = net.tensor()
    shape = net.shapes[x]
    if len(shape) > 4:
        return x  # one dimension more than pooling kernels know
    axis = net.draw(st.integers(0, len(shape)))
    at = net.weight(np.array([axis], np.int64))
    wide = (*shape[:axis], 1, *shape[axis:])
    y = _float(net, net.add("Unsqueeze", [x, at], wide))
    if net.draw(st.booleans()):
        y = net.add("Sigmoid", [y], wide)
    if net.draw(st.booleans()):
        return net.add("Squeeze", [y, at], shape)
    y = net.add("Reshape", [y, net.weight(np.array([0, -1]))], (shape[0], math.prod(shape[1:])))
    if axis == 0:
        return x  # its zero copies the one: a near miss that stays as it is
    return net.add("Reshape", [y, net.weight(np.array([-1, *shape[1:]]))], shape)


def computed_target(net: Network) -> str:
    """A Reshape whose target is computed from the sizes of its input."""
    x = net.tensor()
    shape = net.shapes[x]
    rank = len(shape)
    sizes = net.add("Shape", [x], (rank,))
    index = net.weight(np.array([0, 1]))
    kept = net.add("Gather", [sizes, index], (2,))
    tail = net.pick([-1], [math.prod(shape[2:])])
    target = net.add("Concat", [kept, net.weight(np.array(tail))], (3,), axis=0)
    flat = net.add("Reshape", [x, target], (*shape[:2], math.prod(shape[2:])))
    return net.add(net.pick("Relu", "Tanh"), [flat], net.shapes[flat])


STEPS: tuple[Step, ...] = (
    nhwc_block,
    nhwc_block,
    odd_transpose,
    mixed_sides,
    dense_head,
    reshape_chain,
    computed_target,
)
