"""Putting a weight and a bias into a module of `torch.nn`, under the names of the source model."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np
import onnx_graphsurgeon as gs
from torch import nn

from ...core.variables import dense_values
from .. import names
from ..builder import Builder
from ..call import OperatorCall
from ..masked import mask_layer
from ..tensors import to_tensor
from ..values import Literal, MaskedWeight, Value, Weight

HELD = (Weight, MaskedWeight)  # values that lie in an initializer and train


def absent(value: Value | None) -> bool:
    """Say whether a bias is none at all, or zeros that no initializer holds."""
    return value is None or (isinstance(value, Literal) and not value.array.any())


def layer(
    call: OperatorCall,
    weight: Value,
    bias: Value | None,
    key: Hashable,
    make: Callable[[bool], nn.Module],
    *,
    transposed: bool = False,
) -> str | None:
    """Return the path of a module that holds the two, or None where they need their own names.

    `make(has_bias)` gives the module, without values yet; one that was made for the same constants
    and `key` is used again. `transposed`: the module has the weight transposed, which a parameter
    that keeps its name in the source model must not be. What is masked stays so.
    """
    builder = call.builder
    if not isinstance(weight, HELD) or not (absent(bias) or isinstance(bias, HELD)):
        return None
    shift = bias.constant if isinstance(bias, HELD) else None
    masks = {
        name: value.mask
        for name, value in (("weight", weight), ("bias", bias))
        if isinstance(value, MaskedWeight)
    }
    tied = tuple((name, id(mask)) for name, mask in masks.items())
    known = (call.op, id(weight.constant), id(shift), tied, key)
    if known in builder.modules:
        return builder.modules[known]
    path = _path(call, weight.constant, shift, transposed)
    values = dense_values(weight.constant)
    tensor = None if values is None else to_tensor(values)
    if path is None or tensor is None or not tensor.is_floating_point():
        return None
    if shift is not None and (builder.realized(shift) is not None or len(shift.shape) != 1):
        return None
    if "weight" in masks and len(masks["weight"].shape) != tensor.ndim:
        return None
    module = make(shift is not None)
    module.weight = nn.Parameter(tensor.T.contiguous() if transposed else tensor)
    if shift is not None:
        module.bias = nn.Parameter(builder.tensor_of(shift))
    kind = {"weight": "transposed" if transposed else "plain", "bias": "plain"}
    tensors = {name: builder.tensor_of(mask) for name, mask in masks.items()}
    mask_layer(module, {n: m.T if kind[n] == "transposed" else m for n, m in tensors.items()})
    builder.place(path, module)
    for name, mask in masks.items():
        builder.bind(mask, f"{path}.{name}_mask", kind[name])
    builder.bind(weight.constant, f"{path}.weight", kind["weight"])
    if shift is not None:
        builder.bind(shift, f"{path}.bias")
    builder.modules[known] = path
    return path


def _path(
    call: OperatorCall, weight: gs.Constant, bias: gs.Constant | None, transposed: bool
) -> str | None:
    if call.builder.realized(weight) is not None:
        return None
    if not call.builder.is_parameter(weight.name):
        owner: str | None = module_name(call)
    else:
        owner = None if transposed else names.owner_of(weight.name, "weight")
    if owner is None or (bias is not None and not _belongs(call.builder, bias.name, owner)):
        return None
    if call.builder.is_free(owner, container=True):
        return owner
    return None if names.is_nested_path(weight.name) else call.builder.free(owner)


def module_name(call: OperatorCall) -> str:
    """Return a name for the module of a node whose weights have no names of their own."""
    return names.identifier(call.node.name or "", call.op.lower())


def _belongs(builder: Builder, bias: str, owner: str) -> bool:
    if not builder.is_parameter(bias):
        return True
    found = names.split(bias)
    return found[0] == owner and (found[1] == "bias" or "_bias" in found[1])


def is_all(value: Value | None, number: float) -> bool:
    """Say whether a value is constant and `number` everywhere."""
    held = None
    if isinstance(value, Literal):
        held = value.array
    elif isinstance(value, Weight):
        held = dense_values(value.constant)
    return held is not None and bool(np.all(held == number))
