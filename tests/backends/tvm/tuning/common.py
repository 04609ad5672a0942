"""Small operators and a network of them."""

import numpy as np
import pytest

pytest.importorskip("tvm")

from planish.backends.tvm.kernels.convolution import Convolution
from planish.backends.tvm.kernels.windows import Windows
from planish.backends.tvm.spec.chain import ElementwiseChain
from planish.backends.tvm.spec.layout import Layout
from planish.backends.tvm.spec.machine import MACHINES, host_isa

from tests.helpers import model_of

MACHINE = MACHINES[host_isa()]
TEXT = """g (float[N, 3, 12, 12] x) => (float[N, 24, 12, 12] y) {
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
    r = Relu(c)
    d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 32> (r, v)
    y = Conv <kernel_shape = [1, 1]> (d, u)
}"""


def network(batch: str = "N"):
    """Return a model of three layers, each with a choice."""
    draw = np.random.default_rng(0).standard_normal
    shapes = {"w": (32, 3, 3, 3), "v": (32, 1, 3, 3), "u": (24, 32, 1, 1)}
    text = TEXT.replace("[N,", f"[{batch},")
    return model_of(text, {name: draw(shape).astype(np.float32) for name, shape in shapes.items()})


def spec(channels: int, size: int):
    return Layout.plain(channels, MACHINE.lanes, ((1, 1), (1, 1))).spec((size, size))


def same_size(size: int, channels: int):
    """Return the fields of a 3 x 3 window over a tensor as large as its result."""
    x = spec(channels, size)
    ones = (1, 1, 1)
    pads = ((0, 0), (1, 1), (1, 1))
    window = {"kernel": (1, 3, 3), "strides": ones, "dilations": ones, "pads": pads}
    return {"x": x, "y": x, **window, "epilogue": ElementwiseChain(), "batch": None}


def conv(size: int = 12, channels: int = 32):
    return Convolution(**same_size(size, channels), group=1)


def depthwise(size: int = 12, channels: int = 32):
    return Windows(**same_size(size, channels), kind="depthwise")
