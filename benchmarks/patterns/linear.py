"""Parallel, sibling and consecutive linear operators."""

from __future__ import annotations

import numpy as np
import onnx

from . import Pattern, count

_HEADER = '<ir_version: 9, opset_import: ["" : 17]>'
_WIDTH = 32
Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class _Weights:
    """Weights by name, drawn as they are asked for."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng(0)
        self.initializers: list[onnx.TensorProto] = []

    def kernel(self, name: str, *shape: int) -> str:
        fan = np.prod(shape[1:]) if len(shape) > 2 else shape[0]
        return self._add(name, self._generator.standard_normal(shape) * fan**-0.5)

    def vector(self, name: str, size: int = _WIDTH) -> str:
        return self._add(name, self._generator.standard_normal(size) * 0.1)

    def batchnorm(self, name: str) -> str:
        """Add statistics that are not 0 and 1; return the four names in order."""
        draw = self._generator
        return ", ".join(
            self._add(f"{name}_{part}", values)
            for part, values in (
                ("scale", draw.uniform(0.5, 1.5, _WIDTH)),
                ("shift", draw.standard_normal(_WIDTH)),
                ("mean", draw.standard_normal(_WIDTH)),
                ("var", draw.uniform(0.3, 3, _WIDTH)),
            )
        )

    def _add(self, name: str, values: Array) -> str:
        self.initializers.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
        return name


def _model(text: str, weights: _Weights, kind: str, outputs: str = "y") -> onnx.ModelProto:
    shown = ", ".join(f"float[] {name}" for name in outputs.split())
    model = onnx.parser.parse_model(f"{_HEADER}\ng (float{kind} x) => ({shown}) {{ {text} }}")
    model.graph.initializer.extend(weights.initializers)
    return model


_IMAGE = f"[1, {_WIDTH}, 28, 28]"
_ANY_BATCH = f"[N, {_WIDTH}, 28, 28]"
_P1 = "kernel_shape = [3, 3], pads = [1, 1, 1, 1]"


def repvgg(kind: str = _IMAGE) -> onnx.ModelProto:
    """RepVGG's training block: 3x3, 1x1 and identity, each with BatchNormalization; twice."""
    w, text, x = _Weights(), "r0 = Relu(x)", "r0"
    for i in (1, 2):
        text += f"""
            a{i} = Conv <{_P1}> ({x}, {w.kernel(f"wa{i}", _WIDTH, _WIDTH, 3, 3)})
            an{i} = BatchNormalization (a{i}, {w.batchnorm(f"na{i}")})
            b{i} = Conv ({x}, {w.kernel(f"wb{i}", _WIDTH, _WIDTH, 1, 1)})
            bn{i} = BatchNormalization (b{i}, {w.batchnorm(f"nb{i}")})
            cn{i} = BatchNormalization ({x}, {w.batchnorm(f"nc{i}")})
            s{i} = Add(an{i}, bn{i}) t{i} = Add(s{i}, cn{i}) r{i} = Relu(t{i})"""
        x = f"r{i}"
    return _model(f"{text} y = Identity(r2)", w, kind)


def repvgg_dynamic() -> onnx.ModelProto:
    """The same for any batch."""
    return repvgg(_ANY_BATCH)


def mobileone() -> onnx.ModelProto:
    """MobileOne's depthwise block: 3x3, 1x1 and identity, each with BatchNormalization."""
    w = _Weights()
    text = f"""
        a = Conv <{_P1}, group = {_WIDTH}> (x, {w.kernel("wa", _WIDTH, 1, 3, 3)})
        b = Conv <group = {_WIDTH}> (x, {w.kernel("wb", _WIDTH, 1, 1, 1)})
        an = BatchNormalization (a, {w.batchnorm("na")})
        bn = BatchNormalization (b, {w.batchnorm("nb")})
        cn = BatchNormalization (x, {w.batchnorm("nc")})
        y = Sum(an, bn, cn)"""
    return _model(text, w, _IMAGE)


def asymmetric() -> onnx.ModelProto:
    """ACNet's block: 3x3 with 1x3 and 3x1 beside it."""
    w = _Weights()
    text = f"""
        a = Conv <{_P1}> (x, {w.kernel("wa", _WIDTH, _WIDTH, 3, 3)}, {w.vector("ba")})
        b = Conv <pads = [0, 1, 0, 1]> (x, {w.kernel("wb", _WIDTH, _WIDTH, 1, 3)}, {w.vector("bb")})
        c = Conv <pads = [1, 0, 1, 0]> (x, {w.kernel("wc", _WIDTH, _WIDTH, 3, 1)}, {w.vector("bc")})
        s = Add(b, c) t = Add(a, s) y = Relu(t)"""
    return _model(text, w, _IMAGE)


