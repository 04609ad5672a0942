"""Models with a malformed parameter: an initializer or an attribute that does not fit its operator.

Files with them exist, and no runtime runs them: a weight of another rank, a Reshape to sizes that
do not come out, a scale of one element too many.
"""

from __future__ import annotations

from random import Random

import numpy as np
import onnx
from onnx import AttributeProto, helper, numpy_helper

Array = np.ndarray

# Operators between two layers, by the shape of the first one's result. Inputs in small letters are
# parameters: their shapes, and integers as they are.
IMAGES = {
    "b = BatchNormalization(a, p, p2, p3, p4)": {"p": (4,), "p2": (4,), "p3": (4,), "p4": (4,)},
    "b = Conv <pads = [1, 1, 1, 1], strides = [1, 1], kernel_shape = [3, 3]> (a, w, p)": {
        "w": (4, 4, 3, 3), "p": (4,)},
    "b = Conv <group = 2, dilations = [1, 1]> (a, w)": {"w": (4, 2, 1, 1)},
    "b = ConvTranspose <strides = [1, 1], output_padding = [0, 0]> (a, w, p)": {
        "w": (4, 4, 1, 1), "p": (4,)},
    "b = Clip(a, s, t)": {"s": (), "t": ()},
    "b = PRelu(a, p)": {"p": (4, 1, 1)},
    "b = Pad(a, i, s)": {"i": [0, 0, 1, 1, 0, 0, 1, 1], "s": ()},
    "c = Pad(a, i) b = Conv(c, w)": {"i": [0, 0, 1, 1, 0, 0, 1, 1], "w": (4, 4, 3, 3)},
    "b = InstanceNormalization(a, p, p2)": {"p": (4,), "p2": (4,)},
    "b = GroupNormalization <num_groups = 2> (a, p, p2)": {"p": (4,), "p2": (4,)},
    "c = QuantizeLinear(a, s, z) b = DequantizeLinear(c, s, z)": {
        "s": (), "z": np.zeros((), np.uint8)},
    "c = QuantizeLinear <axis = 1> (a, p, z) b = DequantizeLinear <axis = 1> (c, p, z)": {
        "p": (4,), "z": np.zeros(4, np.int8)},
    "c = Mul(a, p) b = Add(c, p2)": {"p": (4, 1, 1), "p2": (1, 4, 1, 1)},
    "c = Div(a, p) b = Sub(p2, c)": {"p": (4, 1, 1), "p2": (1, 4, 1, 1)},
    "c = Reshape(a, i) b = Reshape(c, i2)": {"i": [0, 2, 2, 36], "i2": [0, 4, 6, 6]},
    "c = Reshape(a, i) d = Transpose <perm = [0, 2, 1, 3, 4]> (c) b = Reshape(d, i2)": {
        "i": [0, 2, 2, 6, 6], "i2": [0, 4, 6, 6]},
    "c = Transpose <perm = [0, 2, 3, 1]> (a) b = Transpose <perm = [0, 3, 1, 2]> (c)": {},
    "c, d = Split <axis = 1> (a, i) b = Concat <axis = 1> (c, d)": {"i": [2, 2]},
    "b = Slice(a, i, i2, i3, i4)": {"i": [0], "i2": [9], "i3": [2], "i4": [1]},
    "c = Slice(a, i, i2, i3) b = Slice(c, i, i2, i3)": {"i": [0], "i2": [9], "i3": [2]},
    "b = Gather <axis = 1> (a, i)": {"i": [0, 1, 3, 2]},
    "c = Unsqueeze(a, i) b = Squeeze(c, i)": {"i": [2]},
    "b = Expand(a, i)": {"i": [1, 4, 6, 6]},
    "b = Tile(a, i)": {"i": [1, 1, 1, 1]},
    "c = ReduceMean(a, i) b = Add(a, c)": {"i": [2, 3]},
    'b = Resize <mode = "nearest"> (a, , s)': {"s": np.array([1, 1, 2, 2], np.float32)},
    "b = Resize <mode = \"linear\"> (a, , , i)": {"i": [1, 4, 6, 6]},
    "b = MaxPool <kernel_shape = [2, 2], strides = [2, 2], pads = [0, 0, 0, 0]> (a)": {},
    "b = AveragePool <kernel_shape = [2, 2], strides = [1, 1], pads = [0, 0, 1, 1]> (a)": {},
    "b = LRN <size = 3> (a)": {},
    "b = DepthToSpace <blocksize = 2> (a)": {},
    "b = Softmax <axis = 1> (a)": {},
    "b = Where(m, a, p)": {"m": np.array([True]), "p": (4, 1, 1)},
    "c = Conv(a, w) d = Conv(a, w2) b = Add(c, d)": {"w": (4, 4, 1, 1), "w2": (4, 4, 1, 1)},
    "c = Conv(a, w) d = Relu(c) b = Conv(d, w2)": {"w": (6, 4, 1, 1), "w2": (4, 6, 1, 1)},
    "c = Conv <group = 4> (a, w) d = GlobalAveragePool(c) e = Conv(d, w2, p) f = Relu(e)"
    " g = Conv(f, w3) h = Sigmoid(g) b = Mul(c, h)": {
        "w": (4, 1, 1, 1), "w2": (2, 4, 1, 1), "p": (2,), "w3": (4, 2, 1, 1)},
}  # fmt: skip
ROWS = {
    "b = Gemm <transB = 1, alpha = 0.5> (a, w, p)": {"w": (4, 4), "p": (4,)},
    "c = Gemm(a, w) d = Relu(c) b = Gemm(d, w2, p)": {"w": (4, 6), "w2": (6, 4), "p": (4,)},
    "c = MatMul(a, w) b = Add(c, p)": {"w": (4, 4), "p": (4,)},
    "c = MatMul(a, w) d = Gelu(c) b = MatMul(d, w2)": {"w": (4, 6), "w2": (6, 4)},
    "b = LayerNormalization(a, p, p2)": {"p": (4,), "p2": (4,)},
    "b = RMSNormalization(a, p)": {"p": (4,)},
    "b = BatchNormalization(a, p, p2, p3, p4)": {"p": (4,), "p2": (4,), "p3": (4,), "p4": (4,)},
    "c = MatMul(a, w) b = BatchNormalization(c, p, p2, p3, p4)": {
        "w": (4, 4), "p": (4,), "p2": (4,), "p3": (4,), "p4": (4,)},
    "c = Reshape(a, i) d = Softmax(c) b = Reshape(d, i2)": {"i": [0, 2, 2], "i2": [0, 4]},
    "c = DequantizeLinear <axis = 1> (k, s) b = MatMul(a, c)": {
        "k": np.ones((4, 4), np.int8), "s": (4,)},
    "c = DequantizeLinear <axis = 0, block_size = 2> (k, s) b = MatMul(a, c)": {
        "k": np.ones((4, 4), np.int8), "s": (2, 4)},
    "b = CumSum(a, i)": {"i": np.array(1)},
    "b, c = TopK(a, i)": {"i": [4]},
    "b = Flatten <axis = 1> (a)": {},
    'b = Einsum <equation = "ij,jk->ik"> (a, w)': {"w": (4, 4)},
    "c = ConstantOfShape(i) b = Add(a, c)": {"i": [1, 4]},
    "c = Range(s, t, u) b = Add(a, c)": {
        "s": np.float32(0), "t": np.float32(4), "u": np.float32(1)},
    "b = ScatterND(a, i, p)": {"i": np.array([[0, 1]]), "p": (1,)},
    "c = OneHot(i, n, v) b = MatMul(a, c)": {
        "i": np.array([0, 1, 2, 3]), "n": np.array(4), "v": np.array([0, 1], np.float32)},
}  # fmt: skip


