"""Patterns of per-channel scales and shifts around linear operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import Pattern, count

Array = np.ndarray[Any, Any]
Dim = int | str
_AFFINE = ("BatchNormalization", "Mul", "Add", "Sub", "Div", "Neg")


class _AffineModel:
    """A model under construction, from one input x; every method adds a node."""

    def __init__(self, shape: tuple[Dim, ...]) -> None:
        self.generator = np.random.default_rng(7)
        self.shape = shape
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        return (self.generator.standard_normal(shape) * scale).astype(np.float32)

    def weight(self, values: Array) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, op: str, *inputs: str, **attrs: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attrs))
        return name

    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 3, **attrs: Any) -> str:
        group = attrs.get("group", 1)
        fan = inputs // group * kernel**2
        weight = self.normal(outputs, inputs // group, kernel, kernel, scale=fan**-0.5)
        return self.node("Conv", x, self.weight(weight), **attrs)

    def batchnorm(self, x: str, channels: int) -> str:
        values = (
            1 + self.normal(channels, scale=0.3),
            self.normal(channels, scale=0.3),
            self.normal(channels, scale=0.3),
            self.generator.uniform(0.2, 2, channels).astype(np.float32),
        )
        return self.node("BatchNormalization", x, *map(self.weight, values), epsilon=1e-3)

    def by(self, op: str, x: str, channels: int) -> str:
        """Scale or shift every channel of four-dimensional x."""
        return self.node(op, x, self.weight(1.5 + self.normal(channels, 1, 1, scale=0.3)))

    def model(self, *outputs: str, opset: int = 17) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "pattern",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.weights,
        )
        imports = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=9)
        return onnx.shape_inference.infer_shapes(model)


def paddle(batch: Dim = "N") -> onnx.ModelProto:
    """Conv, Mul, Add, Mul, Add and Relu, as PaddleOCR's exports carry."""
    m = _AffineModel((batch, 16, 28, 28))
    x = m.conv("x", 16, 32, pads=[1, 1, 1, 1])
    for op in ("Mul", "Add", "Mul", "Add"):
        x = m.by(op, x, 32)
    return m.model(m.node("Relu", x))


def through_batchnorm(batch: Dim = "N") -> onnx.ModelProto:
    """Conv, Mul, Add, BatchNormalization."""
    m = _AffineModel((batch, 16, 28, 28))
    x = m.conv("x", 16, 32, pads=[1, 1, 1, 1])
    return m.model(m.batchnorm(m.by("Add", m.by("Mul", x, 32), 32), 32))


def backwards(batch: Dim = "N") -> onnx.ModelProto:
    """Depthwise Conv, then c - x, x / c and -x."""
    m = _AffineModel((batch, 32, 28, 28))
    x = m.conv("x", 32, 32, group=32, pads=[1, 1, 1, 1])
    x = m.node("Sub", m.weight(m.normal(32, 1, 1)), x)
    return m.model(m.node("Neg", m.by("Div", x, 32)))


def transposed(batch: Dim = "N") -> onnx.ModelProto:
    """ConvTranspose with two groups, BatchNormalization."""
    m = _AffineModel((batch, 16, 28, 28))
    weight = m.weight(m.normal(16, 8, 2, 2, scale=0.2))
    x = m.node("ConvTranspose", "x", weight, group=2, strides=[2, 2])
    return m.model(m.batchnorm(x, 16))


def gemm(batch: Dim = "N") -> onnx.ModelProto:
    """Gemm, BatchNormalization."""
    m = _AffineModel((batch, 64))
    x = m.node("Gemm", "x", m.weight(m.normal(64, 32, scale=0.1)), m.weight(m.normal(32)))
    return m.model(m.batchnorm(x, 32))


def matmul(batch: Dim = "N") -> onnx.ModelProto:
    """MatMul, Add, BatchNormalization."""
    m = _AffineModel((batch, 64))
    x = m.node("MatMul", "x", m.weight(m.normal(64, 32, scale=0.1)))
    return m.model(m.batchnorm(m.node("Add", x, m.weight(m.normal(32))), 32))


def sequence() -> onnx.ModelProto:
    """MatMul over a sequence, its bias, a scale and a shift."""
    m = _AffineModel(("N", 49, 64))
    x = m.node("MatMul", "x", m.weight(m.normal(64, 32, scale=0.1)))
    for op in ("Add", "Mul", "Sub"):
        x = m.node(op, x, m.weight(1 + m.normal(32, scale=0.3)))
    return m.model(x)


def before_conv(batch: Dim = "N", **attrs: Any) -> onnx.ModelProto:
    """BatchNormalization, Conv."""
    m = _AffineModel((batch, 32, 28, 28))
    return m.model(m.conv(m.batchnorm("x", 32), 32, 32, **attrs))


