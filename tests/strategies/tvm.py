"""Random graphs for a backend that compiles: single operators and small graphs of them.

Ranks 0 to 5, sizes 1 and odd, every kind of window and pad, integers and booleans, Q/DQ pairs,
shared tensors, inputs and constants as outputs, a batch that is known or not. A node is drawn, run
by ONNX Runtime on what its inputs hold, and dropped where that refuses it: what is left is what
ONNX Runtime computes, and its values are at hand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from .network import Array, Case, Draw

SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
OPSETS = (11, 13, 17, 18, 20, 21)
_MOST_ELEMENTS = 1 << 16
_BYTES = (np.int8, np.uint8)


@dataclass
class Draft:
    """A graph under construction. `values`: what every tensor holds, by name.

    `exact` are the tensors that any order of additions gives the same: only these go through what
    is not continuous.
    """

    rng: random.Random
    numbers: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, Array] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)
    exact: set[str] = field(default_factory=set)

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.randrange(len(choices))]

    def flip(self, chance: float = 0.5) -> bool:
        return self.rng.random() < chance

    def between(self, low: int, high: int) -> int:
        return self.rng.randint(low, high)

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        return (self.numbers.standard_normal(shape) * scale).astype(np.float32)

    def constant(self, values: Any, dtype: Any = None) -> str:
        array = np.asarray(values, dtype)
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        self.values[name] = array
        self.exact.add(name)
        return name

    def tensor(
        self, keep: Callable[[Array], bool] = lambda values: True, exact: bool = False
    ) -> Any:
        """Return the name of a tensor that is no constant, mostly a late one; None without any."""
        names = [
            name
            for name, values in self.values.items()
            if name not in self.constants and keep(values) and (not exact or name in self.exact)
        ]
        if not names:
            return None
        return names[-1] if self.flip(0.6) else self.rng.choice(names)

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: int = 1,
        exact: bool = False,
        domain: str = "",
        **attrs: Any,
    ) -> list[str] | None:
        """Add a node; None where ONNX Runtime refuses it or its result is large."""
        names = [f"t{len(self.nodes)}_{index}" for index in range(outputs)]
        attrs = {key: value for key, value in attrs.items() if value not in (None, [])}
        node = helper.make_node(op, list(inputs), names, name=f"n{len(self.nodes)}", **attrs)
        if domain:
            node.domain = domain
        found = self._run(node)
        if found is None or any(values.size > _MOST_ELEMENTS for values in found):
            return None
        self.nodes.append(node)
        self.values.update(zip(names, found, strict=True))
        if exact and all(name in self.exact for name in inputs if name):
            self.exact.update(names)
        return names

    def _run(self, node: onnx.NodeProto) -> list[Array] | None:
        given = [name for name in dict.fromkeys(node.input) if name]
        infos = [info_of(name, self.values[name]) for name in given if name not in self.constants]
        held = [numpy_helper.from_array(self.constants[n], n) for n in given if n in self.constants]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([node], "node", infos, outputs, held)
        model = model_of(graph, self.opset)
        feeds = {name: self.values[name] for name in given if name not in self.constants}
        try:
            return reference(model, feeds)
        except Exception:
            return None


def model_of(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def reference(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    """Return what ONNX Runtime computes with its optimizations off."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(values) for values in session.run(None, feeds)]


def info_of(name: str, values: Array, batch: bool = False) -> onnx.ValueInfoProto:
    shape: list[Any] = list(values.shape)
    if batch and shape:
        shape[0] = "N"
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    return helper.make_tensor_value_info(name, kind, shape)


def is_float(values: Array) -> bool:
    return values.dtype == np.float32


def _spatial(values: Array) -> bool:
    return is_float(values) and 3 <= values.ndim <= 5 and values.size > 0


# Steps: each adds one or a few nodes, or none where it finds nothing to add them to.


def _pads(d: Draft, rank: int, most: int = 2) -> dict[str, Any]:
    kind = d.rng.random()
    if kind < 0.2:
        return {"auto_pad": d.pick("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")}
    if kind < 0.4:
        return {}
    return {"pads": [d.between(0, most) for _ in range(2 * rank)]}