def _model(body: str, parameters: dict[str, object], *, images: bool) -> onnx.ModelProto:
    size = "N, 3, 6, 6" if images else "N, 3"
    shape = "N, 2, H, W" if images else "N, 2"
    first, last = ("Conv", "Conv") if images else ("MatMul", "MatMul")
    text = (
        f'<ir_version: 10, opset_import: ["" : 23]> g (float[{size}] x) => (float[{shape}] y) '
        f"{{ first = {first}(x, first_w) a = Relu(first) {body} y = {last}(b, last_w) }}"
    )
    model = onnx.parser.parse_model(text)
    generator = np.random.default_rng(0)
    ends = {"first_w": (4, 3, 1, 1), "last_w": (2, 4, 1, 1)}
    ends = ends if images else {"first_w": (3, 4), "last_w": (4, 2)}
    for name, given in {**ends, **parameters}.items():
        values = (
            generator.uniform(0.5, 1.5, given).astype(np.float32)
            if isinstance(given, tuple)
            else np.asarray(given)
        )
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return model


def models() -> dict[str, onnx.ModelProto]:
    """Return every model as it should be, by the text of its operators."""
    found = {body: _model(body, given, images=True) for body, given in IMAGES.items()}
    return found | {f"{b} ": _model(b, given, images=False) for b, given in ROWS.items()}


