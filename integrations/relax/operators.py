"""What an operator of Relax is in ONNX: one writer an operator.

A writer declines, with a reason, what ONNX would compute otherwise, or cannot say. The sizes that
ONNX infers of each result are compared with Relax's besides (`regions`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need

OPSET = 20
_CONSTANT = "bind it first, with relax.transform.BindParams"


@dataclass
class Writer:
    """Nodes under construction for one `call`, whose result is called `name`.

    `tensor` gives the tensor of an argument, `array` the values of one that is constant.
    """

    call: Any
    name: str
    tensor: Callable[[Any], gs.Tensor]
    array: Callable[[Any], np.ndarray[Any, Any] | None]
    nodes: list[gs.Node] = field(default_factory=list)

    @property
    def attrs(self) -> Any:
        """The attributes of the call."""
        return self.call.attrs

    def rank(self, index: int = 0) -> int:
        """Return the number of axes of an argument."""
        return len(self.shape(index))

    def shape(self, index: int = 0) -> list[Any]:
        """Return the sizes of an argument: numbers, and expressions."""
        kind = self.call.args[index].ty
        need(getattr(kind, "shape", None) is not None, "the sizes of what it reads are not known")
        return [_number(size) for size in kind.shape]

    def dtype(self, index: int = 0) -> str:
        """Return the element type of an argument."""
        return str(self.call.args[index].ty.dtype)

    def constant(self, index: int, what: str) -> np.ndarray[Any, Any]:
        """Return an argument that must be constant."""
        return need(self.array(self.call.args[index]), f"{what} is no constant; {_CONSTANT}")

    def given(self, values: Any, dtype: Any) -> gs.Constant:
        """Return a new constant."""
        return gs.Constant(f"{self.name}_{len(self.nodes)}_c", np.asarray(values, dtype))

    def node(self, op: str, inputs: Sequence[gs.Tensor], outputs: int = 1, **attrs: Any) -> Any:
        """Append a node, and return its first result; the last node's results get their names."""
        found = [gs.Variable(f"{self.name}_{len(self.nodes)}_{i}") for i in range(outputs)]
        name = f"{self.name}_{len(self.nodes)}"
        self.nodes.append(gs.Node(op, name, attrs, list(inputs), found))
        return found[0]


Write = Callable[[Writer], Any]


def constant_of(expr: Any) -> np.ndarray[Any, Any] | None:
    """Return the values of a constant tensor, None of anything else."""
    from tvm import ir, runtime

    held = expr.value if isinstance(expr, ir.GenericConst) else None
    return held.numpy() if isinstance(held, runtime.Tensor) else None


def _number(size: Any) -> Any:
    from tvm import tirx

    return int(size) if isinstance(size, int | tirx.IntImm) else size


def _ints(values: Any) -> list[int]:
    return [int(value) for value in values]


def _scalar(expr: Any) -> float:
    """Return a number that is an argument; declines what is computed."""
    value = getattr(expr, "value", expr)
    value = getattr(value, "value", value)
    need(isinstance(value, int | float), "a bound is computed")
    return float(value)


def _same(op: str) -> Write:
    """Return the writer of what has the name `op` in ONNX, and the same arguments."""

    def write(to: Writer) -> None:
        to.node(op, [to.tensor(arg) for arg in to.call.args])

    return write


def _of_loops(op: str) -> Write:
    """Return the writer of a loop nest that computes `op` of tensors."""

    def write(to: Writer) -> None:
        to.node(op, [to.tensor(arg) for arg in to.call.args[1].fields])

    return write


def _laid_out(to: Writer, rank: int, weight: str | None = None) -> None:
    """Decline other orders of axes than N C and the window's."""
    letters = {1: "W", 2: "HW", 3: "DHW"}[rank]
    attrs = to.attrs
    layout = str(getattr(attrs, "data_layout", None) or attrs.layout)
    need(layout == f"NC{letters}", f"its layout is {layout}; planish's is NC{letters}")
    out = str(attrs.out_layout or layout)
    need(out == layout, f"its result has another layout, {out}")
    if weight is not None:
        kernel = str(attrs.kernel_layout)
        need(kernel == weight + letters, f"the layout of its weight is {kernel}")


