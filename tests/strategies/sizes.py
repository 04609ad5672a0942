"""One operator whose result has another size than its input, all of its parameters drawn.

Windows, slices, resizes, pads, reshapes and reductions over ranks 0 to 5 with sizes of 0, 1 and
more, in every spelling of opsets 7 to 22; some sizes of the inputs have a name, or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from .network import Case, Draw

FARTHEST = (2**31 - 1, -(2**31), 2**63 - 1, -(2**63))


class Sized:
    """The inputs, constants and attributes of one node, drawn one after the other."""

    def __init__(self, random: Random, opset: int) -> None:
        self.random = random
        self.opset = opset
        self.inputs: list[str] = []
        self.feeds: dict[str, np.ndarray[Any, Any]] = {}
        self.initializers: list[onnx.TensorProto] = []
        self.nodes: list[onnx.NodeProto] = []
        self.attrs: dict[str, Any] = {}
        self.outputs = 1

    def often(self, chance: float = 0.5) -> bool:
        return self.random.random() < chance

    def count(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def counts(self, many: int, low: int, high: int) -> list[int]:
        return [self.count(low, high) for _ in range(many)]

    def pick(self, *values: Any) -> Any:
        return self.random.choice(values)

    def shape(self, least: int = 0, most: int = 4) -> list[int]:
        rank = self.count(least, most)
        return [
            self.pick(0, 1, 2, 3, 4, 5) if self.often(0.3) else self.count(1, 5)
            for _ in range(rank)
        ]

    def x(self, shape: list[int], dtype: Any = np.float32) -> None:
        name = f"x{len(self.feeds)}"
        values = np.arange(math.prod(shape)) % 7
        self.feeds[name] = values.astype(dtype).reshape(shape)
        self.inputs.append(name)

    def constant(self, values: Any, dtype: Any = np.int64) -> None:
        """Add a constant, an initializer or a Constant node."""
        name = f"c{len(self.initializers) + len(self.nodes)}"
        tensor = numpy_helper.from_array(np.asarray(values, dtype), name)
        if self.often(0.3):
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initializers.append(tensor)
        self.inputs.append(name)

    def absent(self) -> None:
        self.inputs.append("")

    def axis(self, rank: int) -> int:
        axis = self.count(0, rank - 1)
        return axis - rank if self.opset >= 11 and self.often(0.3) else axis

    def axes(self, rank: int, least: int = 1) -> list[int]:
        axes = self.random.sample(range(rank), self.count(min(least, rank), rank))
        return [a - rank if self.opset >= 11 and self.often(0.3) else a for a in axes]

    def ints(self, name: str, values: list[int]) -> None:
        """Give an attribute of integers, an empty list too."""
        self.attrs[name] = helper.make_attribute(name, values, attr_type=onnx.AttributeProto.INTS)


def _window(drawn: Sized, op: str) -> tuple[list[int], list[int]]:
    """Draw the attributes of a window; return its kernel and the sizes of the input."""
    rank = drawn.count(1, 3)
    sizes, kernel = drawn.counts(rank, 1, 10), drawn.counts(rank, 1, 4)
    if drawn.often(0.7):
        drawn.attrs["strides"] = drawn.counts(rank, 1, 4)
    since = {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}.get(op, 1)
    if drawn.opset >= since and drawn.often():
        drawn.attrs["dilations"] = drawn.counts(rank, 1, 3)
    auto = drawn.pick("NOTSET", "NOTSET", "", None, "VALID", "SAME_UPPER", "SAME_LOWER")
    if auto is not None:
        drawn.attrs["auto_pad"] = auto
    if not auto or auto == "NOTSET":
        pads = drawn.pick([], drawn.counts(2 * rank, 0, 3), drawn.counts(2 * rank, 0, 3), None)
        if pads is not None:
            drawn.ints("pads", pads)
    return sizes, kernel


def _pool(op: str) -> Callable[[Sized], None]:
    def draw(drawn: Sized) -> None:
        sizes, kernel = _window(drawn, op)
        drawn.attrs["kernel_shape"] = kernel
        if drawn.opset >= (18 if op == "LpPool" else 10) and drawn.often(0.6):
            drawn.attrs["ceil_mode"] = drawn.count(0, 1)
        if op == "AveragePool" and drawn.often():
            drawn.attrs["count_include_pad"] = drawn.count(0, 1)
        drawn.x([*drawn.counts(2, 1, 3), *sizes])

    return draw


def _conv(op: str) -> Callable[[Sized], None]:
    def draw(drawn: Sized) -> None:
        sizes, kernel = _window(drawn, op)
        group, channels, out = drawn.pick(1, 1, 2), drawn.count(1, 3), drawn.count(1, 2)
        if group > 1 or drawn.often(0.2):
            drawn.attrs["group"] = group
        if drawn.often():
            drawn.attrs["kernel_shape"] = kernel
        drawn.x([drawn.count(1, 2), channels * group, *sizes])
        if op == "Conv":
            drawn.constant(np.ones([group * out, channels, *kernel]), np.float32)
            return
        if drawn.often():
            ones = [1] * len(kernel)
            steps = zip(
                drawn.attrs.get("strides", ones), drawn.attrs.get("dilations", ones), strict=True
            )
            drawn.attrs["output_padding"] = [drawn.count(0, max(pair) - 1) for pair in steps]
        if drawn.often(0.3):
            drawn.attrs["output_shape"] = drawn.counts(len(kernel), 1, 14)
        drawn.constant(np.ones([channels * group, out, *kernel]), np.float32)

    return draw


def _scales(drawn: Sized, many: int, least: float) -> list[float]:
    known = (0.1, 1 / 3, 0.5, 2 / 3, 0.7, 5 / 7, 0.8, 1, 1, 1.1, 1.2, 1.3, 1.5, 2, 7 / 3, 3)
    found = [drawn.pick(*known, drawn.random.uniform(0.2, 3)) for _ in range(many)]
    return [max(scale, least) for scale in found]


def _resize(drawn: Sized) -> None:
    shape = drawn.counts(drawn.count(1, 4), 1, 7)
    drawn.x(shape)
    drawn.attrs["mode"] = "nearest"
    axes = list(range(len(shape)))
    if drawn.opset < 11:
        drawn.constant(_scales(drawn, len(axes), 0), np.float32)
        return
    modes = ("half_pixel", "asymmetric", "align_corners", "tf_crop_and_resize")
    drawn.attrs["coordinate_transformation_mode"] = drawn.pick(*modes)
    if drawn.opset >= 18 and drawn.often(0.4):
        axes = drawn.axes(len(shape))
        drawn.attrs["axes"] = axes
    begins = [drawn.pick(0, 0.1, 0.2) for _ in axes]
    ends = [begin + drawn.pick(0.4, 0.5, 1 / 3) for begin in begins]
    cropped = drawn.attrs["coordinate_transformation_mode"] == "tf_crop_and_resize"
    drawn.constant([*begins, *ends] if cropped else [], np.float32)
    if drawn.often():
        drawn.constant(_scales(drawn, len(axes), 0), np.float32)
        return
    if drawn.opset < 13 or drawn.often():
        drawn.constant([], np.float32)
    else:
        drawn.absent()
    drawn.constant(drawn.counts(len(axes), 1, 9))
    if drawn.opset >= 18 and drawn.often():
        policy = drawn.pick("stretch", "not_larger", "not_smaller")
        drawn.attrs["keep_aspect_ratio_policy"] = policy


def _upsample(drawn: Sized) -> None:
    shape = drawn.counts(drawn.count(1, 4), 1, 7)
    drawn.x(shape)
    drawn.attrs["mode"] = "nearest"
    scales = _scales(drawn, len(shape), 1)
    if drawn.opset >= 9:
        drawn.constant(scales, np.float32)
    else:
        drawn.attrs["scales"] = scales


def _slice(drawn: Sized) -> None:
    shape = drawn.shape(1)
    drawn.x(shape)
    axes = sorted(drawn.axes(len(shape)), key=lambda axis: axis % len(shape))

    def bound(axis: int) -> int:
        size = shape[axis]
        near = (0, 1, 2, 3, -1, -2, size, -size, size + 1, -size - 1)
        return drawn.pick(*near, *FARTHEST)

    starts, ends = [bound(a) for a in axes], [bound(a) for a in axes]
    leading = axes == list(range(len(axes)))
    if drawn.opset < 10:
        drawn.attrs |= {"starts": starts, "ends": ends}
        if not leading or drawn.often():
            drawn.attrs["axes"] = axes
        return
    drawn.constant(starts)
    drawn.constant(ends)
    stepped = drawn.often(0.7)
    if not leading or drawn.often():
        drawn.constant(axes)
    elif stepped:
        drawn.absent()
    if stepped:
        drawn.constant([drawn.pick(1, 1, 2, 3, -1, -1, -2, -3, *FARTHEST) for _ in axes])


def _pad(drawn: Sized) -> None:
    shape = drawn.shape(1)
    drawn.x(shape)
    axes = list(range(len(shape)))
    if drawn.opset >= 18 and drawn.often():
        axes = drawn.axes(len(shape))
    pads = drawn.counts(2 * len(axes), -2, 3)
    if drawn.opset < 11:
        drawn.attrs["pads"] = pads
        return
    drawn.constant(pads)
    if drawn.opset >= 18:
        drawn.absent()
        drawn.constant(axes)


def _split(drawn: Sized) -> None:
    shape = drawn.shape(1, 3)
    drawn.x(shape)
    axis = drawn.axis(len(shape))
    drawn.attrs["axis"] = axis
    drawn.outputs = drawn.count(1, 4)
    if drawn.often():
        cuts = sorted(drawn.counts(drawn.outputs - 1, 0, shape[axis]))
        sizes = np.diff([0, *cuts, shape[axis]]).tolist()
        if drawn.opset < 13:
            drawn.attrs["split"] = sizes
        else:
            drawn.constant(sizes)
    elif drawn.opset >= 18:
        drawn.attrs["num_outputs"] = drawn.outputs


def _reduce(op: str) -> Callable[[Sized], None]:
    def draw(drawn: Sized) -> None:
        shape = drawn.shape()
        drawn.x(shape)
        as_input = drawn.opset >= (13 if op == "ReduceSum" else 18)
        axes = drawn.pick(None, [], drawn.axes(len(shape), 0), drawn.axes(len(shape), 0))
        if drawn.often():
            drawn.attrs["keepdims"] = drawn.count(0, 1)
        if as_input and drawn.often():
            drawn.attrs["noop_with_empty_axes"] = drawn.count(0, 1)
        if axes is not None and as_input:
            drawn.constant(axes)
        elif axes is not None:
            drawn.ints("axes", axes)

    return draw


def _squeeze(drawn: Sized) -> None:
    shape = [1 if drawn.often() else size for size in drawn.shape()]
    drawn.x(shape)
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    axes = drawn.pick(None, [], drawn.random.sample(ones, drawn.count(0, len(ones))))
    if axes is not None and drawn.opset < 13:
        drawn.ints("axes", axes)
    elif axes is not None:
        drawn.constant(axes)


def _unsqueeze(drawn: Sized) -> None:
    shape = drawn.shape(0, 3)
    drawn.x(shape)
    rank = len(shape) + drawn.count(1, 2)
    axes = drawn.random.sample(range(rank), rank - len(shape))
    if drawn.opset < 13:
        drawn.attrs["axes"] = axes
    else:
        drawn.constant([a - rank if drawn.often(0.3) else a for a in axes])


def _reshape(drawn: Sized) -> None:
    shape = drawn.shape()
    drawn.x(shape)
    left = math.prod(shape)
    target: list[int] = []
    for _ in range(drawn.count(0, 3)):
        divisors = [v for v in range(1, 7) if left and left % v == 0] or [0, 1, 2]
        target.append(drawn.pick(*divisors))
        left = left // target[-1] if target[-1] else left
    target.append(left)
    if drawn.often():
        target[drawn.random.randrange(len(target))] = -1
    if drawn.often(0.3):
        target[drawn.random.randrange(len(target))] = 0
    if drawn.opset >= 14 and drawn.often(0.4):
        drawn.attrs["allowzero"] = drawn.count(0, 1)
    drawn.constant(target)


def _flatten(drawn: Sized) -> None:
    shape = drawn.shape(1)
    drawn.x(shape)
    if drawn.often(0.8):
        drawn.attrs["axis"] = drawn.pick(len(shape), drawn.axis(len(shape)))


def _range(drawn: Sized) -> None:
    kind = drawn.pick(np.int64, np.int32, np.float32, np.float64)
    if kind in (np.int64, np.int32):
        bounds = [*drawn.counts(2, -5, 10), drawn.pick(-3, -2, -1, 1, 2, 3)]
    else:
        ends = [drawn.pick(0, 0.1, 0.3, 0.7, 1, 5, drawn.random.uniform(-5, 5)) for _ in range(2)]
        bounds = [*ends, drawn.pick(0.1, -0.1, 0.3, 1 / 3, 0.7, 1, -1, 2)]
    for bound in bounds:
        drawn.constant(bound, kind)


def _nonzero(drawn: Sized) -> None:
    drawn.x(drawn.shape(0, 3))


def _tile(drawn: Sized) -> None:
    shape = drawn.shape()
    drawn.x(shape)
    drawn.constant(drawn.counts(len(shape), 0, 3))


def _expand(drawn: Sized) -> None:
    shape = drawn.shape()
    drawn.x([drawn.pick(1, size) for size in shape][drawn.count(0, len(shape)) :])
    drawn.constant([drawn.pick(1, size) for size in shape])


def _gather(drawn: Sized) -> None:
    shape = drawn.shape(1)
    axis = drawn.axis(len(shape))
    shape[axis] = max(shape[axis], 1)
    drawn.x(shape)
    drawn.attrs["axis"] = axis
    drawn.constant(np.zeros(drawn.shape(0, 2)))


def _blocks(op: str) -> Callable[[Sized], None]:
    def draw(drawn: Sized) -> None:
        block = drawn.count(1, 3)
        n, channels, *sizes = drawn.counts(4, 0, 2)
        drawn.attrs["blocksize"] = block
        deep = op == "DepthToSpace"
        sizes = sizes if deep else [block * size for size in sizes]
        drawn.x([n, channels * block**2 if deep else channels, *sizes])

    return draw


def _shape(drawn: Sized) -> None:
    drawn.x(drawn.shape())
    if drawn.opset >= 15:
        for name in ("start", "end"):
            if drawn.often():
                drawn.attrs[name] = drawn.count(-6, 6)


# Each operator, the first opset that has it as it is drawn, and the last.
OPERATORS: dict[str, tuple[Callable[[Sized], None], int, int]] = {
    **{op: (_pool(op), 7, 22) for op in ("MaxPool", "AveragePool", "LpPool")},
    **{op: (_conv(op), 7, 22) for op in ("Conv", "ConvTranspose")},
    **{op: (_reduce(op), 7, 22) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2")},
    **{op: (_blocks(op), 7, 22) for op in ("DepthToSpace", "SpaceToDepth")},
    "Resize": (_resize, 10, 22),
    "Upsample": (_upsample, 7, 9),
    "Slice": (_slice, 7, 22),
    "Pad": (_pad, 7, 22),
    "Split": (_split, 7, 22),
    "Squeeze": (_squeeze, 7, 22),
    "Unsqueeze": (_unsqueeze, 7, 22),
    "Reshape": (_reshape, 7, 22),
    "Flatten": (_flatten, 7, 22),
    "Range": (_range, 11, 22),
    "NonZero": (_nonzero, 9, 22),
    "Tile": (_tile, 7, 22),
    "Expand": (_expand, 8, 22),
    "Gather": (_gather, 7, 22),
    "Shape": (_shape, 7, 22),
}


@st.composite
def sized_models(draw: Draw, operators: tuple[str, ...] = tuple(OPERATORS)) -> Case:
    """Draw a model of one of `operators`, and feeds; not every one is valid."""
    op = draw(st.sampled_from(operators))
    rule, first, last = OPERATORS[op]
    drawn = Sized(draw(st.randoms(use_true_random=False)), draw(st.integers(first, last)))
    rule(drawn)
    outputs = [f"y{i}" for i in range(drawn.outputs)]
    attrs = {k: v for k, v in drawn.attrs.items() if not isinstance(v, onnx.AttributeProto)}
    node = helper.make_node(op, drawn.inputs, outputs, **attrs)
    node.attribute.extend(v for v in drawn.attrs.values() if isinstance(v, onnx.AttributeProto))
    named = drawn.random.random() < 0.4
    inputs = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(values.dtype),
            [_declared(drawn, size, named) for size in values.shape],
        )
        for name, values in drawn.feeds.items()
    ]
    graph = helper.make_graph(
        [*drawn.nodes, node],
        "g",
        inputs,
        [onnx.ValueInfoProto(name=name) for name in outputs],
        drawn.initializers,
    )
    imports = [helper.make_opsetid("", drawn.opset)]
    return Case(helper.make_model(graph, opset_imports=imports, ir_version=8), drawn.feeds)


def _declared(drawn: Sized, size: int, named: bool) -> int | str | None:
    return drawn.pick(size, size, f"size {size}", None) if named else size
