"""Operators spelled out by exporters and by hand, each after or before what networks put there.

A pattern counts as folded where the arithmetic is gone; what stands for it may be any operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from . import Pattern, count

_IMAGE = "N, 32, 28, 28"
_NUMBERS = {
    "zero": 0.0, "half": 0.5, "one": 1.0, "two": 2.0, "three": 3.0, "six": 6.0, "eps": 1e-5,
    "root": 2**0.5, "cubic": 0.044715, "k": (2 / np.pi) ** 0.5,
}  # fmt: skip


def _model(
    body: str,
    weights: Mapping[str, np.ndarray[Any, Any]] | None = None,
    *,
    shape: str = _IMAGE,
    result: str | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    header = f'<ir_version: 9, opset_import: ["" : {opset}]>'
    text = f"{header} g (float[{shape}] x) => (float[{result or shape}] y) {{ {body} }}"
    model = onnx.parser.parse_model(text)
    read = {name for node in model.graph.node for name in node.input}
    numbers = {name: np.float32(v) for name, v in _NUMBERS.items() if name in read}
    for name, values in {**numbers, **(weights or {})}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    return model


def _normal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def _without(*ops: str, most: int) -> Any:
    """Return a check that none of `ops` is left, and at most `most` operators are."""

    def folded(model: onnx.ModelProto) -> bool:
        left = count(model)
        return not any(left[op] for op in ops) and left.total() <= most

    return folded


def hard_swish() -> onnx.ModelProto:
    """Return x * relu6(x + 3) / 6, as MobileNetV3 is written by hand."""
    return _model("a = Add (x, three) c = Clip (a, zero, six) m = Mul (x, c) y = Div (m, six)")


def hard_sigmoid() -> onnx.ModelProto:
    """Return relu6(x + 3) / 6, with Relu and Min as Keras spells it."""
    return _model("a = Add (x, three) r = Relu (a) c = Min (r, six) y = Div (c, six)")


def silu() -> onnx.ModelProto:
    """Return x / (1 + exp(-x))."""
    return _model("n = Neg (x) e = Exp (n) d = Add (e, one) y = Div (x, d)")


def mish() -> onnx.ModelProto:
    """Return x * tanh(log(1 + exp(x)))."""
    return _model("e = Exp (x) a = Add (e, one) s = Log (a) t = Tanh (s) y = Mul (x, t)")


def gelu() -> onnx.ModelProto:
    """Return GELU as PyTorch's dynamo exporter spells it below opset 20."""
    return _model(
        "a = Div (x, root) e = Erf (a) b = Add (e, one) h = Mul (half, b) y = Mul (x, h)", opset=20
    )


def gelu_tanh() -> onnx.ModelProto:
    """Return the tanh form of GELU, with Pow as TensorFlow spells it."""
    return _model(
        "p = Pow (x, three) q = Mul (p, cubic) r = Add (x, q) s = Mul (r, k) t = Tanh (s) "
        "u = Add (t, one) h = Mul (x, half) y = Mul (h, u)",
        opset=20,
    )


def clip() -> onnx.ModelProto:
    """Return min(max(x, 0), 6)."""
    return _model("a = Max (x, zero) y = Min (a, six)")


_NORMALIZED = (
    "d = Sub (x, m) q = Pow (d, two) v = ReduceMean <axes = [{axes}]> (q) "
    "w = Add (v, eps) r = Sqrt (w) n = Div (d, r) "
)


def layer_norm() -> onnx.ModelProto:
    """Return the LayerNorm of tokens, as TorchScript exports it."""
    body = "m = ReduceMean <axes = [-1]> (x) " + _NORMALIZED.format(axes=-1)
    weights = {"g": _normal(64), "b": _normal(64)}
    return _model(f"{body} s = Mul (n, g) y = Add (s, b)", weights, shape="N, 49, 64")


def instance_norm() -> onnx.ModelProto:
    """Return the InstanceNorm of an image, written by hand."""
    body = "m = ReduceMean <axes = [2, 3]> (x) " + _NORMALIZED.format(axes="2, 3")
    weights = {"g": _normal(32, 1, 1), "b": _normal(32, 1, 1)}
    return _model(f"{body} s = Mul (n, g) y = Add (s, b)", weights)


def group_norm() -> onnx.ModelProto:
    """Return the GroupNorm of an image in eight groups, written by hand."""
    body = (
        "x = Reshape (z, grouped) m = ReduceMean <axes = [2]> (x) "
        + _NORMALIZED.format(axes=2)
        + "t = Reshape (n, back) s = Mul (t, g) y = Add (s, b)"
    )
    weights = {
        "grouped": np.array([0, 8, -1]),
        "back": np.array([0, 32, 28, 28]),
        "g": _normal(32, 1, 1),
        "b": _normal(32, 1, 1),
    }
    model = _model(body, weights)
    model.graph.input[0].name = "z"
    return model


def global_average_pool() -> onnx.ModelProto:
    """Return the mean over height, then width, of what a convolution gives."""
    weights = {"w": _normal(32, 32, 3, 3) / 17}
    body = (
        "c = Conv <pads = [1, 1, 1, 1]> (x, w) a = ReduceMean <axes = [3], keepdims = 0> (c) "
        "y = ReduceMean <axes = [2], keepdims = 0> (a)"
    )
    return _model(body, weights, result="N, 32")


def pixel_shuffle() -> onnx.ModelProto:
    """Return PixelShuffle(2) as three operators."""
    weights = {"split": np.array([-1, 8, 2, 2, 28, 28]), "join": np.array([-1, 8, 56, 56])}
    body = "a = Reshape (x, split) b = Transpose <perm = [0, 1, 4, 2, 5, 3]> (a) "
    return _model(f"{body} y = Reshape (b, join)", weights, result="N, 8, 56, 56")


PATTERNS: tuple[Pattern, ...] = (
    Pattern("HardSwish by hand", hard_swish, _without("Clip", "Add", "Div", most=2)),
    Pattern("HardSigmoid of Keras", hard_sigmoid, _without("Add", "Min", most=1)),
    Pattern("SiLU as a quotient", silu, _without("Exp", "Div", most=2)),
    Pattern("Mish by hand", mish, _without("Log", "Tanh", most=9)),
    Pattern("GELU, erf", gelu, _without("Erf", most=1)),
    Pattern("GELU, tanh", gelu_tanh, _without("Pow", most=1)),
    Pattern("Clip from Max and Min", clip, _without("Max", "Min", most=1)),
    Pattern("LayerNorm, decomposed", layer_norm, _without("ReduceMean", most=1)),
    Pattern("InstanceNorm, decomposed", instance_norm, _without("ReduceMean", most=1)),
    Pattern("GroupNorm, decomposed", group_norm, _without("ReduceMean", most=5)),
    Pattern("mean to GlobalAveragePool", global_average_pool, _without("ReduceMean", most=3)),
    Pattern("PixelShuffle, three operators", pixel_shuffle, _without("Transpose", most=1)),
)
