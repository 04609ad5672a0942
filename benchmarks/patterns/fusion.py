"""Patterns that end as one fused operator: residual blocks, pooled convolutions, gates.

They are judged as planish gives them, not inlined: one operator with one kernel where a backend
has it. An optimizer of another kind folds them where its own fused operators do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from . import Pattern, count

_GENERATOR = np.random.default_rng(11)


def _normal(*shape: int) -> np.ndarray[Any, Any]:
    fan = int(np.prod(shape[1:])) or 1
    return (_GENERATOR.standard_normal(shape) * fan**-0.5).astype(np.float32)


def _model(
    shape: str, result: str, body: str, weights: Mapping[str, np.ndarray[Any, Any]]
) -> onnx.ModelProto:
    header = '<ir_version: 9, opset_import: ["" : 17]>'
    text = f"{header} g (float[{shape}] x) => (float[{result}] y) {{ {body} }}"
    model = onnx.parser.parse_model(text)
    for name, values in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def conv_bias_residual_relu() -> onnx.ModelProto:
    """Return relu(conv(x) + x): the end of a residual block, dynamic batch."""
    weights = {"w": _normal(32, 32, 3, 3), "b": _normal(32)}
    body = "c = Conv <pads = [1, 1, 1, 1]> (x, w, b) s = Add (c, x) y = Relu (s)"
    return _model("N, 32, 28, 28", "N, 32, 28, 28", body, weights)


def conv_residual() -> onnx.ModelProto:
    """Return conv(x) + x: the end of an inverted residual block."""
    weights = {"w": _normal(32, 32, 1, 1), "b": _normal(32)}
    return _model("N, 32, 28, 28", "N, 32, 28, 28", "c = Conv (x, w, b) y = Add (x, c)", weights)


def conv_transpose_silu() -> onnx.ModelProto:
    """Return silu(conv_transpose(x))."""
    weights = {"w": _normal(32, 16, 4, 4), "b": _normal(16)}
    body = (
        "c = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w, b) "
        "s = Sigmoid (c) y = Mul (c, s)"
    )
    return _model("N, 32, 14, 14", "N, 16, 28, 28", body, weights)


def gemm_residual_relu() -> onnx.ModelProto:
    """Return relu(x W + b + x), its linear layer a MatMul and an Add."""
    weights = {"w": _normal(64, 64), "b": _normal(64)}
    body = "m = MatMul (x, w) l = Add (m, b) s = Add (l, x) y = Relu (s)"
    return _model("8, 64", "8, 64", body, weights)


def conv_relu_max_pool() -> onnx.ModelProto:
    """Return maxpool(relu(conv(x))): the stem of a ResNet."""
    weights = {"w": _normal(32, 3, 7, 7), "b": _normal(32)}
    body = (
        "c = Conv <strides = [2, 2], pads = [3, 3, 3, 3]> (x, w, b) r = Relu (c) "
        "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (r)"
    )
    return _model("N, 3, 56, 56", "N, 32, 14, 14", body, weights)


def conv_relu_average_pool() -> onnx.ModelProto:
    """Return the mean over all positions of relu(conv(x)): the end of most networks."""
    weights = {"w": _normal(64, 32, 1, 1), "b": _normal(64)}
    body = "c = Conv (x, w, b) r = Relu (c) y = GlobalAveragePool (r)"
    return _model("N, 32, 28, 28", "N, 64, 1, 1", body, weights)


def squeeze_excite_convolutions() -> onnx.ModelProto:
    """Return a depthwise convolution and squeeze-and-excite as MobileNetV3 has it."""
    weights = {
        "w0": _normal(64, 1, 3, 3),
        "b0": _normal(64),
        "w1": _normal(16, 64, 1, 1),
        "b1": _normal(16),
        "w2": _normal(64, 16, 1, 1),
        "b2": _normal(64),
    }
    body = (
        "d = Conv <group = 64, pads = [1, 1, 1, 1]> (x, w0, b0) "
        "p = GlobalAveragePool (d) a = Conv (p, w1, b1) r = Relu (a) e = Conv (r, w2, b2) "
        "g = HardSigmoid (e) y = Mul (g, d)"
    )
    return _model("N, 64, 28, 28", "N, 64, 28, 28", body, weights)


def squeeze_excite_linear() -> onnx.ModelProto:
    """Return a depthwise convolution and squeeze-and-excite of linear layers, from a mean."""
    weights = {
        "w0": _normal(64, 1, 3, 3),
        "b0": _normal(64),
        "w1": _normal(16, 64),
        "w2": _normal(64, 16),
        "b2": _normal(64),
        "column": np.array([-1, 64, 1, 1]),
    }
    body = (
        "d = Conv <group = 64, pads = [1, 1, 1, 1]> (x, w0, b0) "
        "p = ReduceMean <axes = [2, 3]> (d) f = Flatten (p) a = Gemm <transB = 1> (f, w1) "
        "r = Relu (a) e = Gemm <transB = 1> (r, w2, b2) s = Sigmoid (e) "
        "g = Reshape (s, column) y = Mul (d, g)"
    )
    return _model("N, 64, 28, 28", "N, 64, 28, 28", body, weights)


def _is_one_operator(model: onnx.ModelProto) -> bool:
    return sum(count(model).values()) == 1


def _are_two_operators(model: onnx.ModelProto) -> bool:
    return sum(count(model).values()) == 2


PATTERNS: tuple[Pattern, ...] = tuple(
    Pattern(name, build, folded, portable=False)
    for name, build, folded in (
        ("Conv + bias + residual Add + Relu", conv_bias_residual_relu, _is_one_operator),
        ("Conv + residual Add", conv_residual, _is_one_operator),
        ("ConvTranspose + SiLU", conv_transpose_silu, _is_one_operator),
        ("Gemm + residual Add + Relu", gemm_residual_relu, _is_one_operator),
        ("Conv + Relu + MaxPool", conv_relu_max_pool, _is_one_operator),
        ("Conv + Relu + GlobalAveragePool", conv_relu_average_pool, _is_one_operator),
        ("squeeze-and-excite, convolutions", squeeze_excite_convolutions, _are_two_operators),
        ("squeeze-and-excite, linear layers", squeeze_excite_linear, _are_two_operators),
    )
)
