"""Pads, normalization with nowhere to go, order of pooling, and channels known or unread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from . import Pattern, count

Array = np.ndarray[Any, Any]
_CHANNELS, _SIDE = 32, 28


class _ChannelModel:
    """A model of one input x[N, 32, 28, 28] under construction."""

    def __init__(self, batch: int | str = 1, seed: int = 0) -> None:
        self._batch = batch
        self._generator = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        return (self._generator.standard_normal(shape) * scale).astype(np.float32)

    def constant(self, values: Array) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def add(self, op: str, inputs: list[str], **attrs: Any) -> str:
        name = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [name], f"n{len(self._nodes)}", **attrs))
        return name

    def conv(self, x: str, weight: Array, bias: bool = True, **attrs: Any) -> str:
        inputs = [x, self.constant(weight)]
        if bias:
            inputs.append(self.constant(self.normal(len(weight))))
        return self.add("Conv", inputs, kernel_shape=list(weight.shape[2:]), **attrs)

    def batchnorm(self, x: str, channels: int = _CHANNELS) -> str:
        var = self._generator.uniform(0.5, 2, channels).astype(np.float32)
        values = (*(self.normal(channels) for _ in range(3)), var)
        return self.add("BatchNormalization", [x, *map(self.constant, values)], epsilon=1e-5)

    def scaling(self, x: str) -> str:
        """Add a normalization whose mean and shift are zero."""
        none = np.zeros(_CHANNELS, np.float32)
        values = (self.normal(_CHANNELS), none, none, none + 2)
        return self.add("BatchNormalization", [x, *map(self.constant, values)], epsilon=1e-5)

    def pad(self, x: str, value: float = 0.0) -> str:
        pads = self.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        return self.add("Pad", [x, pads, self.constant(np.array(value, np.float32))])

    def done(self, result: str) -> onnx.ModelProto:
        self._nodes[-1].output[0] = "y"
        assert result == f"t{len(self._nodes) - 1}"
        value = helper.make_tensor_value_info
        shape = [self._batch, _CHANNELS, _SIDE, _SIDE]
        graph = helper.make_graph(
            self._nodes,
            "channels",
            [value("x", onnx.TensorProto.FLOAT, shape)],
            [value("y", onnx.TensorProto.FLOAT, None)],
            self._weights,
        )
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _square(
    model: _ChannelModel, size: int, outputs: int = _CHANNELS, inputs: int = _CHANNELS
) -> Array:
    return model.normal(outputs, inputs, size, size, scale=(inputs * size * size) ** -0.5)


def pad_into_conv(batch: int | str = 1) -> onnx.ModelProto:
    """Pad by zeros, then a 3x3 convolution, as TensorFlow's exporter spells stride 2."""
    model = _ChannelModel(batch)
    return model.done(model.conv(model.pad("x"), _square(model, 3), strides=[2, 2]))


def pad_into_average_pool() -> onnx.ModelProto:
    """Pad by zeros, then AveragePool over what was added too."""
    model = _ChannelModel()
    padded = model.pad("x")
    return model.done(model.add("AveragePool", [padded], kernel_shape=[3, 3], strides=[2, 2]))


def pad_into_max_pool() -> onnx.ModelProto:
    """Pad by zeros after Relu, then MaxPool."""
    model = _ChannelModel()
    active = model.add("Relu", [model.conv("x", _square(model, 3))])
    pool = model.add("MaxPool", [model.pad(active)], kernel_shape=[3, 3], strides=[2, 2])
    return model.done(pool)


def concat_batchnorm(batch: int | str = 1) -> onnx.ModelProto:
    """Two convolutions, Concat, BatchNormalization."""
    model = _ChannelModel(batch)
    left = model.conv("x", _square(model, 1, 16), bias=False)
    right = model.conv("x", _square(model, 3, 16), pads=[1, 1, 1, 1])
    joined = model.add("Concat", [left, right], axis=1)
    return model.done(model.add("Relu", [model.batchnorm(joined)]))


def lone_batchnorm() -> onnx.ModelProto:
    """BatchNormalization between two activations that only scales: nothing takes it in."""
    model = _ChannelModel()
    active = model.add("Relu", ["x"])
    return model.done(model.add("Relu", [model.scaling(active)]))