def before_padded_conv(batch: Dim = 1) -> onnx.ModelProto:
    """BatchNormalization, padded Conv of stride 1."""
    return before_conv(batch, pads=[1, 1, 1, 1])


def input_normalization(batch: Dim = "N") -> onnx.ModelProto:
    """(x - mean) / deviation and a first Conv without padding."""
    m = _AffineModel((batch, 3, 56, 56))
    x = m.by("Div", m.by("Sub", "x", 3), 3)
    return m.model(m.node("Relu", m.conv(x, 3, 16, strides=[2, 2])))


def dynamic_normalization() -> onnx.ModelProto:
    """(x - mean) / deviation and a padded Conv over images of any size."""
    m = _AffineModel(("N", 3, "H", "W"))
    x = m.by("Div", m.by("Sub", "x", 3), 3)
    return m.model(m.node("Relu", m.conv(x, 3, 16, strides=[2, 2], pads=[1, 1, 1, 1])))


def before_gemm(batch: Dim = "N") -> onnx.ModelProto:
    """BatchNormalization, Flatten, Gemm."""
    m = _AffineModel((batch, 16, 7, 7))
    flat = m.node("Flatten", m.batchnorm("x", 16))
    weight = m.weight(m.normal(16 * 49, 10, scale=0.05))
    return m.model(m.node("Gemm", flat, weight, m.weight(m.normal(10))))


def before_pooled_gemm(batch: Dim = "N") -> onnx.ModelProto:
    """BatchNormalization, GlobalAveragePool, Flatten, Gemm."""
    m = _AffineModel((batch, 32, 14, 14))
    pooled = m.node("GlobalAveragePool", m.batchnorm("x", 32))
    weight = m.weight(m.normal(32, 10, scale=0.2))
    return m.model(m.node("Gemm", m.node("Flatten", pooled), weight, m.weight(m.normal(10))))


def two_readers(batch: Dim = "N") -> onnx.ModelProto:
    """BatchNormalization read by two Convs."""
    m = _AffineModel((batch, 32, 28, 28))
    x = m.batchnorm("x", 32)
    return m.model(m.conv(x, 32, 16, 1), m.conv(x, 32, 24, 1))


def shared_conv(batch: Dim = "N") -> onnx.ModelProto:
    """A Conv read by its BatchNormalization, which a 1x1 Conv reads, and by a Relu."""
    m = _AffineModel((batch, 16, 28, 28))
    x = m.conv("x", 16, 32, pads=[1, 1, 1, 1])
    return m.model(m.conv(m.batchnorm(x, 32), 32, 16, 1), m.node("Relu", x))


def long_chain(batch: Dim = "N") -> onnx.ModelProto:
    """Relu, Mul, Add, Mul, Add, Sigmoid: no linear operator to go into."""
    m = _AffineModel((batch, 32, 28, 28))
    x = m.node("Relu", "x")
    for op in ("Mul", "Add", "Mul", "Add"):
        x = m.by(op, x, 32)
    return m.model(m.node("Sigmoid", x))


def _at_most(allowed: int) -> Callable[[onnx.ModelProto], bool]:
    """Say that so many affine operators are left, none of them a BatchNormalization."""

    def folded(model: onnx.ModelProto) -> bool:
        counts = count(model)
        return not counts["BatchNormalization"] and sum(counts[op] for op in _AFFINE) <= allowed

    return folded


PATTERNS: tuple[Pattern, ...] = (
    Pattern("Conv, Mul, Add, Mul, Add", paddle, _at_most(0)),
    Pattern("Conv, Mul, Add, BatchNormalization", through_batchnorm, _at_most(0)),
    Pattern("depthwise Conv, c - x, x / c, -x", backwards, _at_most(0)),
    Pattern("ConvTranspose of two groups, BatchNormalization", transposed, _at_most(0)),
    Pattern("Gemm, BatchNormalization", gemm, _at_most(0)),
    Pattern("MatMul, Add, BatchNormalization", matmul, _at_most(1)),
    Pattern("MatMul of a sequence, Add, Mul, Sub", sequence, _at_most(1)),
    Pattern("BatchNormalization, Conv", before_conv, _at_most(0)),
    Pattern("BatchNormalization, Conv with padding", before_padded_conv, _at_most(1)),
    Pattern("(x - mean) / deviation, Conv", input_normalization, _at_most(0)),
    Pattern("(x - mean) / deviation, padded Conv, any size", dynamic_normalization, _at_most(1)),
    Pattern("BatchNormalization, Flatten, Gemm", before_gemm, _at_most(0)),
    Pattern("BatchNormalization, GlobalAveragePool, Gemm", before_pooled_gemm, _at_most(0)),
    Pattern("BatchNormalization, two Convs", two_readers, _at_most(0)),
    Pattern("a shared Conv, BatchNormalization, Conv", shared_conv, _at_most(0)),
    Pattern("Mul, Add, Mul, Add alone", long_chain, _at_most(2)),
)
