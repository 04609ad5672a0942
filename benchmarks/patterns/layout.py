"""Networks with channels last, as TensorFlow's exporters write them, and shape arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import Pattern, count

Array = np.ndarray[Any, Any]
TO_FIRST, TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


class ChannelsLast:
    """A network under construction: every convolution stands between two Transposes."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self.random = np.random.default_rng(0)

    def constant(self, values: Array) -> str:
        """Add an initializer."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def normal(self, *shape: int, fan: int = 1) -> str:
        """Add a random weight."""
        values = self.random.standard_normal(shape) * fan**-0.5
        return self.constant(values.astype(np.float32))

    def add(self, op: str, *inputs: str, **attrs: Any) -> str:
        """Add a node and return its result."""
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attrs))
        return name

    def with_axes(self, op: str, x: str, axes: list[int], since: int, **attrs: Any) -> str:
        """Add an operator whose axes are an input from opset `since` on."""
        if self.opset < since:
            return self.add(op, x, axes=axes, **attrs)
        return self.add(op, x, self.constant(np.array(axes, np.int64)), **attrs)

    def first(self, op: str, x: str, *inputs: str, **attrs: Any) -> str:
        """Add an operator that wants channels first, between Transposes."""
        y = self.add(op, self.add("Transpose", x, perm=TO_FIRST), *inputs, **attrs)
        return self.add("Transpose", y, perm=TO_LAST)

    def conv(self, x: str, ins: int, outs: int, k: int = 3, stride: int = 1, group: int = 1) -> str:
        """Add a convolution with SAME padding, or without where it strides, and its BiasAdd."""
        weight = self.normal(outs, ins // group, k, k, fan=k * k * ins // group)
        pads = [k // 2] * 4 if stride == 1 else [0] * 4
        strides = [stride, stride]
        y = self.first("Conv", x, weight, strides=strides, pads=pads, group=group)
        return self.add("Add", y, self.normal(outs))

    def relu6(self, x: str) -> str:
        """Add Clip from 0 to 6."""
        if self.opset < 11:
            return self.add("Clip", x, min=0.0, max=6.0)
        bounds = (self.constant(np.float32(value)) for value in (0, 6))
        return self.add("Clip", x, *bounds)

    def pad(self, x: str) -> str:
        """Add one row and column below and to the right."""
        pads = [0, 0, 0, 0, 0, 1, 1, 0]
        if self.opset < 11:
            return self.add("Pad", x, pads=pads)
        return self.add("Pad", x, self.constant(np.array(pads, np.int64)))

    def model(self, y: str, channels: int, size: int, batch: str | int) -> onnx.ModelProto:
        """Return the model from x [batch, size, size, channels] to `y`."""
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, size, size, channels])
        result = helper.make_tensor_value_info(y, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "channels_last", [x], [result], self.weights)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )


def residual(opset: int = 17, batch: str | int = "unk__1") -> onnx.ModelProto:
    """Return two residual blocks, a global mean and a linear layer."""
    net = ChannelsLast(opset)
    x = net.add("Relu", net.conv("x", 3, 32))
    for _ in range(2):
        y = net.add("Relu", net.conv(x, 32, 32))
        x = net.add("Relu", net.add("Add", net.conv(y, 32, 32), x))
    mean = net.with_axes("ReduceMean", x, [1, 2], 18, keepdims=0)
    y = net.add("Add", net.add("MatMul", mean, net.normal(32, 10, fan=32)), net.normal(10))
    return net.model(net.add("Softmax", y, axis=-1), 3, 28, batch)


def inverted_residual(opset: int = 17, batch: str | int = "unk__1") -> onnx.ModelProto:
    """Return inverted residual blocks, one strided behind an explicit Pad, and their scaling."""
    net = ChannelsLast(opset)
    x = net.relu6(net.conv("x", 3, 16))
    for stride in (1, 2, 1):
        y = net.relu6(net.conv(x, 16, 48, 1))
        y = net.conv(net.pad(y) if stride == 2 else y, 48, 48, 3, stride, 48)
        y = net.relu6(net.add("Mul", y, net.normal(1, 1, 1, 48)))
        y = net.conv(y, 48, 16, 1)
        x = net.add("Add", x, y) if stride == 1 else y
    return net.model(net.first("GlobalAveragePool", x), 3, 28, batch)


def inception(opset: int = 17, batch: str | int = "unk__1") -> onnx.ModelProto:
    """Return branches joined along the last axis."""
    net = ChannelsLast(opset)
    x = net.add("Relu", net.conv("x", 3, 16))
    pool = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}
    branches = [
        net.add("Relu", net.conv(x, 16, 16, 1)),
        net.add("Relu", net.conv(net.add("Relu", net.conv(x, 16, 16, 1)), 16, 24)),
        net.add("Relu", net.conv(net.first("MaxPool", x, **pool), 16, 8, 1)),
    ]
    y = net.add("Concat", *branches, axis=3)
    return net.model(net.first("GlobalAveragePool", net.conv(y, 48, 16, 1)), 3, 28, batch)


def squeeze_excite(opset: int = 17, batch: str | int = "unk__1") -> onnx.ModelProto:
    """Return a gate from means that are squeezed, and reshaped back to [N, 1, 1, C]."""
    net = ChannelsLast(opset)
    x = net.add("Relu", net.conv("x", 3, 32))
    mean = net.with_axes("ReduceMean", x, [1, 2], 18, keepdims=0)
    mean = net.add("Reshape", mean, net.constant(np.array([-1, 1, 1, 32], np.int64)))
    y = net.add("Relu", net.conv(mean, 32, 8, 1))
    gate = net.add("Sigmoid", net.conv(y, 8, 32, 1))
    y = net.conv(net.add("Mul", x, gate), 32, 16)
    return net.model(net.first("GlobalAveragePool", y), 3, 28, batch)


def dense(opset: int = 17, batch: str | int = "unk__1") -> onnx.ModelProto:
    """Return channels last flattened by shape arithmetic before a linear layer."""
    net = ChannelsLast(opset)
    x = net.add("Relu", net.conv("x", 3, 16))
    x = net.first("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    sizes = net.add("Cast", net.add("Shape", x), to=TensorProto.INT32)
    index = net.constant(np.array([0], np.int64))
    first = net.add("Cast", net.add("Gather", sizes, index, axis=0), to=TensorProto.INT64)
    rest = net.constant(np.array([14 * 14 * 16], np.int64))
    flat = net.add("Reshape", x, net.add("Concat", first, rest, axis=0))
    weight = net.normal(14 * 14 * 16, 10, fan=14 * 14 * 16)
    return net.model(net.add("Add", net.add("MatMul", flat, weight), net.normal(10)), 3, 28, batch)


def sequence(opset: int = 17, batch: str | int = "unk__1") -> onnx.ModelProto:
    """Return Keras' one-dimensional convolutions, with a row unsqueezed and squeezed again."""
    net = ChannelsLast(opset)
    x, ins = net.with_axes("Squeeze", net.add("Abs", "x"), [1], 13), 8
    for outs in (16, 32):
        row = net.with_axes("Unsqueeze", x, [1], 13)
        weight = net.normal(outs, ins, 1, 5, fan=5 * ins)
        y = net.first("Conv", row, weight, pads=[0, 2, 0, 2])
        y = net.add("Mul", net.with_axes("Squeeze", y, [1], 13), net.normal(1, 1, outs))
        x, ins = net.add("LeakyRelu", net.add("Add", y, net.normal(outs)), alpha=0.3), outs
    mean = net.with_axes("ReduceMean", x, [1], 18, keepdims=0)
    model = net.model(mean, 8, 64, batch)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    return model


