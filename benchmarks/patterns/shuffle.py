"""Channel shuffles: units of ShuffleNetV2 and of ShuffleNet, a permutation carried along."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import Pattern, count

SIZE, CHANNELS = 28, 48


class _Units:
    """A network under construction, [N, channels, 28, 28] throughout."""

    def __init__(self, batch: int | str) -> None:
        self.batch = batch
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self.random = np.random.default_rng(1)

    def constant(self, values: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, **attrs: Any) -> list[str]:
        names = [f"{op.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attrs))
        return names

    def conv(self, x: str, ins: int, outs: int, k: int = 1, group: int = 1) -> str:
        shape = (outs, ins // group, k, k)
        weight = self.random.standard_normal(shape) / (ins // group * k * k) ** 0.5
        bias = self.random.standard_normal(outs)
        held = [self.constant(values.astype(np.float32)) for values in (weight, bias)]
        return self.add("Conv", x, *held, group=group, pads=[k // 2] * 4)[0]

    def shuffle(self, x: str, groups: int) -> str:
        apart, back = [groups, CHANNELS // groups, SIZE, SIZE], [CHANNELS, SIZE, SIZE]
        a = self.add("Reshape", x, self.target(x, apart))[0]
        b = self.add("Transpose", a, perm=[0, 2, 1, 3, 4])[0]
        return self.add("Reshape", b, self.target(x, back))[0]

    def target(self, x: str, sizes: list[int]) -> str:
        """Return the target of a Reshape, computed where the batch is not known."""
        if isinstance(self.batch, int):
            return self.constant(np.array([self.batch, *sizes]))
        whole = self.add("Shape", x)[0]
        first = self.add("Gather", whole, self.constant(np.array(0)))[0]
        listed = self.add("Unsqueeze", first, self.constant(np.array([0])))[0]
        return self.add("Concat", listed, self.constant(np.array(sizes)), axis=0)[0]

    def relu(self, x: str) -> str:
        return self.add("Relu", x)[0]

    def model(self, y: str) -> onnx.ModelProto:
        shape = [self.batch, CHANNELS, SIZE, SIZE]
        graph = helper.make_graph(
            self.nodes,
            "shuffle",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(y, TensorProto.FLOAT, None)],
            self.weights,
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=9)


def split_units(batch: int | str = 1) -> onnx.ModelProto:
    """Return three units of ShuffleNetV2 between two convolutions."""
    net, half = _Units(batch), CHANNELS // 2
    x = net.relu(net.conv("x", CHANNELS, CHANNELS))
    for _ in range(3):
        kept, worked = net.add("Split", x, net.constant(np.array([half, half])), outputs=2, axis=1)
        y = net.relu(net.conv(worked, half, half))
        y = net.relu(net.conv(net.conv(y, half, half, 3, half), half, half))
        x = net.shuffle(net.add("Concat", kept, y, axis=1)[0], 2)
    return net.model(net.conv(x, CHANNELS, CHANNELS))


def grouped_units() -> onnx.ModelProto:
    """Return two units of ShuffleNet, their 1x1 convolutions in three groups."""
    net = _Units(1)
    x = "x"
    for _ in range(2):
        y = net.relu(net.conv(x, CHANNELS, CHANNELS, group=3))
        y = net.conv(net.shuffle(y, 3), CHANNELS, CHANNELS, 3, CHANNELS)
        y = net.conv(y, CHANNELS, CHANNELS, group=3)
        x = net.relu(net.add("Add", x, y)[0])
    return net.model(x)


def carried_shuffle() -> onnx.ModelProto:
    """Return a shuffle, a depthwise convolution and a per-channel scale between convolutions."""
    net = _Units("batch")
    x = net.shuffle(net.relu(net.conv("x", CHANNELS, CHANNELS)), 4)
    y = net.relu(net.conv(x, CHANNELS, CHANNELS, 3, CHANNELS))
    pooled = net.add("GlobalAveragePool", y)[0]
    y = net.add("Mul", y, net.add("Sigmoid", pooled)[0])[0]
    return net.model(net.conv(y, CHANNELS, CHANNELS))


def nothing_transposed(model: onnx.ModelProto) -> bool:
    """Say whether no Transpose and no Reshape is left."""
    kinds = count(model)
    return not kinds["Transpose"] and not kinds["Reshape"]


def nothing_moved_singly(model: onnx.ModelProto) -> bool:
    """Say whether, besides, no channels are gathered: only Split and Concat may move them."""
    return nothing_transposed(model) and not count(model)["Gather"]


PATTERNS: tuple[Pattern, ...] = (
    Pattern("channel shuffle, split units", split_units, nothing_moved_singly),
    Pattern(
        "channel shuffle, split units, dynamic batch",
        lambda: split_units("batch"),
        nothing_moved_singly,
    ),
    Pattern("channel shuffle between grouped convolutions", grouped_units, nothing_transposed),
    Pattern("channel shuffle carried to a convolution", carried_shuffle, nothing_moved_singly),
)
