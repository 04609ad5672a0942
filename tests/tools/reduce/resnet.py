"""A network built as ResNet-50 is, of any size: what faults are planted in."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

_BLOCKS = (3, 4, 6, 3)


class _Net:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def node(self, op: str, inputs: list[str], **attributes: object) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], f"node_{name}", **attributes))
        return name

    def weight(self, values: np.ndarray) -> str:
        name = f"secret_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(self, x: str, cin: int, cout: int, taps: int, stride: int = 1) -> str:
        scale = (2 / (cin * taps * taps)) ** 0.5
        weight = self.weight(scale * self.rng.standard_normal((cout, cin, taps, taps)))
        pads = [taps // 2] * 4
        y = self.node("Conv", [x, weight], strides=[stride] * 2, pads=pads)
        mean, around = self.rng.standard_normal((2, cout)) * 0.1
        norms = [self.weight(v) for v in (1 + around, mean, mean, 1 + np.abs(around))]
        return self.node("BatchNormalization", [y, *norms], epsilon=1e-5)

    def bottleneck(self, x: str, cin: int, inner: int, stride: int) -> str:
        y = self.node("Relu", [self.conv(x, cin, inner, 1)])
        y = self.node("Relu", [self.conv(y, inner, inner, 3, stride)])
        y = self.conv(y, inner, 4 * inner, 1)
        if stride > 1 or cin != 4 * inner:
            x = self.conv(x, cin, 4 * inner, 1, stride)
        return self.node("Relu", [self.node("Add", [y, x])])


def resnet(
    blocks: tuple[int, ...] = _BLOCKS, width: int = 64, size: int = 64, seed: int = 0
) -> onnx.ModelProto:
    """Return the network: 174 nodes and 25 million weights as it stands, for pictures of `size`."""
    net = _Net(seed)
    x = net.node("Relu", [net.conv("image", 3, width, 7, 2)])
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = width
    for stage, count in enumerate(blocks):
        inner = width << stage
        for block in range(count):
            x = net.bottleneck(x, channels, inner, 2 if stage and not block else 1)
            channels = 4 * inner
    x = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    scores = net.weight(net.rng.standard_normal((10, channels)) / channels**0.5)
    net.nodes.append(
        helper.make_node("Gemm", [x, scores, net.weight(np.zeros(10))], ["scores"], transB=1)
    )
    graph = helper.make_graph(
        net.nodes,
        "secret network",
        [helper.make_tensor_value_info("image", 1, [1, 3, size, size])],
        [helper.make_tensor_value_info("scores", 1, [1, 10])],
        net.weights,
        doc_string="a secret",
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="secret tool",
    )