def computed_flatten(batch: str | int = "N") -> onnx.ModelProto:
    """Return x.view(x.size(0), -1) as it is written without any folding."""
    net = ChannelsLast(17)
    x = net.add("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])
    zero = net.constant(np.array(0, np.int64))
    size = net.add("Gather", net.add("Shape", x), zero, axis=0)
    first = net.add("Unsqueeze", size, net.constant(np.array([0], np.int64)))
    minus = net.constant(np.array([-1], np.int64))
    flat = net.add("Reshape", x, net.add("Concat", first, minus, axis=0))
    y = net.add("Gemm", flat, net.normal(32 * 28 * 28, 10, fan=32 * 28 * 28), net.normal(10))
    model = net.model(y, 56, 56, batch)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 32
    return model


def reshape_chain(batch: str | int = "N") -> onnx.ModelProto:
    """Return a pooled tensor squeezed, unsqueezed and reshaped before a linear layer."""
    net = ChannelsLast(17)
    x = net.add("GlobalAveragePool", "x")
    x = net.with_axes("Squeeze", x, [2, 3], 13)
    x = net.with_axes("Unsqueeze", x, [2], 13)
    x = net.add("Relu", x)
    x = net.with_axes("Squeeze", x, [2], 13)
    x = net.add("Reshape", x, net.constant(np.array([-1, 4, 7], np.int64)))
    x = net.add("Reshape", x, net.constant(np.array([0, -1], np.int64)))
    return net.model(net.add("Gemm", x, net.normal(28, 10), net.normal(10)), 28, 28, batch)


def _transposes(most: int) -> Callable[[onnx.ModelProto], bool]:
    return lambda model: count(model)["Transpose"] <= most


def _one_reshape(model: onnx.ModelProto) -> bool:
    ops = count(model)
    names = ("Shape", "Gather", "Concat", "Slice", "Cast", "Reshape", "Flatten")
    return sum(ops[name] for name in (*names, "Squeeze", "Unsqueeze")) <= 1


# At most the one that the channels-last input needs is left.
NETWORKS = {
    "channels-last residual blocks": residual,
    "channels-last inverted residuals with Pad": inverted_residual,
    "channels-last Concat of branches": inception,
    "channels-last squeeze-and-excite": squeeze_excite,
    "channels-last Flatten before a linear layer": dense,
    "channels-last one-dimensional convolutions": sequence,
}
PATTERNS: tuple[Pattern, ...] = (
    *(
        Pattern(f"{name}, {kind} batch", partial(build, batch=batch), _transposes(1))
        for name, build in NETWORKS.items()
        for kind, batch in (("static", 1), ("dynamic", "unk__1"))
    ),
    Pattern("Flatten by shape arithmetic, dynamic batch", computed_flatten, _one_reshape),
    Pattern("chain of Squeeze, Unsqueeze and Reshape", reshape_chain, _one_reshape),
)
