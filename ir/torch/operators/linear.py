"""Convolutions and matrix products."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from ...ops.linear.operators import is_absent_bias
from ...ops.windows.attributes import WindowAttributes
from ..call import Handler, OperatorCall, Result
from ..functions import linear, windows
from ..quantizers import realize_bias, realize_weight
from ..values import QuantizedWeight, Value
from .layers import HELD, absent, layer
from .windows import padded, read_window, symmetric_pads

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_FUNCTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def _shape(call: OperatorCall) -> tuple[int, ...]:
    """Return the shape of the weight; the sizes of its channels are 0 where unknown."""
    value = call.value(1)
    if isinstance(value, HELD):
        return tuple(value.constant.shape)
    if isinstance(value, QuantizedWeight):
        return tuple(value.integers.shape)
    if "kernel_shape" in call.attributes:
        return (0, 0, *call.attributes["kernel_shape"])
    known = call.types.of(call.node.inputs[1])
    if known is None or known.shape is None or not all(isinstance(d, int) for d in known.shape):
        call.refuse("its kernel is computed and of unknown size", "give it a kernel_shape")
    return tuple(int(d) for d in known.shape)  # type: ignore[arg-type]


def _window(call: OperatorCall) -> tuple[tuple[int, ...], WindowAttributes]:
    shape = _shape(call)
    if not 1 <= len(shape) - 2 <= 3:
        call.refuse(f"it has {len(shape) - 2} spatial dimensions", "PyTorch has one to three")
    return shape, read_window(call, shape[2:])


def _operands(call: OperatorCall) -> tuple[Any, Any]:
    """Return weight and bias as tensors; quantized ones come from float parameters."""
    weight, bias = call.value(1), _bias(call)
    if absent(bias):
        bias = None
    made = (
        realize_weight(call.builder, call.node, weight)
        if isinstance(weight, QuantizedWeight)
        else None
    )
    shift: Any = None
    if isinstance(bias, QuantizedWeight):
        shift = realize_bias(call.builder, call.node, bias, call.value(0), made).node
    elif bias is not None:
        shift = call.tensor(2)
    return (call.tensor(1) if made is None else made.node), shift


def _bias(call: OperatorCall) -> Value | None:
    if not call.has(2) or is_absent_bias(call.node, call.static(2)):
        return None
    return call.inputs[2]


def _conv(call: OperatorCall) -> Result:
    shape, window = _window(call)
    group, rank = call.attribute("group", 1), window.rank
    x = call.tensor(0)
    padding: Any = symmetric_pads(window)
    if padding is None:
        x, padding = padded(call, window, x), (0,) * rank

    def make(has_bias: bool) -> nn.Module:
        return _CONV[rank](
            shape[1] * group, shape[0], window.kernel, window.strides, padding, window.dilations,
            group, has_bias, device="meta",
        )  # fmt: skip

    if min(padding) >= 0:
        key = (window.strides, padding, window.dilations, group)
        path = layer(call, call.value(1), _bias(call), key, make)
        if path is not None:
            return call.builder.graph.call_module(path, (x,))
    else:
        x, padding = padded(call, window, x), (0,) * rank
    weight, bias = _operands(call)
    return call.function(
        _FUNCTIONS[rank], x, weight, bias, window.strides, padding, window.dilations, group
    )


def _conv_transpose(call: OperatorCall) -> Result:
    shape, window = _window(call)
    group, rank = call.attribute("group", 1), window.rank
    more = window.output_padding
    begin, end = window.fixed_pads() or (None, None)

    def make(has_bias: bool) -> nn.Module:
        return _TRANSPOSED[rank](
            shape[0], shape[1] * group, window.kernel, window.strides, begin, more, group,
            has_bias, window.dilations, device="meta",
        )  # fmt: skip

    x = call.tensor(0)
    room = zip(more, window.strides, window.dilations, strict=True)
    if (
        begin is not None
        and begin == end
        and min(begin) >= 0
        and all(extra < max(stride, dilation) for extra, stride, dilation in room)
    ):
        key = (window.strides, begin, window.dilations, group, more)
        path = layer(call, call.value(1), _bias(call), key, make)
        if path is not None:
            return call.builder.graph.call_module(path, (x,))
    weight, bias = _operands(call)
    return call.function(
        windows.conv_transpose,
        x,
        weight,
        bias,
        strides=window.strides,
        dilations=window.dilations,
        group=group,
        output_padding=more,
        begin=begin,
        end=end,
        output_shape=window.output_shape,
        upper=window.upper,
    )


def _gemm(call: OperatorCall) -> Result:
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    flip_a, flip_b = bool(call.attribute("transA", 0)), bool(call.attribute("transB", 0))
    weight, bias = call.value(1), _bias(call)
    if alpha == 1 and not flip_a and (beta == 1 or absent(bias)):
        path = _linear(call, weight, bias, flip_b)
        if path is not None:
            return call.builder.graph.call_module(path, (call.tensor(0),))
    matrix, shift = _operands(call)
    return call.function(linear.gemm, call.tensor(0), matrix, shift, alpha, beta, flip_a, flip_b)


def _linear(call: OperatorCall, weight: Value, bias: Value | None, flipped: bool) -> str | None:
    """Return the path of an nn.Linear, whose weight is output features by input features."""
    if not isinstance(weight, HELD) or len(weight.constant.shape) != 2:
        return None
    out, into = weight.constant.shape if flipped else reversed(weight.constant.shape)
    if isinstance(bias, HELD) and tuple(bias.constant.shape) != (out,):
        return None

    def make(has_bias: bool) -> nn.Module:
        return nn.Linear(into, out, has_bias, device="meta")

    return layer(call, weight, bias, flipped, make, transposed=not flipped)


def _matmul(call: OperatorCall) -> Result:
    path = _linear(call, call.value(1), None, False)
    if path is not None:
        return call.builder.graph.call_module(path, (call.tensor(0),))
    return call.function(torch.matmul, call.tensor(0), call.tensor(1))


def _einsum(call: OperatorCall) -> fx.Node:
    equation = call.attribute("equation")
    text = equation.decode() if isinstance(equation, bytes) else equation
    return call.function(torch.einsum, text, *call.tensors())


OPERATORS: dict[str, Handler] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