def _convolution(rank: int, *, transposed: bool = False) -> Write:
    def write(to: Writer) -> None:
        attrs = to.attrs
        _laid_out(to, rank, "IO" if transposed else "OI")
        weight = to.constant(1, "its weight")
        out = str(attrs.out_dtype or to.dtype())
        need(out in ("", to.dtype()), f"it reads {to.dtype()} and gives {out}")
        more: dict[str, Any] = {}
        if transposed:
            more["output_padding"] = _ints(attrs.output_padding)
        to.node(
            "ConvTranspose" if transposed else "Conv",
            [to.tensor(to.call.args[0]), to.given(weight, weight.dtype)],
            kernel_shape=list(weight.shape[2:]),
            strides=_ints(attrs.strides),
            pads=_ints(attrs.padding),
            dilations=_ints(attrs.dilation),
            group=int(attrs.groups),
            **more,
        )

    return write


def _pool(rank: int, op: str) -> Write:
    def write(to: Writer) -> None:
        attrs = to.attrs
        _laid_out(to, rank)
        kernel, strides, pads = map(_ints, (attrs.pool_size, attrs.strides, attrs.padding))
        more: dict[str, Any] = {"dilations": _ints(attrs.dilation)}
        if op == "AveragePool":
            need(set(more.pop("dilations")) == {1}, "its window is dilated")
            sizes = to.shape()[2:]
            exact = all(
                isinstance(size, int) and (size + a + b - k) % s == 0
                for size, a, b, k, s in zip(
                    sizes, pads[:rank], pads[rank:], kernel, strides, strict=True
                )
            )
            need(exact or not attrs.ceil_mode, "its last window lies partly outside")
            more["count_include_pad"] = int(attrs.count_include_pad)
        to.node(
            op,
            [to.tensor(to.call.args[0])],
            kernel_shape=kernel,
            strides=strides,
            pads=pads,
            ceil_mode=int(attrs.ceil_mode),
            **more,
        )

    return write


