"""Steps that change how narrow floats may be: large and tiny constants, sizes, quantized parts."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from .network import Network, Step


def _shifted(net: Network) -> str:
    """Constants of every magnitude, some beyond float16 and some below it, added or multiplied."""
    x = net.tensor()
    size = net.pick(1e-9, 1e-5, 1.0, 100.0, 1e6)
    values = net.normal(*[1] * (len(net.shapes[x]) - 1), scale=size)
    y = net.add(net.pick("Add", "Mul", "Max"), [x, net.weight(values)], net.shapes[x])
    return net.add("Tanh", [y], net.shapes[x])


def _scaled_by_a_size(net: Network) -> str:
    """Divide by a number of elements that the graph reads from its own shapes."""
    x = net.tensor()
    shape = net.add_private("Shape", [x])
    one = net.weight(np.array(net.draw(st.integers(0, 3)) % len(net.shapes[x]), np.int64))
    length = net.add_private("Gather", [shape, one])
    real = net.add_private("Cast", [length], to=1)
    shifted = net.add_private("Add", [real, net.weight(np.array(0.5, np.float32))])
    return net.add("Div", [x, shifted], net.shapes[x])


def _wide_convolution(net: Network) -> str:
    """A convolution of enough weights to be worth Casts, sometimes with its weight read twice."""
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    rank = len(sizes)
    weight = net.weight(net.normal(24, channels, *[3] * rank, scale=0.1))
    pads = [1] * 2 * rank
    y = net.add("Conv", [x, weight], (n, 24, *sizes), pads=pads)
    if net.draw(st.integers(0, 3)) == 0:
        z = net.add("Conv", [x, weight], (n, 24, *sizes), pads=pads)
        y = net.add("Add", [y, z], (n, 24, *sizes))
    return net.add(net.pick("Relu", "Sigmoid", "Softplus", "Neg"), [y], net.shapes[y])


STEPS: tuple[Step, ...] = (_shifted, _scaled_by_a_size, _wide_convolution)
