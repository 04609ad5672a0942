"""QuantizeLinear and DequantizeLinear as fake-quantizers.

A pair becomes one module: QuantizeLinear gives values on the grid, and DequantizeLinear with the
same grid gives them on. Integer weights behind a DequantizeLinear wait for their readers, which
realize them (`quantizers`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ...core import dtypes
from ...core.variables import dense_values
from ...ops.quantization.nodes import DEQUANTIZE, QUANTIZE
from ...ops.quantization.parameters import ConstantParameters, read_quantization
from .. import fake_quantize, names
from ..call import Handler, OperatorCall, Result
from ..quantizers import add_quantizer
from ..tensors import to_tensor, torch_dtype
from ..values import QuantizedWeight, Quantizer, Traced, Weight

Array = np.ndarray[Any, Any]


def _quantize(call: OperatorCall) -> Result:
    scale = call.static(1)
    zero = call.static(2) if call.has(2) else None
    if scale is None or (call.has(2) and zero is None):
        call.refuse(
            "its scale or zero point is computed (dynamic quantization)",
            "train the float model and quantize it afterwards",
        )
    stated = read_quantization(call.node, call.attributes)
    known = ConstantParameters(scale, zero, stated.axis, stated.block, stated.output_type)
    kind = _integer_type(call, known)
    value, given = call.value(1), call.node.inputs[0].name
    constant = value.constant if isinstance(value, Weight) else None
    x = call.tensor(0)
    if scale.size > 1 and known.axis < 0:
        known = replace(known, axis=known.axis + _rank(call, 0))
    key = (
        QUANTIZE,
        id(constant) if constant is not None else scale.tobytes(),
        None if zero is None else zero.tobytes(),
        kind,
        known.axis if scale.ndim else 0,
        known.block,
    )
    path = call.builder.modules.get(key)
    if path is None:
        path = call.builder.modules[key] = add_quantizer(
            call.builder, call.node, f"{names.identifier(given, 'x')}_quantizer", constant,
            known, dtypes.integer_limits(kind),
            batched=not isinstance(call.value(0), Weight),
        )  # fmt: skip
    module = call.builder.root.get_submodule(path)
    node = call.builder.graph.call_module(path, (x,))
    return Traced(node, quantizer=Quantizer(path, module), integers=True)


def _dequantize(call: OperatorCall) -> Result:
    value, scale = call.value(0), call.static(1)
    zero = call.static(2) if call.has(2) else None
    stated = read_quantization(call.node, call.attributes)
    axis, block = stated.axis, stated.block
    known = scale is not None and (zero is not None or not call.has(2))
    if isinstance(value, Traced) and value.integers and known and scale is not None:
        found = _same_grid(call, value, scale, zero, axis, block)
        found = found or _rescaled(call, value, scale, zero, axis, block)
        if found is not None:
            return found
    if known and isinstance(value, Weight):
        given = call.value(1)
        held = dense_values(value.constant)
        if isinstance(given, Weight) and held is not None and held.dtype.kind in "iuV":
            rank = len(value.constant.shape)
            name = names.unquantized(value.constant.name)
            axis = axis % rank if rank else 0
            return QuantizedWeight(
                integers=value.constant,
                scale=given.constant,
                zero_point=zero,
                axis=axis,
                block=block,
                name=name,
            )
    shift = call.tensor(2) if call.has(2) else None
    return call.function(
        fake_quantize.dequantize, call.tensor(0), call.tensor(1), shift, axis, block
    )


def _same_grid(
    call: OperatorCall, value: Traced, scale: Array, zero: Array | None, axis: int, block: int
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


def _rescaled(
    call: OperatorCall, value: Traced, scale: Array, zero: Array | None, axis: int, block: int
) -> Traced | None:
    """Return a quantized value times the ratio of the scales, through which gradients pass.

    None where the zero points are not alike, the scales are blocks, or the first is learned, which
    the other would have to follow.
    """
    quantizer = value.quantizer
    if quantizer is None or block or quantizer.module.block or call.builder.learn_scales:
        return None
    module = quantizer.module
    shift = np.zeros(1, np.int64) if zero is None else zero.astype(np.int64)
    own = module.zero_point.numpy().reshape(-1)
    if np.unique(np.concatenate([own, shift.reshape(-1)])).size > 1:
        return None
    rank = _rank(call, 0)
    given = module.scale.detach().numpy().astype(np.float64)
    parts = [
        each.reshape(()) if each.size == 1 else each.reshape((-1,) + (1,) * (rank - 1 - at % rank))
        for each, at in ((scale.astype(np.float64), axis), (given, module.axis))
    ]
    factor = call.builder.literal(np.asarray(parts[0] / parts[1], np.float32))
    return Traced(call.builder.function(torch.mul, value.node, factor))


def _integer_type(call: OperatorCall, known: ConstantParameters) -> np.dtype[Any]:
    kind = known.integer_type
    if torch_dtype(kind) is None or torch_dtype(kind).is_floating_point:  # type: ignore[union-attr]
        call.refuse(f"it quantizes to {kind}", "quantize to integers")
    return kind


def _rank(call: OperatorCall, position: int) -> int:
    rank = call.rank(position)
    if rank is None:
        call.refuse("its axis counts from the end of an unknown rank", "give it from the front")
    return rank


OPERATORS: dict[str, Handler] = {DEQUANTIZE: _dequantize, QUANTIZE: _quantize}
