"""Operators of Relax that compute each element by itself, types and integers included."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from .writer import Write, Writer, same, scalar


def _of_loops(op: str) -> Write:
    """Return the writer of a loop nest that computes `op` of tensors."""

    def write(to: Writer) -> None:
        to.node(op, [to.tensor(arg) for arg in to.call.args[1].fields])

    return write


def _batch_norm(to: Writer) -> None:
    attrs = to.attrs
    need(int(attrs.axis) == 1, f"it normalizes axis {attrs.axis}")
    need(attrs.center and attrs.scale, "it leaves out its scale or bias")
    need(not attrs.training, "it is in training mode")
    parameters = [to.constant(i, "a parameter") for i in range(1, 5)]
    given = [gs.Constant(f"{to.name}_p{i}", values) for i, values in enumerate(parameters)]
    x = to.tensor(to.call.args[0])
    to.node("BatchNormalization", [x, *given], epsilon=float(attrs.epsilon))


def _clip(to: Writer) -> None:
    low, high = map(scalar, to.call.args[1:3])
    dtype = to.dtype()
    bounds = [to.given(low, dtype), gs.Constant(f"{to.name}_high", np.asarray(high, dtype))]
    to.node("Clip", [to.tensor(to.call.args[0]), *bounds])


def _leaky(to: Writer) -> None:
    to.node("LeakyRelu", [to.tensor(to.call.args[0])], alpha=float(to.attrs.alpha))


def _prelu(to: Writer) -> None:
    slope, axis = to.constant(1, "its slope"), int(to.attrs.axis) % to.rank()
    shape = [1] * to.rank()
    shape[axis] = -1
    x = to.tensor(to.call.args[0])
    to.node("PRelu", [x, to.given(slope.reshape(shape)[0] if axis else slope, slope.dtype)])


def _silu(to: Writer) -> None:
    x = to.tensor(to.call.args[0])
    to.node("Mul", [x, to.node("Sigmoid", [x])])


def _gelu(approximate: str) -> Write:
    def write(to: Writer) -> None:
        to.node("Gelu", [to.tensor(to.call.args[0])], approximate=approximate)

    return write


_NAMES = {
    "float32": "FLOAT",
    "float16": "FLOAT16",
    "bfloat16": "BFLOAT16",
    "int32": "INT32",
    "int64": "INT64",
}


def _cast(to: Writer) -> None:
    import onnx

    dtype = str(to.attrs.dtype)
    need(dtype in ("float32", "float16", "bfloat16", "int32", "int64"), f"it makes {dtype}")
    to.node("Cast", [to.tensor(to.call.args[0])], to=onnx.TensorProto.DataType.Value(_NAMES[dtype]))


def _quantization(op: str) -> Write:
    def write(to: Writer) -> None:
        scale, zero = to.constant(1, "its scale"), to.constant(2, "its zero point")
        dtype = str(to.attrs.out_dtype) if op == "QuantizeLinear" else to.dtype()
        if op == "DequantizeLinear":
            out = str(to.attrs.out_dtype)
            need(out == "float32", f"it gives {out}")
        need(dtype in ("int8", "uint8"), f"its integers are {dtype}")
        need(scale.dtype == np.float32, f"its scale is {scale.dtype}")
        shape = () if scale.size == 1 else (scale.size,)
        zeros = np.broadcast_to(zero.reshape(-1), (scale.size,)).reshape(shape)
        given = [
            to.given(scale.reshape(shape), np.float32),
            gs.Constant(f"{to.name}_z", zeros.astype(dtype)),
        ]
        axis = {"axis": int(to.attrs.axis)} if shape else {}
        to.node(op, [to.tensor(to.call.args[0]), *given], **axis)

    return write


WRITERS: dict[str, Write] = {
    "relax.nn.relu": same("Relu"),
    "relax.add": same("Add"),
    "relax.subtract": same("Sub"),
    "relax.multiply": same("Mul"),
    "relax.divide": same("Div"),
    "relax.maximum": same("Max"),
    "relax.minimum": same("Min"),
    "relax.sigmoid": same("Sigmoid"),
    "relax.tanh": same("Tanh"),
    "relax.exp": same("Exp"),
    "relax.sqrt": same("Sqrt"),
    "relax.abs": same("Abs"),
    "relax.negative": same("Neg"),
    "relax.nn.batch_norm": _batch_norm,
    "relax.nn.leakyrelu": _leaky,
    "relax.nn.prelu": _prelu,
    "relax.nn.silu": _silu,
    "relax.nn.gelu": _gelu("none"),
    "relax.nn.gelu_tanh": _gelu("tanh"),
    "topi.maximum": _of_loops("Max"),
    "topi.minimum": _of_loops("Min"),
    "relax.clip": _clip,
    "relax.astype": _cast,
    "relax.quantize": _quantization("QuantizeLinear"),
    "relax.dequantize": _quantization("DequantizeLinear"),
}