def shared_batchnorm() -> onnx.ModelProto:
    """Normalization of a sum that the shortcut reads too, as in a pre-activation ResNet."""
    model = _ChannelModel()
    total = model.add("Add", ["x", model.conv("x", _square(model, 3), pads=[1, 1, 1, 1])])
    active = model.add("Relu", [model.batchnorm(total)])
    branch = model.conv(active, _square(model, 3), pads=[1, 1, 1, 1])
    return model.done(model.add("Add", [total, branch]))


def transition(batch: int | str = 1) -> onnx.ModelProto:
    """Average after a 1x1 convolution, as between DenseNet's blocks."""
    model = _ChannelModel(batch)
    mixed = model.conv(model.add("Relu", ["x"]), _square(model, 1, 16))
    return model.done(model.add("AveragePool", [mixed], kernel_shape=[2, 2], strides=[2, 2]))


def constant_channels(batch: int | str = 1) -> onnx.ModelProto:
    """A convolution half of whose outputs have no weights, Relu, and a 1x1 convolution."""
    model = _ChannelModel(batch)
    weight = _square(model, 3)
    weight[::2] = 0
    active = model.add("Relu", [model.conv("x", weight, pads=[1, 1, 1, 1])])
    return model.done(model.conv(active, _square(model, 1)))


def unread_channels() -> onnx.ModelProto:
    """A convolution half of whose outputs the next one reads with zero weights."""
    model = _ChannelModel()
    active = model.add("Relu", [model.conv("x", _square(model, 3))])
    weight = _square(model, 3)
    weight[:, ::2] = 0
    return model.done(model.conv(active, weight, pads=[1, 1, 1, 1]))


def _without(op: str) -> Callable[[onnx.ModelProto], bool]:
    return lambda model: count(model)[op] == 0


def _one_scale_and_shift(model: onnx.ModelProto) -> bool:
    """Judge what is left of a normalization: at most one Mul and Add, or one convolution."""
    counts = count(model)
    return counts["BatchNormalization"] == 0 and counts["Mul"] <= 1 and counts["Add"] <= 1


def _shared(model: onnx.ModelProto) -> bool:
    """Allow the two sums of the shortcut beside one Mul and Add, or a third convolution."""
    counts = count(model)
    added = counts["Add"] + counts["Sum"] + counts["Mul"] + counts["Conv"]
    return counts["BatchNormalization"] == 0 and added <= 6


def _averages_first(model: onnx.ModelProto) -> bool:
    order = [n.op_type for n in model.graph.node if n.op_type in ("AveragePool", "Conv")]
    return order == ["AveragePool", "Conv"]


def _half_the_channels(model: onnx.ModelProto) -> bool:
    """Say whether no weight has more than half of the elements that one of 32 x 32 has."""
    sizes = {w.name: list(w.dims) for w in model.graph.initializer}
    weights = [sizes[n.input[1]] for n in model.graph.node if n.op_type == "Conv"]
    return bool(weights) and all(w[0] * w[1] <= _CHANNELS**2 // 2 for w in weights)


PATTERNS: tuple[Pattern, ...] = (
    Pattern("Pad -> Conv", pad_into_conv, _without("Pad")),
    Pattern("Pad -> Conv, dynamic batch", lambda: pad_into_conv("N"), _without("Pad")),
    Pattern("Pad -> AveragePool", pad_into_average_pool, _without("Pad")),
    Pattern("Relu -> Pad -> MaxPool", pad_into_max_pool, _without("Pad")),
    Pattern("Concat -> BN", concat_batchnorm, _one_scale_and_shift),
    Pattern("Concat -> BN, dynamic batch", lambda: concat_batchnorm("N"), _one_scale_and_shift),
    Pattern("BN that only scales", lone_batchnorm, _one_scale_and_shift),
    Pattern("BN of a shared sum", shared_batchnorm, _shared),
    Pattern("Conv 1x1 -> AveragePool", transition, _averages_first),
    Pattern("Conv 1x1 -> AveragePool, dynamic batch", lambda: transition("N"), _averages_first),
    Pattern("constant channels", constant_channels, _half_the_channels),
    Pattern("constant channels, dynamic batch", lambda: constant_channels("N"), _half_the_channels),
    Pattern("unread channels", unread_channels, _half_the_channels),
)
