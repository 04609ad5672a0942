"""Fake-quantizers in the module being made, and the float parameters that pass through them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch
from torch import fx

from ..core import dtypes
from ..core.variables import dense_values
from ..ops.quantization.parameters import ConstantParameters
from . import fake_quantize, names
from .builder import Builder
from .fake_quantize import FakeQuantize
from .refusal import refuse
from .tensors import to_tensor
from .values import QuantizedWeight, Quantizer, Traced, Value

Array = np.ndarray[Any, Any]


def integers(builder: Builder, value: Traced) -> fx.Node:
    """Return a quantized value as the integers that the graph has."""
    quantizer = value.quantizer
    assert quantizer is not None
    module = quantizer.module
    low, high = module.qmin, module.qmax
    kind: Any = {(0, 255): torch.uint8, (-128, 127): torch.int8, (-32768, 32767): torch.int16}.get(
        (low, high), torch.int32
    )
    scale = builder.attribute(f"{quantizer.path}.scale")
    zero = builder.attribute(f"{quantizer.path}.zero_point")
    return builder.function(fake_quantize.to_integers, value.node, scale, zero, module.axis, kind)


def realize_weight(builder: Builder, node: gs.Node, value: QuantizedWeight) -> Traced:
    """Return integer weights as a float parameter behind a fake-quantizer."""
    key = ("DequantizeLinear", id(value.integers), id(value.scale), value.axis, value.block)
    if key in builder.quantized:
        return builder.quantized[key]
    held, scale = _arrays(value)
    path = _float_parameter(builder, node, value, held, scale)
    bounds = _used_bounds(held, value.zero_point)
    quantizer = add_quantizer(
        builder, node, f"{path}_quantizer", value.scale,
        ConstantParameters(scale, value.zero_point, value.axis, value.block), bounds,
        batched=False,
    )  # fmt: skip
    builder.bind(value.integers, path, "integers", quantizer=quantizer)
    real = builder.graph.call_module(quantizer, (builder.attribute(path),))
    made = Traced(real, quantizer=Quantizer(quantizer, builder.root.get_submodule(quantizer)))
    builder.quantized[key] = made
    return made


def realize_bias(
    builder: Builder, node: gs.Node, bias: QuantizedWeight, x: Value, weight: Traced | None
) -> Traced:
    """Return an int32 bias as a float parameter on the grid of input scale times weight scale.

    A bias with another scale keeps that.
    """
    inner = x.quantizer if isinstance(x, Traced) else None
    outer = weight.quantizer if weight is not None else None
    centred = bias.zero_point is None or not bias.zero_point.any()
    if inner is None or outer is None or bias.block or not centred:
        return realize_weight(builder, node, bias)
    held, scale = _arrays(bias)
    parts = (inner.module.scale, outer.module.scale)
    product = fake_quantize.bias_scale(*parts).numpy()
    fits = product.size in (1, scale.size) and parts[0].numel() == 1
    if not fits or not np.allclose(product, scale.reshape(-1), rtol=1e-3, atol=0):
        return realize_weight(builder, node, bias)
    key = ("bias", id(bias.integers), id(bias.scale), inner.path, outer.path)
    if key not in builder.quantized:
        path = _float_parameter(builder, node, bias, held, scale)
        places = {"quantizer": inner.path, "other": outer.path}
        builder.bind(bias.integers, path, "bias", **places)
        builder.bind(bias.scale, "", "bias-scale", **places)
        scales = [builder.attribute(f"{place}.scale") for place in (inner.path, outer.path)]
        real = builder.function(fake_quantize.round_bias, builder.attribute(path), *scales)
        builder.quantized[key] = Traced(real)
    return builder.quantized[key]


def _arrays(value: QuantizedWeight) -> tuple[Array, Array]:
    held, scale = dense_values(value.integers), dense_values(value.scale)
    assert held is not None
    assert scale is not None
    return held, scale


def _float_parameter(
    builder: Builder, node: gs.Node, value: QuantizedWeight, held: Array, scale: Array
) -> str:
    """Put the dequantized values of integer weights into a parameter."""
    steps = to_tensor(scale)
    whole = to_tensor(held)
    if steps is None or whole is None:
        refuse(node, f"PyTorch has no type for {held.dtype}", "dequantize it first")
    zero = None if value.zero_point is None else to_tensor(value.zero_point)
    real = fake_quantize.dequantize(whole, steps, zero, value.axis, value.block)
    name = value.name if names.is_path(value.name) else names.identifier(value.name, "weight")
    path = builder.free(name)
    builder.set_parameter(path, real)
    return path


def add_quantizer(
    builder: Builder,
    node: gs.Node,
    name: str,
    constant: gs.Constant | None,
    parameters: ConstantParameters,
    bounds: tuple[int, int],
    *,
    batched: bool,
) -> str:
    """Place a fake-quantizer whose scale is that of the graph, shared where it is shared there.

    `bounds`: the lowest and the highest integer.
    """
    scale, zero = parameters.scale, parameters.zero_point
    axis, block = parameters.axis, parameters.block
    shared = None if constant is None else builder.realized(constant)
    tensor = to_tensor(scale)
    if shared is not None:
        owner, leaf = names.split(shared)
        tensor = getattr(builder.root.get_submodule(owner), leaf)
    elif tensor is not None and scale.size == 1 and not block:
        tensor = tensor.reshape(())
    shift = to_tensor(np.zeros(scale.shape, np.int8) if zero is None else zero)
    if tensor is None or shift is None:
        refuse(node, "PyTorch has no type for its scale or zero point", "use float32 and int8")
    shift = shift.to(torch.int64)
    path = builder.free(name)
    learn = builder.learn_scales and constant is not None
    builder.place(
        path,
        FakeQuantize(
            tensor,
            shift.reshape(()) if shift.numel() == 1 and not block else shift,
            *bounds,
            axis=axis,
            block=block,
            learn=learn,
            batched=batched,
        ),
    )
    if constant is not None and shared is None:
        builder.bind(constant, f"{path}.scale", "scale")
    return path


def _used_bounds(held: Array, zero: Array | None) -> tuple[int, int]:
    """Return the range that integer weights keep to.

    Without a zero point it is that of the fewest bits that hold them: 3-bit weights stored in a
    wider type stay 3-bit weights, and a range that leaves the lowest value out goes on doing so.
    """
    low, high = dtypes.integer_limits(held.dtype)
    if low == 0 or held.dtype.itemsize > 2 or (zero is not None and zero.astype(np.int64).any()):
        return low, high
    whole = held.astype(np.int64)
    least, most = int(whole.min(initial=0)), int(whole.max(initial=0))
    if least == most == 0:
        return low, high
    top = 1
    while top < max(most, -least - 1):
        top = 2 * top + 1
    return (-top if least >= -top else -top - 1), top
