"""A network that compiles in a second, for tests of what surrounds the kernels."""

import numpy as np
import onnx

from tests.helpers import model_of

TEXT = """g (float[N, 3, 9, 9] x) => (float[N, 20, 9, 9] y) {
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
    y = Relu(c)
}"""


def conv_relu() -> onnx.ModelProto:
    """Return x[N, 3, 9, 9] -> Conv 3x3 -> Relu -> y[N, 20, 9, 9]."""
    weight = np.random.default_rng(0).standard_normal((20, 3, 3, 3)).astype(np.float32)
    return model_of(TEXT, {"w": weight})