def convolution(d: Draft) -> None:
    x = d.tensor(_spatial)
    if x is None:
        return
    shape = d.values[x].shape
    rank, channels = len(shape) - 2, shape[1]
    group = d.pick(1, 1, channels, *[g for g in (2, 4) if channels % g == 0])
    outs = group * d.pick(1, 1, 2, 3, 8) if group > 1 else d.pick(1, 3, 8, 16, 17)
    kernel = [d.pick(1, 2, 3, 3, 5) for _ in range(rank)]
    attrs: dict[str, Any] = _pads(d, rank)
    if d.flip(0.5):
        attrs["strides"] = [d.between(1, 3) for _ in range(rank)]
    if d.flip(0.3):
        attrs["dilations"] = [d.between(1, 3) for _ in range(rank)]
    w = d.constant(d.normal(outs, channels // group, *kernel, scale=0.5))
    inputs = [x, w]
    if d.flip():
        inputs.append(d.constant(d.normal(outs)))
    made = d.add("Conv", inputs, kernel_shape=kernel, group=group, **attrs)
    if made and d.flip(0.3):
        _activation(d, made[0])


def transposed(d: Draft) -> None:
    x = d.tensor(lambda v: _spatial(v) and v.ndim < 5)
    if x is None:
        return
    shape = d.values[x].shape
    rank, channels = len(shape) - 2, shape[1]
    group = d.pick(1, *[g for g in (2, channels) if channels % g == 0])
    kernel = [d.pick(1, 2, 3, 4) for _ in range(rank)]
    strides = [d.between(1, 3) for _ in range(rank)]
    attrs: dict[str, Any] = _pads(d, rank, 1)
    if d.flip(0.3):
        attrs["output_padding"] = [d.between(0, s - 1) for s in strides]
    if d.flip(0.2):
        attrs["dilations"] = [d.between(1, 2) for _ in range(rank)]
    w = d.constant(d.normal(channels, d.pick(1, 3, 8), *kernel))
    d.add("ConvTranspose", [x, w], strides=strides, kernel_shape=kernel, group=group, **attrs)


def pooling(d: Draft) -> None:
    x = d.tensor(_spatial)
    if x is None:
        return
    rank = d.values[x].ndim - 2
    op = d.pick("MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool")
    attrs: dict[str, Any] = _pads(d, rank)
    attrs["kernel_shape"] = [d.between(1, 4) for _ in range(rank)]
    if d.flip(0.7):
        attrs["strides"] = [d.between(1, 4) for _ in range(rank)]
    if d.flip(0.4) and (op != "LpPool" or d.opset >= 18):
        attrs["ceil_mode"] = 1
    if op == "MaxPool" and d.flip(0.3):
        attrs["dilations"] = [d.between(1, 2) for _ in range(rank)]
    if op == "AveragePool" and d.flip(0.4):
        attrs["count_include_pad"] = 1
    if op == "MaxPool" and d.flip(0.2):
        d.add(op, [x], outputs=2, exact=True, **attrs)
    else:
        d.add(op, [x], exact=op == "MaxPool", **attrs)


def global_pooling(d: Draft) -> None:
    x = d.tensor(_spatial)
    if x is not None:
        d.add(d.pick("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), [x])


def resize(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and 2 <= v.ndim <= 5 and v.size > 0)
    if x is None:
        return
    shape = d.values[x].shape
    attrs: dict[str, Any] = {
        "mode": d.pick("nearest", "nearest", "linear", "linear", "cubic"),
        "coordinate_transformation_mode": d.pick(
            "half_pixel", "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
            *(["half_pixel_symmetric"] if d.opset >= 19 else []),
        ),
    }  # fmt: skip
    if attrs["mode"] == "nearest":
        attrs["nearest_mode"] = d.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    if attrs["mode"] == "cubic" and d.flip(0.5):
        attrs["cubic_coeff_a"] = -0.5
    if attrs["mode"] != "nearest" and d.flip(0.3) and attrs["mode"] == "cubic":
        attrs["exclude_outside"] = 1
    if d.opset >= 18 and attrs["mode"] != "nearest" and d.flip(0.3):
        attrs["antialias"] = 1
    first = min(2, len(shape) - 1)
    factors = [d.pick(0.5, 0.7, 1.0, 1.5, 2.0, 2.0, 3.0, 2.6) for _ in shape[first:]]
    roi = d.constant(np.zeros(0, np.float32)) if d.opset < 13 else ""
    if d.flip(0.6):
        scales = d.constant([1.0] * first + factors, np.float32)
        d.add("Resize", [x, roi, scales], **attrs)
        return
    sizes = [max(1, int(s * f)) for s, f in zip(shape[first:], factors, strict=True)]
    if d.opset >= 18 and d.flip(0.3):
        attrs["keep_aspect_ratio_policy"] = d.pick("stretch", "not_larger", "not_smaller")
        attrs["axes"] = list(range(first, len(shape)))
        wanted = d.constant(sizes, np.int64)
    else:
        wanted = d.constant([*shape[:first], *sizes], np.int64)
    d.add("Resize", [x, roi, roi and d.constant(np.zeros(0, np.float32)), wanted], **attrs)


_SMOOTH = (
    "Abs", "Neg", "Exp", "Sigmoid", "Tanh", "Relu", "LeakyRelu", "Elu", "Selu", "Softplus",
    "Softsign", "HardSigmoid", "HardSwish", "Erf", "Sin", "Cos", "Atan", "Identity", "Celu",
    "Mish", "Gelu", "ThresholdedRelu", "Shrink", "Sqrt", "Log", "Reciprocal", "Tan", "Asinh",
)  # fmt: skip
_STEPS_OF_NUMBERS = ("Floor", "Ceil", "Round", "Sign", "IsNaN", "IsInf")


def _activation(d: Draft, x: str) -> None:
    d.add(d.pick("Relu", "Sigmoid", "LeakyRelu", "HardSwish", "Tanh", "Elu"), [x])


def unary(d: Draft) -> None:
    if d.flip(0.25):
        x = d.tensor(is_float, exact=True)
        if x is not None:
            d.add(d.pick(*_STEPS_OF_NUMBERS), [x], exact=True)
        return
    x = d.tensor(is_float)
    if x is None:
        return
    op = d.pick(*_SMOOTH)
    if op in ("Sqrt", "Log", "Reciprocal", "Tan"):
        made = d.add("Abs", [x])
        half = d.constant(0.5, np.float32)
        made = made and d.add("Add", [made[0], half])
        if not made:
            return
        x = made[0]
        if op == "Tan":
            return
    if op == "Exp":
        made = d.add("Clip", [x, d.constant(-4.0, np.float32), d.constant(4.0, np.float32)])
        if not made:
            return
        x = made[0]
    d.add(op, [x], exact=op in ("Abs", "Neg", "Relu", "Identity"))


def clip(d: Draft) -> None:
    x = d.tensor(lambda v: v.dtype in (np.float32, np.int64, np.int8))
    if x is None:
        return
    dtype = d.values[x].dtype
    low = d.constant(d.pick(-1, 0), dtype) if d.flip(0.6) else ""
    high = [d.constant(d.pick(1, 2, -1), dtype)] if d.flip(0.6) else []
    d.add("Clip", [x, low, *high] if low or high else [x], exact=True)


def _partner(d: Draft, x: str) -> str:
    """Return a tensor that broadcasts with `x`: another one, or a constant."""
    values = d.values[x]
    if d.flip(0.4):
        other = d.tensor(lambda v: v.dtype == values.dtype and _broadcast(v.shape, values.shape))
        if other is not None:
            return str(other)
    shape = [size if d.flip() else 1 for size in values.shape]
    cut = d.between(0, len(shape))
    shape = shape[cut:] if d.flip(0.5) else shape
    if values.dtype == np.bool_:
        return d.constant(d.numbers.random(shape) < 0.5)
    if values.dtype.kind in "iu":
        return d.constant(d.numbers.integers(1, 5, shape), values.dtype)
    return d.constant(d.normal(*shape), values.dtype)


def _broadcast(a: Sequence[int], b: Sequence[int]) -> bool:
    try:
        np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        return False
    return True


def binary(d: Draft) -> None:
    x = d.tensor(lambda v: v.dtype in (np.float32, np.int64, np.int32, np.bool_))
    if x is None:
        return
    kind = d.values[x].dtype
    other = _partner(d, x)
    pair = [x, other] if d.flip(0.7) else [other, x]
    if kind == np.bool_:
        d.add(d.pick("And", "Or", "Xor", "Equal"), pair, exact=True)
    elif kind == np.float32:
        op = d.pick("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean", "Div", "Pow", "PRelu")
        if op == "Pow":
            made = d.add("Abs", [x])
            if made:
                d.add("Pow", [made[0], d.constant(d.pick(0.5, 1.0, 2.0, 3.0), np.float32)])
        elif op == "Div":
            made = d.add("Abs", [pair[1]])
            made = made and d.add("Add", [made[0], d.constant(0.5, np.float32)])
            if made:
                d.add("Div", [pair[0], made[0]])
        elif op == "PRelu":
            d.add("PRelu", [x, other])
        else:
            d.add(op, pair, exact=op in ("Max", "Min"))
    else:
        d.add(d.pick("Add", "Sub", "Mul", "Max", "Min", "Mod", "Div"), pair, exact=True)


def compare(d: Draft) -> None:
    x = d.tensor(lambda v: v.dtype in (np.float32, np.int64), exact=True)
    if x is None:
        return
    other = _partner(d, x)
    if other not in d.exact:
        return
    op = d.pick("Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal")
    made = d.add(op, [x, other], exact=True)
    if made and d.flip():
        d.add("Where", [made[0], x, _partner(d, x)], exact=True)
    elif made and d.flip():
        d.add("Not", made, exact=True)


def cast(d: Draft) -> None:
    x = d.tensor(exact=True)
    if x is not None:
        kind = d.pick(TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
        d.add("Cast", [x], to=kind, exact=True)


def transpose(d: Draft) -> None:
    x = d.tensor()
    if x is not None:
        order = list(range(d.values[x].ndim))
        d.rng.shuffle(order)
        d.add("Transpose", [x], perm=order if d.flip(0.8) else None, exact=True)


def reshape(d: Draft) -> None:
    x = d.tensor()
    if x is None:
        return
    shape = list(d.values[x].shape)
    kind = d.between(0, 4)
    if kind == 0 and shape:
        d.add("Flatten", [x], axis=d.between(-len(shape) + 1, len(shape)), exact=True)
        return
    if kind == 1 and len(shape) > 1:
        at = d.between(0, len(shape) - 2)
        wanted = [*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]]
    elif kind == 2:
        wanted = [-1]
    elif kind == 3 and shape:
        at = d.between(0, len(shape) - 1)
        wanted = [0 if i < at and shape[i] else size for i, size in enumerate(shape)]
        wanted.insert(at, 1)
    else:
        wanted = sorted(shape)
    if wanted and d.flip(0.3) and -1 not in wanted:
        wanted[d.between(0, len(wanted) - 1)] = -1
    d.add("Reshape", [x, d.constant(wanted, np.int64)], exact=True)


def squeeze(d: Draft) -> None:
    x = d.tensor()
    if x is None:
        return
    shape = d.values[x].shape
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    if ones and d.flip():
        op, axes = "Squeeze", [d.rng.choice(ones)]
    else:
        op, axes = "Unsqueeze", [d.between(-len(shape) - 1, len(shape))]
    if d.opset >= 13:
        d.add(op, [x, d.constant(axes, np.int64)], exact=True)
    else:
        d.add(op, [x], axes=axes, exact=True)


_FAR = (1 << 63) - 1


def slice_(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0)
    if x is None:
        return
    shape = d.values[x].shape
    axes = sorted(d.rng.sample(range(len(shape)), d.between(1, min(2, len(shape)))))
    steps = [d.pick(1, 1, 1, 2, 3, -1, -2) for _ in axes]
    starts, ends = [], []
    for axis, step in zip(axes, steps, strict=True):
        size = shape[axis]
        starts.append(d.pick(0, 1, -1, -2, size, d.between(-size - 1, size + 1), _FAR, -_FAR))
        ends.append(d.pick(size, -1, _FAR, d.between(-size - 1, size + 1), -_FAR - 1))
        if step > 0 and d.flip(0.6):
            starts[-1], ends[-1] = d.between(0, max(0, size - 1)), d.pick(_FAR, size, 1 << 31)
    signed = [axis - len(shape) if d.flip(0.3) else axis for axis in axes]
    given = [d.constant(v, np.int64) for v in (starts, ends, signed, steps)]
    d.add("Slice", [x, *given], exact=True)


def split(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0)
    if x is None:
        return
    shape = d.values[x].shape
    axis = d.between(0, len(shape) - 1)
    cut = d.between(0, shape[axis])
    sizes = [cut, shape[axis] - cut]
    if d.flip(0.2):
        sizes.insert(d.between(0, 2), 0)
    signed = axis - len(shape) if d.flip(0.3) else axis
    if d.opset >= 13:
        made = d.constant(sizes, np.int64)
        d.add("Split", [x, made], outputs=len(sizes), axis=signed, exact=True)
    else:
        d.add("Split", [x], outputs=len(sizes), axis=signed, split=sizes, exact=True)


def concat(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0)
    if x is None:
        return
    values = d.values[x]
    axis = d.pick(min(1, values.ndim - 1), d.between(0, values.ndim - 1))

    def fits(v: Array) -> bool:
        same = [
            a == b for i, (a, b) in enumerate(zip(v.shape, values.shape, strict=False)) if i != axis
        ]
        return v.dtype == values.dtype and v.ndim == values.ndim and all(same)

    parts = [x]
    for _ in range(d.between(1, 2)):
        if d.flip(0.2):
            shape = list(values.shape)
            shape[axis] = d.between(0, 2)
            made = d.numbers.integers(0, 2, shape)
            parts.append(d.constant(made, values.dtype))
        else:
            parts.append(d.tensor(fits) or x)
    d.rng.shuffle(parts)
    d.add("Concat", parts, axis=axis - values.ndim if d.flip(0.3) else axis, exact=True)


def gather(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0 and v.size > 0)
    if x is None:
        return
    shape = d.values[x].shape
    axis = d.between(0, len(shape) - 1)
    size = shape[axis]
    op = d.pick("Gather", "Gather", "GatherElements", "GatherND")
    if op == "Gather":
        wanted = [d.between(1, 3) for _ in range(d.between(0, 2))]
        indices = d.numbers.integers(-size, size, wanted)
    elif op == "GatherElements":
        indices = d.numbers.integers(-size, size, [d.between(1, s) for s in shape])
    else:
        depth = d.between(1, len(shape))
        rows = d.between(1, 3)
        indices = np.stack([d.numbers.integers(-s, s, rows) for s in shape[:depth]], axis=-1)
    name = _indices(d, indices)
    d.add(op, [x, name], axis=None if op == "GatherND" else axis, exact=True)


def _indices(d: Draft, values: Array) -> str:
    """Return indices as a constant, or as an input of the graph."""
    if d.flip(0.6):
        return d.constant(values, np.int64)
    name = f"i{len(d.inputs)}"
    d.inputs[name] = d.values[name] = values.astype(np.int64)
    d.exact.add(name)
    return name


def scatter(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim > 0 and v.size > 0)
    if x is None:
        return
    shape = d.values[x].shape
    if d.flip():
        rows = d.rng.sample(range(shape[0]), d.between(1, shape[0]))
        updates = d.constant(d.normal(len(rows), *shape[1:]))
        d.add("ScatterND", [x, _indices(d, np.array(rows)[:, None]), updates], exact=True)
        return
    axis = d.between(0, len(shape) - 1)
    order = d.numbers.permutation(shape[axis])
    wide = np.moveaxis(np.broadcast_to(order, (*np.delete(shape, axis), shape[axis])), -1, axis)
    updates = d.constant(d.normal(*shape))
    d.add("ScatterElements", [x, _indices(d, wide), updates], axis=axis, exact=True)


def tile(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0)
    if x is None:
        return
    shape = d.values[x].shape
    if d.flip():
        d.add("Tile", [x, d.constant([d.pick(1, 1, 2, 3) for _ in shape], np.int64)], exact=True)
    else:
        wanted = [d.pick(1, size) if size != 1 else d.pick(1, 3) for size in shape]
        wanted = [2] * d.between(0, 1) + wanted
        d.add("Expand", [x, d.constant(wanted, np.int64)], exact=True)


def pad(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 0 and v.dtype in (np.float32, np.int64))
    if x is None:
        return
    values = d.values[x]
    pads = [d.pick(0, 0, 1, 2, -1) for _ in range(2 * values.ndim)]
    mode = d.pick("constant", "constant", "reflect", "edge")
    inputs = [x, d.constant(pads, np.int64)]
    if mode == "constant" and d.flip():
        inputs.append(d.constant(2, values.dtype))
    d.add("Pad", inputs, mode=mode, exact=True)


def rearrange(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim == 4)
    if x is None:
        return
    if d.flip():
        d.add("DepthToSpace", [x], blocksize=d.pick(2, 3), mode=d.pick("DCR", "CRD"), exact=True)
    else:
        d.add("SpaceToDepth", [x], blocksize=2, exact=True)


def reduction(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.size > 0)
    if x is None:
        return
    rank = d.values[x].ndim
    op = d.pick("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp", "LogSum")
    if op == "LogSum":
        made = d.add("Abs", [x])
        if not made:
            return
        x = made[0]
    axes = d.rng.sample(range(rank), d.between(0, rank)) if rank else []
    axes = [axis - rank if d.flip(0.3) else axis for axis in axes]
    keep = d.pick(0, 1)
    as_input = d.opset >= 18 or (op == "Sum" and d.opset >= 13)
    exact = op in ("Max", "Min")
    if as_input:
        inputs = [x, d.constant(axes, np.int64)] if axes or d.flip() else [x]
        noop = d.pick(0, 0, 1)
        d.add(f"Reduce{op}", inputs, keepdims=keep, noop_with_empty_axes=noop, exact=exact)
    else:
        d.add(f"Reduce{op}", [x], keepdims=keep, axes=axes or None, exact=exact)


def arg(d: Draft) -> None:
    x = d.tensor(
        lambda v: v.dtype in (np.float32, np.int64) and v.ndim > 0 and v.size > 0, exact=True
    )
    if x is None:
        return
    rank = d.values[x].ndim
    axis = d.between(-rank, rank - 1)
    kind = d.pick("ArgMax", "ArgMin", "TopK", "CumSum")
    if kind == "TopK":
        k = d.between(1, d.values[x].shape[axis])
        largest = d.pick(0, 1)
        d.add(
            "TopK",
            [x, d.constant([k], np.int64)],
            outputs=2,
            axis=axis,
            largest=largest,
            exact=True,
        )
    elif kind == "CumSum":
        flags = {"exclusive": d.pick(0, 1), "reverse": d.pick(0, 1)}
        d.add("CumSum", [x, d.constant(axis, np.int64)], **flags)
    else:
        last = {"select_last_index": d.pick(0, 1)} if d.opset >= 12 else {}
        d.add(kind, [x], axis=axis, keepdims=d.pick(0, 1), exact=True, **last)


def softmax(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim > 0 and v.size > 0)
    if x is not None:
        rank = d.values[x].ndim
        axis = d.between(-rank, rank - 1) if d.flip(0.8) else None
        d.add(d.pick("Softmax", "LogSoftmax"), [x], axis=axis)


def normalization(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim >= 2 and v.size > 0)
    if x is None:
        return
    shape = d.values[x].shape
    kind = d.pick("Layer", "Instance", "Batch", "Group", "LRN", "Lp")
    if kind == "Layer":
        axis = d.between(1, len(shape) - 1)
        scale, shift = (d.constant(d.normal(*shape[axis:])) for _ in range(2))
        d.add("LayerNormalization", [x, scale, shift], axis=d.pick(axis, axis - len(shape)))
    elif kind == "LRN" and len(shape) == 4:
        d.add("LRN", [x], size=d.pick(1, 3, 5), alpha=0.01)
    elif kind == "Lp":
        d.add("LpNormalization", [x], axis=d.between(0, len(shape) - 1), p=d.pick(1, 2))
    elif kind == "Batch":
        a, b, c = (d.constant(d.normal(shape[1])) for _ in range(3))
        var = d.constant(np.abs(d.normal(shape[1])) + np.float32(0.1))
        d.add("BatchNormalization", [x, a, b, c, var])
    elif len(shape) >= 3:
        a, b = (d.constant(d.normal(shape[1])) for _ in range(2))
        if kind == "Instance":
            d.add("InstanceNormalization", [x, a, b])
        elif d.opset >= 21:
            groups = d.rng.choice([g for g in range(1, shape[1] + 1) if shape[1] % g == 0])
            d.add("GroupNormalization", [x, a, b], num_groups=groups)


def product(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim > 0 and v.size > 0)
    if x is None:
        return
    shape = d.values[x].shape
    outs = d.pick(1, 3, 8, 17)
    if len(shape) == 2 and d.flip():
        back, front = d.pick(0, 1), d.pick(0, 0, 1)
        ins = shape[0] if front else shape[1]
        w = d.constant(d.normal(*((outs, ins) if back else (ins, outs))))
        inputs = [x, w]
        if d.flip():
            rows = shape[1] if front else shape[0]
            wide = d.pick((outs,), (1, outs), (rows, outs), (rows, 1), (1,))
            inputs.append(d.constant(d.normal(*wide)))
        d.add(
            "Gemm", inputs, transA=front, transB=back, alpha=d.pick(1.0, 0.5), beta=d.pick(1.0, 2.0)
        )
        return
    other = d.tensor(lambda v: is_float(v) and v.ndim > 1 and v.shape[-2] == shape[-1])
    if other is not None and d.flip():
        d.add("MatMul", [x, other])
        return
    extra = list(shape[:-2]) if len(shape) > 2 and d.flip(0.3) else []
    wide = [] if d.flip(0.2) else [outs]
    d.add("MatMul", [x, d.constant(d.normal(*(extra if wide else []), shape[-1], *wide))])


def _quantized(d: Draft, x: str, dtype: Any, scale: float, zero: int) -> str | None:
    step, offset = d.constant(scale, np.float32), d.constant(zero, dtype)
    made = d.add("QuantizeLinear", [x, step, offset], exact=True)
    made = made and d.add("DequantizeLinear", [made[0], step, offset], exact=True)
    return made[0] if made else None


def quantized(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim > 0 and v.size > 0, exact=True)
    if x is None:
        return
    dtype = d.pick(*_BYTES)
    scale = d.pick(0.02, 0.05)
    zero = d.pick(0, 3, -5) if dtype is np.int8 else d.pick(128, 0, 100)
    made = _quantized(d, x, dtype, scale, zero)
    if made is None or not _spatial(d.values[made]) or d.flip(0.6):
        return
    shape = d.values[made].shape
    outs, rank = d.pick(3, 8, 16), len(shape) - 2
    kernel = [d.pick(1, 3) for _ in range(rank)]
    w = d.constant(d.numbers.integers(-20, 20, (outs, shape[1], *kernel)), np.int8)
    step, offset = d.constant(0.05, np.float32), d.constant(0, np.int8)
    weight = d.add("DequantizeLinear", [w, step, offset], exact=True)
    if weight:
        pads = [k // 2 for k in kernel] * 2
        d.add("Conv", [made, weight[0]], kernel_shape=kernel, pads=pads)


def joined(d: Draft) -> None:
    """Join one tensor quantized in two ways, or beside itself."""
    x = d.tensor(lambda v: is_float(v) and v.ndim >= 2 and v.size > 0, exact=True)
    if x is None:
        return
    first = _quantized(d, x, np.int8, 0.02, d.pick(0, 3))
    second = d.pick(x, _quantized(d, x, np.uint8, 0.02, d.pick(128, 0)))
    if first is None or second is None:
        return
    op = d.pick("Concat", "Concat", "Add", "Mul", "Max", "Sum")
    d.add(op, [first, second], axis=d.pick(0, 1) if op == "Concat" else None)


def shapes(d: Draft) -> None:
    x = d.tensor()
    if x is None:
        return
    kind = d.between(0, 3)
    if kind == 0:
        d.add("Shape", [x], exact=True)
    elif kind == 1:
        d.add("Size", [x], exact=True)
    elif kind == 2:
        made = d.add("Shape", [x], exact=True)
        if made:
            d.add("ConstantOfShape", made, exact=True)
    elif d.values[x].ndim:
        d.add("NonZero", [x], exact=True)


STEPS: tuple[Callable[[Draft], None], ...] = (
    convolution, convolution, convolution, transposed, pooling, pooling, global_pooling, resize,
    resize, unary, unary, clip, binary, binary, compare, cast, transpose, reshape, squeeze, slice_,
    slice_, split, concat, concat, gather, scatter, tile, pad, rearrange, reduction, reduction, arg,
    softmax, normalization, normalization, product, product, quantized, joined, shapes,
)  # fmt: skip


def draw_case(rng: random.Random, most_steps: int = 4, steps: Sequence[Any] = STEPS) -> Case | None:
    """Draw a graph of one to `most_steps` steps and feeds for it; None where no node came out."""
    d = Draft(rng, np.random.default_rng(rng.randrange(1 << 32)), rng.choice(OPSETS))
    rank = d.pick(0, 1, 2, 3, 4, 4, 4, 4, 5)
    batch = d.pick(1, 1, 3)
    shape = [batch, *[d.pick(*SIZES) for _ in range(rank - 1)]][:rank]
    while np.prod(shape) > 4096:
        shape[shape.index(max(shape))] = 2
    d.inputs["x"] = d.values["x"] = d.normal(*shape)
    d.exact.add("x")
    if d.flip(0.2):
        d.inputs["n"] = d.values["n"] = d.numbers.integers(
            -9, 9, [d.pick(1, 3, 4) for _ in range(2)]
        )
        d.exact.add("n")
    for _ in range(d.between(1, most_steps)):
        d.pick(*steps)(d)
    if not d.nodes:
        return None
    return _case(d, dynamic=bool(rank) and d.flip(0.2))


def _case(d: Draft, dynamic: bool) -> Case | None:
    made = [name for node in d.nodes for name in node.output]
    read = {name for node in d.nodes for name in node.input}
    outputs = [name for name in made if name not in read]
    outputs += [name for name in (*made, *d.inputs) if d.flip(0.1)]
    if d.constants and d.flip(0.05):
        outputs.append(d.rng.choice(list(d.constants)))
    outputs = list(dict.fromkeys(outputs))
    used = read | set(outputs)
    inputs = {name: values for name, values in d.inputs.items() if name in used}
    graph = helper.make_graph(
        d.nodes,
        "drawn",
        [info_of(name, values, dynamic and name == "x") for name, values in inputs.items()],
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(d.values[name].dtype), None
            )
            for name in outputs
        ],
        [numpy_helper.from_array(v, name) for name, v in d.constants.items() if name in used],
    )
    model = model_of(graph, d.opset)
    try:
        reference(model, inputs)
    except Exception:
        return None
    return Case(model, inputs)


@st.composite
def compiled_cases(draw: Draw, *, most_steps: int = 4) -> Case:
    """Draw what `draw_case` does, by a seed: what shrinks is the seed, not the graph."""
    rng = random.Random(draw(st.integers(0, 2**32 - 1)))
    found = None
    while found is None:
        found = draw_case(rng, most_steps)
    return found
