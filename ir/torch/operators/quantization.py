"""QuantizeLinear and DequantizeLinear as fake-quantizers.

A pair becomes one module: QuantizeLinear gives values on the grid, and DequantizeLinear with the
same grid gives them on. Integer weights behind a DequantizeLinear become float parameters and a
fake-quantizer each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch
from torch import fx

from ...core import dtypes
from ...core.variables import dense_values
from .. import fake_quantize, names
from ..call import Call, Handler, Result
from ..fake_quantize import FakeQuantize
from ..tensors import to_tensor, torch_dtype
from ..values import QuantizedWeight, Quantizer, Traced, Value, Weight

Array = np.ndarray[Any, Any]


def _quantize(call: Call) -> Result:
    scale = call.static(1)
    zero = call.static(2) if call.has(2) else None
    if scale is None or (call.has(2) and zero is None):
        call.refuse(
            "its scale or zero point is computed (dynamic quantization)",
            "train the float model and quantize it afterwards",
        )
    kind = _output_type(call, zero)
    value, given = call.value(1), call.node.inputs[0].name
    constant = value.constant if isinstance(value, Weight) else None
    axis, block = call.attribute("axis", 1), call.attribute("block_size", 0)
    x = call.tensor(0)
    if scale.size > 1 and axis < 0:
        axis += _rank(call, 0)
    key = (
        "QuantizeLinear",
        id(constant) if constant is not None else scale.tobytes(),
        None if zero is None else zero.tobytes(),
        kind,
        axis if scale.ndim else 0,
        block,
    )
    bounds = _bounds(kind)
    path = call.builder.modules.get(key)
    if path is None:
        path = call.builder.modules[key] = _add_quantizer(
            call, f"{names.identifier(given, 'x')}_quantizer", constant, scale, zero, bounds,
            axis, block, batched=not isinstance(call.value(0), Weight),
        )  # fmt: skip
    module = call.builder.root.get_submodule(path)
    node = call.builder.graph.call_module(path, (x,))
    return Traced(node, quantizer=Quantizer(path, module), integers=True)


def _dequantize(call: Call) -> Result:
    value, scale = call.value(0), call.static(1)
    zero = call.static(2) if call.has(2) else None
    axis, block = call.attribute("axis", 1), call.attribute("block_size", 0)
    known = scale is not None and (zero is not None or not call.has(2))
    if isinstance(value, Traced) and value.integers and known and scale is not None:
        found = _same_grid(call, value, scale, zero, axis, block)
        if found is not None:
            return found
    if known and isinstance(value, Weight):
        given = call.value(1)
        held = dense_values(value.constant)
        if isinstance(given, Weight) and held is not None and held.dtype.kind in "iuV":
            rank = len(value.constant.shape)
            name = names.unquantized(value.constant.name)
            axis = axis % rank if rank else 0
            return QuantizedWeight(value.constant, given.constant, zero, axis, block, name)
    shift = call.tensor(2) if call.has(2) else None
    return call.function(
        fake_quantize.dequantize, call.tensor(0), call.tensor(1), shift, axis, block
    )


def _same_grid(
    call: Call, value: Traced, scale: Array, zero: Array | None, axis: int, block: int
) -> Traced | None:
    """Return a quantized value as its real one, where the scales are those it was made with."""
    quantizer = value.quantizer
    if quantizer is None:
        return None
    module = quantizer.module
    own = module.scale.detach()
    shift = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    if scale.size > 1 and axis < 0:
        axis += _rank(call, 0)
    if (
        own.numel() != scale.size
        or not bool((own.reshape(-1) == to_tensor(scale.reshape(-1))).all())
        or not np.array_equal(module.zero_point.numpy().reshape(-1), shift.reshape(-1))
        or (scale.size > 1 and (axis != module.axis or block != module.block))
    ):
        return None
    given = call.value(1)
    if isinstance(given, Weight) and call.builder.realized(given.constant) is None:
        call.builder.bind(given.constant, f"{quantizer.path}.scale", "scale")
    return Traced(value.node, quantizer=quantizer)


def integers(call: Call, value: Traced) -> fx.Node:
    """Return a quantized value as the integers that the graph has."""
    quantizer = value.quantizer
    assert quantizer is not None
    module = quantizer.module
    low, high = module.qmin, module.qmax
    kind: Any = {(0, 255): torch.uint8, (-128, 127): torch.int8, (-32768, 32767): torch.int16}.get(
        (low, high), torch.int32
    )
    scale = call.builder.attribute(f"{quantizer.path}.scale")
    zero = call.builder.attribute(f"{quantizer.path}.zero_point")
    return call.function(fake_quantize.to_integers, value.node, scale, zero, module.axis, kind)


def realize_weight(call: Call, value: QuantizedWeight) -> Traced:
    """Return integer weights as a float parameter behind a fake-quantizer."""
    builder = call.builder
    key = ("DequantizeLinear", id(value.integers), id(value.scale), value.axis, value.block)
    if key in builder.quantized:
        return builder.quantized[key]
    held, scale = _arrays(value)
    path = _float_parameter(call, value, held, scale)
    bounds = _used_bounds(held, value.zero_point)
    quantizer = _add_quantizer(
        call, f"{path}_quantizer", value.scale, scale, value.zero_point, bounds, value.axis,
        value.block, batched=False,
    )  # fmt: skip
    builder.bind(value.integers, path, "integers", quantizer=quantizer)
    node = builder.graph.call_module(quantizer, (builder.attribute(path),))
    made = Traced(node, quantizer=Quantizer(quantizer, builder.root.get_submodule(quantizer)))
    builder.quantized[key] = made
    return made


def realize_bias(call: Call, bias: QuantizedWeight, x: Value, weight: Traced | None) -> Traced:
    """Return an int32 bias as a float parameter on the grid of input scale times weight scale.

    A bias with another scale keeps that.
    """
    inner = x.quantizer if isinstance(x, Traced) else None
    outer = weight.quantizer if weight is not None else None
    centred = bias.zero_point is None or not bias.zero_point.any()
    if inner is None or outer is None or bias.block or not centred:
        return realize_weight(call, bias)
    held, scale = _arrays(bias)
    parts = (inner.module.scale, outer.module.scale)
    product = fake_quantize.bias_scale(*parts).numpy()
    fits = product.size in (1, scale.size) and parts[0].numel() == 1
    if not fits or not np.allclose(product, scale.reshape(-1), rtol=1e-3, atol=0):
        return realize_weight(call, bias)
    builder = call.builder
    key = ("bias", id(bias.integers), id(bias.scale), inner.path, outer.path)
    if key not in builder.quantized:
        path = _float_parameter(call, bias, held, scale)
        places = {"quantizer": inner.path, "other": outer.path}
        builder.bind(bias.integers, path, "bias", **places)
        builder.bind(bias.scale, "", "bias-scale", **places)
        scales = [builder.attribute(f"{place}.scale") for place in (inner.path, outer.path)]
        node = call.function(fake_quantize.round_bias, builder.attribute(path), *scales)
        builder.quantized[key] = Traced(node)
    return builder.quantized[key]


def _arrays(value: QuantizedWeight) -> tuple[Array, Array]:
    held, scale = dense_values(value.integers), dense_values(value.scale)
    assert held is not None
    assert scale is not None
    return held, scale


def _float_parameter(call: Call, value: QuantizedWeight, held: Array, scale: Array) -> str:
    """Put the dequantized values of integer weights into a parameter."""
    steps = to_tensor(scale)
    whole = to_tensor(held)
    if steps is None or whole is None:
        call.refuse(f"PyTorch has no type for {held.dtype}", "dequantize it first")
    zero = None if value.zero_point is None else to_tensor(value.zero_point)
    real = fake_quantize.dequantize(whole, steps, zero, value.axis, value.block)
    name = value.name if names.is_path(value.name) else names.identifier(value.name, "weight")
    path = call.builder.free(name)
    call.builder.set_parameter(path, real)
    return path


def _add_quantizer(
    call: Call,
    name: str,
    constant: gs.Constant | None,
    scale: Array,
    zero: Array | None,
    bounds: tuple[int, int],
    axis: int,
    block: int,
    *,
    batched: bool,
) -> str:
    """Place a fake-quantizer whose scale is that of the graph, shared where it is shared there."""
    builder = call.builder
    shared = None if constant is None else builder.realized(constant)
    tensor = to_tensor(scale)
    if shared is not None:
        owner, leaf = names.split(shared)
        tensor = getattr(builder.root.get_submodule(owner), leaf)
    elif tensor is not None and scale.size == 1 and not block:
        tensor = tensor.reshape(())
    shift = to_tensor(np.zeros(scale.shape, np.int8) if zero is None else zero)
    if tensor is None or shift is None:
        call.refuse("PyTorch has no type for its scale or zero point", "use float32 and int8")
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


def _output_type(call: Call, zero: Array | None) -> np.dtype[Any]:
    if zero is not None:
        kind = zero.dtype
    else:
        given = call.attribute("output_dtype", 0)
        kind = dtypes.numpy_dtype(given) if given else np.dtype(np.uint8)
    if torch_dtype(kind) is None or torch_dtype(kind).is_floating_point:  # type: ignore[union-attr]
        call.refuse(f"it quantizes to {kind}", "quantize to integers")
    return np.dtype(kind)


def _bounds(kind: np.dtype[Any]) -> tuple[int, int]:
    bits, signed = dtypes.bits(kind), not kind.name.startswith("uint")
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _used_bounds(held: Array, zero: Array | None) -> tuple[int, int]:
    """Return the range that integer weights keep to.

    Without a zero point it is that of the fewest bits that hold them: 3-bit weights stored in a
    wider type stay 3-bit weights, and a range that leaves the lowest value out goes on doing so.
    """
    low, high = _bounds(held.dtype)
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


def _rank(call: Call, position: int) -> int:
    rank = call.rank(position)
    if rank is None:
        call.refuse("its axis counts from the end of an unknown rank", "give it from the front")
    return rank


OPERATORS: dict[str, Handler] = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