def _adaptive(rank: int) -> Write:
    def write(to: Writer) -> None:
        _laid_out(to, rank)
        x, sizes = to.tensor(to.call.args[0]), to.shape()[2:]
        asked = sizes if to.attrs.output_size is None else _ints(to.attrs.output_size)
        if all(size == 1 for size in asked):
            to.node("GlobalAveragePool", [x])
            return
        whole = all(isinstance(a, int) and a % b == 0 for a, b in zip(sizes, asked, strict=True))
        need(whole, "its windows differ in size")
        window = [a // b for a, b in zip(sizes, asked, strict=True)]
        to.node("AveragePool", [x], kernel_shape=window, strides=window)

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
    low, high = map(_scalar, to.call.args[1:3])
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


def _softmax(op: str) -> Write:
    def write(to: Writer) -> None:
        to.node(op, [to.tensor(to.call.args[0])], axis=int(to.attrs.axis))

    return write


def _reduce(op: str) -> Write:
    def write(to: Writer) -> None:
        axes = range(to.rank()) if to.attrs.axis is None else _ints(to.attrs.axis)
        given = [to.tensor(to.call.args[0])]
        # Opset 18 has axes as an input everywhere.
        to.node(op, [*given, to.given(list(axes), np.int64)], keepdims=int(to.attrs.keepdims))

    return write


def _matmul(to: Writer) -> None:
    out = str(to.attrs.out_dtype or to.dtype())
    need(out in ("", to.dtype()), f"it reads {to.dtype()} and gives {out}")
    to.node("MatMul", [to.tensor(arg) for arg in to.call.args])


def _reshape(to: Writer) -> None:
    from tvm import relax

    target = to.call.args[1]
    need(isinstance(target, relax.ShapeExpr), "its sizes are computed")
    sizes = [_number(size) for size in target]
    unknown = [at for at, size in enumerate(sizes) if not isinstance(size, int)]
    need(len(unknown) < 2, "two of its sizes are not known")
    need(0 not in sizes, "it has no elements")
    shape = [size if isinstance(size, int) else -1 for size in sizes]
    to.node("Reshape", [to.tensor(to.call.args[0]), to.given(shape, np.int64)])


def _permute(to: Writer) -> None:
    rank = to.rank()
    axes = range(rank)[::-1] if to.attrs.axes is None else _ints(to.attrs.axes)
    to.node("Transpose", [to.tensor(to.call.args[0])], perm=[axis % rank for axis in axes])


def _axes(op: str) -> Write:
    def write(to: Writer) -> None:
        need(to.attrs.axis is not None, "it names no axes")
        axes = to.given(_ints(to.attrs.axis), np.int64)
        to.node(op, [to.tensor(to.call.args[0]), axes])

    return write


def _concat(to: Writer) -> None:
    from tvm import relax

    parts = to.call.args[0]
    need(isinstance(parts, relax.Tuple), "its parts are one value")
    axis = 0 if to.attrs.axis is None else int(to.attrs.axis)
    to.node("Concat", [to.tensor(part) for part in parts.fields], axis=axis)


def _split(to: Writer) -> None:
    axis = int(to.attrs.axis) % to.rank()
    whole, told = to.shape()[axis], to.attrs.indices_or_sections
    need(isinstance(whole, int), "the size that it splits is not known")
    parts = len(to.call.ty.fields)
    if hasattr(told, "__len__"):
        ends = [0, *_ints(told), whole]
        sizes = [b - a for a, b in itertools.pairwise(ends)]
    else:
        need(whole % parts == 0, "its parts differ in size")
        sizes = [whole // parts] * parts
    x = to.tensor(to.call.args[0])
    to.node("Split", [x, to.given(sizes, np.int64)], parts, axis=axis)


def _pad(to: Writer) -> None:
    attrs = to.attrs
    mode = str(attrs.pad_mode)
    need(mode in ("constant", "reflect"), f"its mode is {mode}")
    widths = _ints(attrs.pad_width)
    pads = to.given([*widths[::2], *widths[1::2]], np.int64)
    given = [to.tensor(to.call.args[0]), pads]
    if mode == "constant":
        given.append(gs.Constant(f"{to.name}_v", np.asarray(attrs.pad_value, to.dtype())))
    to.node("Pad", given, mode=mode)


def _resize(to: Writer) -> None:
    from tvm import relax

    attrs = to.attrs
    need(str(attrs.layout) == "NCHW", f"its layout is {attrs.layout}")
    size = to.call.args[1]
    need(isinstance(size, relax.ShapeExpr), "its sizes are computed")
    before, after = to.shape(), [_number(each) for each in size]
    need(all(isinstance(each, int) for each in after), "its sizes are not known")
    method, rounding = str(attrs.method), str(attrs.rounding_method)
    where = str(attrs.coordinate_transformation_mode)
    known = where in ("half_pixel", "align_corners", "asymmetric")
    need(known, f"it takes coordinates by {where}")
    how: dict[str, Any] = {"mode": "linear"}
    if method == "nearest_neighbor":
        # Between two elements there is no tie only where every one is repeated as often.
        repeats = all(
            isinstance(a, int) and b % a == 0 for a, b in zip(before[2:], after, strict=True)
        )
        floors = where == "asymmetric" and rounding == "floor"
        centres = where == "half_pixel" and rounding.startswith("round")
        need(repeats and (floors or centres), "its nearest element is a matter of rounding")
        how = {"mode": "nearest", "nearest_mode": "floor" if floors else "round_prefer_floor"}
    else:
        need(method == "linear", f"its method is {method}")
    x, empty = to.tensor(to.call.args[0]), gs.Variable.empty()
    if all(isinstance(each, int) for each in before):
        given = [x, empty, empty, to.given([*before[:2], *after], np.int64)]
    else:
        sizes = before[2:]
        need(all(isinstance(each, int) for each in sizes), "its sizes are not known")
        factors = np.array([1, 1, *(b / a for a, b in zip(sizes, after, strict=True))], np.float32)
        made = [int(np.floor(a * f)) for a, f in zip(sizes, factors[2:], strict=True)]
        need(made == after, "its factors are no numbers that give its sizes")
        given = [x, empty, to.given(factors, np.float32)]
    to.node("Resize", given, coordinate_transformation_mode=where, **how)


def _cast(to: Writer) -> None:
    import onnx

    dtype = str(to.attrs.dtype)
    need(dtype in ("float32", "float16", "bfloat16", "int32", "int64"), f"it makes {dtype}")
    to.node("Cast", [to.tensor(to.call.args[0])], to=onnx.TensorProto.DataType.Value(_NAMES[dtype]))


_NAMES = {
    "float32": "FLOAT",
    "float16": "FLOAT16",
    "bfloat16": "BFLOAT16",
    "int32": "INT32",
    "int64": "INT64",
}


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
    **{f"relax.nn.conv{n}d": _convolution(n) for n in (1, 2, 3)},
    **{f"relax.nn.conv{n}d_transpose": _convolution(n, transposed=True) for n in (1, 2, 3)},
    **{f"relax.nn.max_pool{n}d": _pool(n, "MaxPool") for n in (1, 2, 3)},
    **{f"relax.nn.avg_pool{n}d": _pool(n, "AveragePool") for n in (1, 2, 3)},
    **{f"relax.nn.adaptive_avg_pool{n}d": _adaptive(n) for n in (1, 2, 3)},
    "relax.nn.batch_norm": _batch_norm,
    "relax.nn.relu": _same("Relu"),
    "relax.nn.leakyrelu": _leaky,
    "relax.nn.prelu": _prelu,
    "relax.nn.silu": _silu,
    "relax.nn.gelu": _gelu("none"),
    "relax.nn.gelu_tanh": _gelu("tanh"),
    "relax.nn.softmax": _softmax("Softmax"),
    "relax.nn.log_softmax": _softmax("LogSoftmax"),
    "relax.nn.pad": _pad,
    "relax.add": _same("Add"),
    "relax.subtract": _same("Sub"),
    "relax.multiply": _same("Mul"),
    "relax.divide": _same("Div"),
    "relax.maximum": _same("Max"),
    "relax.minimum": _same("Min"),
    "topi.maximum": _of_loops("Max"),
    "topi.minimum": _of_loops("Min"),
    "relax.sigmoid": _same("Sigmoid"),
    "relax.tanh": _same("Tanh"),
    "relax.exp": _same("Exp"),
    "relax.sqrt": _same("Sqrt"),
    "relax.abs": _same("Abs"),
    "relax.negative": _same("Neg"),
    "relax.clip": _clip,
    "relax.mean": _reduce("ReduceMean"),
    "relax.sum": _reduce("ReduceSum"),
    "relax.max": _reduce("ReduceMax"),
    "relax.matmul": _matmul,
    "relax.reshape": _reshape,
    "relax.permute_dims": _permute,
    "relax.expand_dims": _axes("Unsqueeze"),
    "relax.squeeze": _axes("Squeeze"),
    "relax.concat": _concat,
    "relax.split": _split,
    "relax.image.resize2d": _resize,
    "relax.astype": _cast,
    "relax.quantize": _quantization("QuantizeLinear"),
    "relax.dequantize": _quantization("DequantizeLinear"),
}