def break_a_parameter(model: onnx.ModelProto, rng: Random) -> str:
    """Break one initializer or attribute of `model` in place; return what was done."""
    attributes = [a for node in model.graph.node for a in node.attribute]
    tensors = [t for t in model.graph.initializer if t.name not in ("first_w", "last_w")]
    choices = [*attributes, *tensors, *tensors]
    if not choices:
        return ""
    chosen = rng.choice(choices)
    if isinstance(chosen, AttributeProto):
        made = _attribute(chosen, rng)
        chosen.CopyFrom(helper.make_attribute(chosen.name, made, attr_type=chosen.type))
        return f"{chosen.name} = {made!r}"
    values = _values(numpy_helper.to_array(chosen), rng)
    chosen.CopyFrom(numpy_helper.from_array(values, chosen.name))
    shown = values.tolist() if values.dtype.kind in "iu" and values.size < 9 else ""
    return f"{chosen.name}: {values.dtype}{values.shape} {shown}"


def _attribute(attribute: AttributeProto, rng: Random) -> object:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return rng.choice([b"", b"none", b"ij->k", b"ij,jk,kl->il"])
    if isinstance(value, float):
        return rng.choice([float("nan"), 0.0, float("inf"), -1.0])
    if isinstance(value, int):
        return rng.choice([0, -1, 3, 5, 99, -99])
    numbers = list(value)
    match rng.randrange(4):
        case 0:
            return numbers[:-1]
        case 1:
            return [*numbers, rng.choice([0, 1, 7])]
        case 2:
            numbers[rng.randrange(len(numbers))] = rng.choice([0, -1, 3, 99, -(2**40)])
            return numbers
        case _:
            return [numbers[0]] * len(numbers)


def _values(values: Array, rng: Random) -> Array:
    if values.dtype.kind in "iu" and values.dtype == np.int64 and rng.random() < 0.6:
        return _numbers(values, rng)
    match rng.randrange(7):
        case 0:
            return values[None]
        case 1:
            return values.reshape(-1)[:1].reshape(())
        case 2 if values.ndim:
            return values[0]
        case 3 if values.ndim:
            return np.repeat(values, 2, rng.randrange(values.ndim))
        case 4 if values.ndim:
            axis = rng.randrange(values.ndim)
            return np.take(values, range(max(values.shape[axis] - 1, 0)), axis)
        case 5:
            return values.reshape(-1)[:0]
        case 6 if values.dtype != np.bool_:
            return values.astype(rng.choice([np.float64, np.float16, np.int32, np.int64]))
    return np.stack([values, values])


def _numbers(values: Array, rng: Random) -> Array:
    made = values.copy().reshape(-1)
    if made.size:
        far = (0, -1, -2, 3, 7, 99, 2**31, -(2**63), 2**63 - 1)
        made[rng.randrange(made.size)] = rng.choice(far)
    return made.reshape(values.shape)