def residual() -> onnx.ModelProto:
    """One convolution with its own input added."""
    w = _Weights()
    text = f"""
        a = Conv <{_P1}> (x, {w.kernel("wa", _WIDTH, _WIDTH, 3, 3)}, {w.vector("ba")})
        s = Add(x, a) y = Relu(s)"""
    return _model(text, w, _ANY_BATCH)


def products() -> onnx.ModelProto:
    """The sum of two linear layers on one input."""
    w = _Weights()
    text = f"""
        a = MatMul(x, {w.kernel("wa", 64, 48)}) c = Add(a, {w.vector("ba", 48)})
        b = MatMul(x, {w.kernel("wb", 64, 48)}) s = Add(c, b) y = Relu(s)"""
    return _model(text, w, "[N, 64]")


def siblings() -> onnx.ModelProto:
    """Two 1x1 convolutions of one tensor whose results are joined at once."""
    w = _Weights()
    text = f"""
        a = Conv (x, {w.kernel("wa", 24, _WIDTH, 1, 1)}, {w.vector("ba", 24)}) ar = Relu(a)
        b = Conv (x, {w.kernel("wb", 16, _WIDTH, 1, 1)}, {w.vector("bb", 16)}) br = Relu(b)
        m = MaxPool <{_P1}> (x)
        y = Concat <axis = 1> (ar, br, m)"""
    return _model(text, w, _ANY_BATCH)


def heads() -> onnx.ModelProto:
    """A detector's box and score heads: 3x3 convolutions of four outputs and one."""
    w = _Weights()
    text = f"""
        box = Conv <{_P1}> (x, {w.kernel("wa", 4, _WIDTH, 3, 3)}, {w.vector("ba", 4)})
        b = Conv <{_P1}> (x, {w.kernel("wb", 1, _WIDTH, 3, 3)}, {w.vector("bb", 1)})
        score = Sigmoid(b)"""
    return _model(text, w, _IMAGE, "box score")


def pointwise_chain() -> onnx.ModelProto:
    """Two 1x1 convolutions in a row, wide in between."""
    w = _Weights()
    text = f"""
        h = Conv (x, {w.kernel("wa", 64, _WIDTH, 1, 1)}, {w.vector("ba", 64)})
        y = Conv (h, {w.kernel("wb", 24, 64, 1, 1)}, {w.vector("bb", 24)})"""
    return _model(text, w, _ANY_BATCH)


def wide_then_pointwise() -> onnx.ModelProto:
    """A 3x3 convolution and a 1x1 that narrows its result."""
    w = _Weights()
    text = f"""
        h = Conv <{_P1}> (x, {w.kernel("wa", 64, _WIDTH, 3, 3)}, {w.vector("ba", 64)})
        y = Conv (h, {w.kernel("wb", 24, 64, 1, 1)}, {w.vector("bb", 24)})"""
    return _model(text, w, _ANY_BATCH)


def product_chain() -> onnx.ModelProto:
    """Two linear layers in a row without an activation between them."""
    w = _Weights()
    text = f"""
        h = Gemm (x, {w.kernel("wa", 64, 128)}, {w.vector("ba", 128)})
        y = Gemm <transB = 1> (h, {w.kernel("wb", 48, 128)}, {w.vector("bb", 48)})"""
    return _model(text, w, "[N, 64]")


def _counts(model: onnx.ModelProto, allowed: dict[str, int]) -> bool:
    """Say whether no operator is there more often than `allowed`, by the start of its name.

    Whatever an optimizer calls its fused operators, it names them after the first they hold.
    """
    found = count(model)
    linear = ("Conv", "Gemm", "MatMul", "FusedConv", "FusedGemm", "FusedMatMul")
    layers = sum(n for op, n in found.items() if op.rpartition(".")[2].startswith(linear))
    rest = ("Add", "Sum", "BatchNormalization", "Mul", "Concat")
    return layers <= allowed["layers"] and all(found[op] <= allowed.get(op, 0) for op in rest)


def _one_layer(model: onnx.ModelProto) -> bool:
    return _counts(model, {"layers": 1})


PATTERNS: tuple[Pattern, ...] = (
    Pattern("RepVGG branches", repvgg, lambda model: _counts(model, {"layers": 2})),
    Pattern("RepVGG branches, any batch", repvgg_dynamic, lambda m: _counts(m, {"layers": 2})),
    Pattern("MobileOne branches, depthwise", mobileone, _one_layer),
    Pattern("3x3 + 1x3 + 3x1", asymmetric, _one_layer),
    Pattern("convolution + its input", residual, _one_layer),
    Pattern("x A + x B", products, lambda model: _counts(model, {"layers": 1, "Add": 1})),
    Pattern("sibling 1x1 into Concat", siblings, lambda m: _counts(m, {"layers": 1, "Concat": 1})),
    Pattern("sibling heads", heads, _one_layer),
    Pattern("1x1 -> 1x1", pointwise_chain, _one_layer),
    Pattern("3x3 -> 1x1", wide_then_pointwise, _one_layer),
    Pattern("Gemm -> Gemm", product_chain, _one_layer),
)
