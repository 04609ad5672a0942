"""Steps with parallel, sibling and consecutive linear operators: what linear algebra can merge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from .basic import batchnorm
from .network import Network, Step


def _branch(
    net: Network,
    x: str,
    out: int,
    kernel: Sequence[int],
    *,
    group: int = 1,
    strides: Sequence[int] | None = None,
    dilation: int = 1,
    pads: Sequence[int] | None = None,
) -> str:
    """Add a convolution, by default one that keeps the size of its input."""
    n, channels, *sizes = net.shapes[x]
    rank = len(sizes)
    strides = list(strides or [1] * rank)
    if pads is None:
        pads = [dilation * (k - 1) // 2 for k in (*kernel, *kernel)]
    fan = channels // group * math.prod(kernel)
    inputs = [x, net.weight(net.normal(out, channels // group, *kernel, scale=fan**-0.5))]
    if net.draw(st.booleans()):
        inputs.append(net.weight(net.normal(out), "b"))
    result = [
        (size + pads[i] + pads[i + rank] - dilation * (kernel[i] - 1) - 1) // strides[i] + 1
        for i, size in enumerate(sizes)
    ]
    attrs: dict[str, Any] = {"strides": strides, "dilations": [dilation] * rank, "pads": pads}
    return net.add("Conv", inputs, (n, out, *result), group=group, **attrs)


def _parallel_convolutions(net: Network) -> str:
    """Two to four convolutions of one tensor, some with BN, and often the tensor itself, added."""
    x = net.tensor()
    channels, rank = net.shapes[x][1], len(net.shapes[x]) - 2
    out = net.pick(channels, channels, net.draw(st.integers(1, 4)))
    dilation = net.pick(1, 1, 2)
    strides = [net.draw(st.integers(1, 2)) for _ in range(rank)]
    if net.draw(st.booleans()):
        strides = [1] * rank
    group = net.pick(*[g for g in range(1, channels + 1) if channels % g == out % g == 0])
    branches = []
    for _ in range(net.draw(st.integers(1, 3))):
        kernel = [net.pick(1, 3) for _ in range(rank)]
        branch = _branch(
            net, x, out, kernel, group=net.pick(1, group), strides=strides, dilation=dilation
        )
        branches.append(batchnorm(net, branch) if net.draw(st.integers(0, 3)) == 0 else branch)
    if net.shapes[branches[0]] == net.shapes[x]:
        match net.pick("none", "identity", "batchnorm", "scale", "pool"):
            case "identity":
                branches.append(x)
            case "batchnorm":
                branches.append(batchnorm(net, x))
            case "scale":
                scale = net.weight(net.normal(channels, *[1] * rank))
                branches.append(net.add("Mul", [scale, x], net.shapes[x]))
            case "pool":
                pool = {"kernel_shape": [3] * rank, "pads": [1] * 2 * rank}
                counted = net.draw(st.integers(0, 1))
                branches.append(
                    net.add("AveragePool", [x], net.shapes[x], count_include_pad=counted, **pool)
                )
    if net.draw(st.integers(0, 3)) == 0:
        branches.append(net.weight(net.normal(out, *[1] * rank)))
    return _added(net, branches)


def _added(net: Network, branches: list[str]) -> str:
    shape = net.shapes[branches[0]]
    branches = list(net.draw(st.permutations(branches)))
    if net.draw(st.booleans()):
        return net.add("Sum", branches, shape)
    while len(branches) > 1:
        at = net.draw(st.integers(0, len(branches) - 2))
        pair = branches[at : at + 2]
        known = [net.shapes[name] for name in pair if name in net.shapes]
        branches[at : at + 2] = [
            net.add(net.pick("Add", "Add", "Sub"), pair, known[0] if known else shape)
        ]
    return branches[0]


def _parallel_products(net: Network) -> str:
    """x @ a + x @ b, as MatMul over the last axis."""
    x = net.tensor()
    size = net.shapes[x][-1]
    out = net.pick(size, 3)
    shape = (*net.shapes[x][:-1], out)
    products = [
        net.add("MatMul", [x, net.weight(net.normal(size, out, scale=size**-0.5))], shape)
        for _ in range(2)
    ]
    if out == size and net.draw(st.booleans()):
        products.append(x)
    if net.draw(st.booleans()):
        products.append(net.weight(net.normal(out)))
    return _added(net, products)


def _siblings(net: Network) -> str:
    """Two or three convolutions of one tensor, mostly alike, joined by a Concat or left apart."""
    x = net.tensor()
    rank = len(net.shapes[x]) - 2
    kernel = [net.pick(1, 1, 3) for _ in range(rank)]
    relu = net.draw(st.booleans())
    results = []
    for _ in range(net.draw(st.integers(2, 3))):
        odd = net.draw(st.integers(0, 5)) == 0
        made = _branch(net, x, net.draw(st.integers(1, 4)), [3] * rank if odd else kernel)
        if relu and net.draw(st.integers(0, 5)):
            made = net.add("Relu", [made], net.shapes[made])
        results.append(made)
    if net.draw(st.integers(0, 4)) == 0:
        results.insert(net.draw(st.integers(0, len(results))), x)
    if net.draw(st.integers(0, 2)) == 0:
        return results[-1]
    n, _, *sizes = net.shapes[x]
    channels = sum(net.shapes[result][1] for result in results)
    return net.add("Concat", results, (n, channels, *sizes), axis=net.pick(1, -1 - rank))


def _projections(net: Network) -> str:
    """Two products with one tensor, side by side along the last axis."""
    x = net.tensor()
    *outer, size = net.shapes[x]
    outs = [net.draw(st.integers(1, 4)) for _ in range(2)]
    products = []
    for out in outs:
        weight = net.weight(net.normal(size, out, scale=size**-0.5))
        product = net.add("MatMul", [x, weight], (*outer, out))
        if net.draw(st.booleans()):
            product = net.add("Add", [product, net.weight(net.normal(out))], (*outer, out))
        products.append(product)
    return net.add("Concat", products, (*outer, sum(outs)), axis=net.pick(-1, len(outer)))


def _consecutive(net: Network) -> str:
    """Two convolutions in a row, mostly one of them 1x1, grouped or strided now and then."""
    x = net.tensor()
    rank = len(net.shapes[x]) - 2
    point, wide = [1] * rank, [net.pick(1, 3) for _ in range(rank)]
    kernels = net.pick((point, wide), (wide, point), (point, point), (wide, wide))
    for kernel in kernels:
        channels = net.shapes[x][1]
        out = net.draw(st.integers(1, 6))
        group = net.pick(1, *[g for g in range(2, channels + 1) if channels % g == out % g == 0])
        strides = [net.pick(1, 1, 2) for _ in range(rank)]
        if net.draw(st.booleans()):
            strides = point
        padded = [(k - 1) // 2 for k in kernel] if net.draw(st.booleans()) else [0] * rank
        if any(s + 2 * p < k for s, p, k in zip(net.shapes[x][2:], padded, kernel, strict=True)):
            padded = [(k - 1) // 2 for k in kernel]
        x = _branch(net, x, out, kernel, group=group, strides=strides, pads=padded * 2)
    return x


def _transposed(net: Network) -> str:
    """A transposed convolution beside a 1x1 convolution."""
    x = net.tensor()
    rank = len(net.shapes[x]) - 2
    if math.prod(net.shapes[x][2:]) > 100:
        return x
    before = net.draw(st.booleans())
    if before:
        x = _branch(net, x, net.draw(st.integers(1, 5)), [1] * rank)
    n, channels, *sizes = net.shapes[x]
    out = net.draw(st.integers(1, 3))
    weight = net.weight(net.normal(channels, out, *[2] * rank, scale=channels**-0.5))
    shape = (n, out, *[2 * size for size in sizes])
    x = net.add("ConvTranspose", [x, weight], shape, strides=[2] * rank)
    return x if before else _branch(net, x, net.draw(st.integers(1, 3)), [1] * rank)


def _product_chain(net: Network) -> str:
    """Two products in a row, with or without biases."""
    x = net.tensor()
    for _ in range(2):
        *outer, size = net.shapes[x]
        out = net.draw(st.integers(1, 6))
        shape = (*outer, out)
        x = net.add("MatMul", [x, net.weight(net.normal(size, out, scale=size**-0.5))], shape)
        if net.draw(st.booleans()):
            x = net.add("Add", [x, net.weight(net.normal(out))], shape)
    return x


PARALLEL: tuple[Step, ...] = (_parallel_convolutions, _parallel_convolutions, _parallel_products)
SIBLINGS: tuple[Step, ...] = (_siblings, _siblings, _projections)
CONSECUTIVE: tuple[Step, ...] = (_consecutive, _consecutive, _transposed, _product_chain)
STEPS: tuple[Step, ...] = PARALLEL + SIBLINGS + CONSECUTIVE
