"""Patterns of clean-up: what a graph does not need, between two convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from . import Pattern, count

Array = np.ndarray[Any, Any]
_CHANNELS = 32
_LAST = 2**63 - 1


def _model(
    body: str,
    weights: Mapping[str, Array] | None = None,
    *,
    batch: str = "N",
    domains: str = "",
    functions: str = "",
) -> onnx.ModelProto:
    """Return x[batch, 32, 28, 28] -> Conv -> a -> `body` -> b -> Conv -> y at opset 18."""
    generator = np.random.default_rng(7)
    shape = f"{batch}, {_CHANNELS}, 28, 28"
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 18{domains}]>
        g (float[{shape}] x) => (float[{batch}, {_CHANNELS}, H, W] y) {{
            a = Conv <pads = [1, 1, 1, 1]> (x, first)
            {body}
            y = Conv <pads = [1, 1, 1, 1]> (b, second)
        }}
        {functions}"""
    )
    fan = _CHANNELS * 9
    for name in ("first", "second"):
        values = generator.standard_normal((_CHANNELS, _CHANNELS, 3, 3)) * fan**-0.5
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    for name, array in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def _gone(*ops: str) -> Callable[[onnx.ModelProto], bool]:
    return lambda model: not any(count(model)[op] for op in ops)


def _at_most(**most: int) -> Callable[[onnx.ModelProto], bool]:
    return lambda model: all(count(model)[op] <= number for op, number in most.items())


def _duplicates() -> onnx.ModelProto:
    table = np.random.default_rng(3).standard_normal((1, _CHANNELS, 28, 28)).astype(np.float32)
    return _model(
        "c = Add(a, table) d = Sigmoid(c) e = Add(d, again) f = Sin(e) b = Add(f, third)",
        {"table": table, "again": table.copy(), "third": table.copy()},
    )


def _no_duplicates(model: onnx.ModelProto) -> bool:
    contents = [(t.data_type, tuple(t.dims), numpy_helper.to_array(t).tobytes())
                for t in model.graph.initializer]  # fmt: skip
    contents += [(a.t.data_type, tuple(a.t.dims), numpy_helper.to_array(a.t).tobytes())
                 for n in model.graph.node for a in n.attribute
                 if n.op_type == "Constant" and a.name == "value"]  # fmt: skip
    large = [content for content in contents if len(content[2]) >= 1024]
    return len(set(large)) == len(large)


def _quantize_row() -> onnx.ModelProto:
    return _model(
        "q = QuantizeLinear(a, s, z) d = DequantizeLinear(q, s, z) "
        "q2 = QuantizeLinear(d, s, z) b = DequantizeLinear(q2, s, z)",
        {"s": np.float32(0.05), "z": np.uint8(120)},
    )


def _slice() -> onnx.ModelProto:
    ends = np.full(4, _LAST)
    return _model(
        "c = Slice(a, starts, ends, axes) b = Slice(c, back, far, spatial)",
        {"starts": np.zeros(4, np.int64), "ends": ends, "axes": np.arange(4),
         "back": np.array([-28, -28]), "far": ends[:2], "spatial": np.array([2, 3])},
    )  # fmt: skip


def _resize() -> onnx.ModelProto:
    return _model(
        'c = Resize <mode = "linear"> (a, , ones) '
        'b = Resize <mode = "nearest", axes = [2, 3]> (c, , , own)',
        {"ones": np.ones(4, np.float32), "own": np.array([28, 28])},
    )


def _expand() -> onnx.ModelProto:
    ones = np.ones(4, np.int64)
    return _model(
        "c = Expand(a, ones) d = Tile(c, ones) b = Pad(d, none)",
        {"ones": ones, "none": np.zeros(8, np.int64)},
    )


def _in_range() -> onnx.ModelProto:
    return _model(
        "c = Sigmoid(a) d = Clip(c, zero, one) e = Abs(d) "
        "f = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (e) b = Relu(f)",
        {"zero": np.float32(0), "one": np.float32(1)},
    )


_BRANCHES = """<then_branch = p () => (float[N, 32, 28, 28] u) { k = Relu(a) u = Sin(k) },
    else_branch = q () => (float[N, 32, 28, 28] v) { k = Abs(a) v = Cos(k) }>"""


def _constant_branch() -> onnx.ModelProto:
    return _model(f"b = If (yes) {_BRANCHES}", {"yes": np.array(True)})


def _shape_branch() -> onnx.ModelProto:
    return _model(
        f"s = Shape(a) n = Gather(s, one) t = Greater(n, few) b = If (t) {_BRANCHES}",
        {"one": np.array(1), "few": np.array(16)},
    )


def _loop() -> onnx.ModelProto:
    return _model(
        """b = Loop (trips, , a) <body = l (int64 i, bool go, float[N, 32, 28, 28] s)
            => (bool on, float[N, 32, 28, 28] r) {
                on = Identity(go) c = Conv <pads = [1, 1, 1, 1]> (s, first) r = Relu(c) }>""",
        {"trips": np.array(3)},
    )


def _pool_indices() -> onnx.ModelProto:
    return _model(
        "c, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a) b = Clip(c, low, six)",
        {"low": np.float32(np.finfo(np.float32).min), "six": np.float32(6)},
    )


def _no_unused(model: onnx.ModelProto) -> bool:
    pools = [node for node in model.graph.node if node.op_type == "MaxPool"]
    return all(not any(node.output[1:]) for node in pools)


def _functions() -> onnx.ModelProto:
    return _model(
        "b = Relu(a)",
        domains=', "left.over" : 1, "unused" : 2',
        functions="""<domain: "left.over", opset_import: ["" : 18]>
        Swish (v) => (w) { k = Sigmoid(v) w = Mul(v, k) }""",
    )


def _no_functions(model: onnx.ModelProto) -> bool:
    return not model.functions and all(e.domain in ("", "ai.onnx") for e in model.opset_import)


PATTERNS: tuple[Pattern, ...] = (
    Pattern("duplicate constants", _duplicates, _no_duplicates),
    Pattern(
        "Cast pair that cancels",
        lambda: _model("c = Cast <to = 11> (a) b = Cast <to = 1> (c)"),
        _gone("Cast"),
    ),
    Pattern(
        "widening Cast chain",
        lambda: _model(
            "c = Greater(a, zero) d = Cast <to = 3> (c) e = Cast <to = 6> (d) "
            "b = Cast <to = 1> (e)",
            {"zero": np.float32(0)},
        ),
        _at_most(Cast=1),
    ),
    Pattern("Q/DQ row", _quantize_row, _at_most(QuantizeLinear=1, DequantizeLinear=1)),
    Pattern("no-op Slice", _slice, _gone("Slice")),
    Pattern("no-op Resize", _resize, _gone("Resize")),
    Pattern("no-op Expand, Tile and Pad", _expand, _gone("Expand", "Tile", "Pad")),
    Pattern(
        "pooling of one element",
        lambda: _model(
            "c = AveragePool <kernel_shape = [1, 1]> (a) b = MaxPool <kernel_shape = [1, 1]> (c)"
        ),
        _gone("AveragePool", "MaxPool"),
    ),
    Pattern("activation of what is in range", _in_range, _gone("Clip", "Abs", "Relu")),
    Pattern("If with a constant condition", _constant_branch, _gone("If")),
    Pattern("If decided by a static size", _shape_branch, _gone("If", "Shape")),
    Pattern("Loop of three iterations", _loop, _gone("Loop")),
    Pattern("unread indices of a MaxPool", _pool_indices, _no_unused),
    Pattern("unused functions and imports", _functions, _no_functions),
)
