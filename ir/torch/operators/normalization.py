"""Normalizations."""

from __future__ import annotations

import onnx_graphsurgeon as gs
import torch
from torch import nn
from torch.nn import functional

from .. import names
from ..call import Handler, OperatorCall, Result
from ..functions import normalization
from ..modules import BatchNorm
from ..values import Value, Weight
from .layers import is_all, layer, module_name

_BATCH_NORM = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_FIELDS = ("weight", "bias", "running_mean", "running_var")


def _batch_norm(call: OperatorCall) -> Result:
    if call.attribute("training_mode", 0):
        call.refuse(
            "it normalizes with the batch's statistics in inference (training_mode)",
            "export the model in evaluation mode",
        )
    if not call.attribute("spatial", 1):
        call.refuse("it has statistics for each position (spatial=0)", "convert it to opset 9")
    path = _batch_norm_module(call)
    if path is not None:
        return call.builder.graph.call_module(path, (call.tensor(0),))
    for position in (3, 4):  # statistics are no parameters, wherever they lie
        value = call.value(position)
        if isinstance(value, Weight):
            call.builder.realize(value.constant, trains=False)
    return call.function(normalization.batch_norm, *call.tensors(), call.attribute("epsilon", 1e-5))


def _batch_norm_module(call: OperatorCall) -> str | None:
    builder = call.builder
    values = [call.value(position) for position in range(1, 5)]
    held = [value.constant for value in values if isinstance(value, Weight)]
    known = ("BatchNormalization", *map(id, held), call.attribute("epsilon", 1e-5))
    if len(held) == 4 and known in builder.modules:
        return builder.modules[known]
    affine = not (is_all(values[0], 1) and is_all(values[1], 0) and _unnamed(call, values[:2]))
    fields = _FIELDS if affine else _FIELDS[2:]
    constants = values if affine else values[2:]
    kept = [value.constant for value in constants if isinstance(value, Weight)]
    if len(kept) != len(fields) or len({id(c) for c in kept}) != len(kept):
        return None
    path = _place(call, kept, fields)
    if path is None:
        return None
    made = _BATCH_NORM.get(call.rank(0) or 0, BatchNorm)(
        kept[-1].shape[0],
        eps=call.attribute("epsilon", 1e-5),
        momentum=round(1 - call.attribute("momentum", 0.9), 6),
        affine=affine,
        device="meta",
    )
    for name, constant in zip(fields, kept, strict=True):
        if name.startswith("running"):
            setattr(made, name, builder.tensor_of(constant))
        else:
            setattr(made, name, builder.parameter(constant))
    made.num_batches_tracked = torch.zeros((), dtype=torch.int64)
    builder.place(path, made)
    for name, constant in zip(fields, kept, strict=True):
        if builder.realized(constant) is None:
            builder.bind(constant, f"{path}.{name}")
    builder.modules[known] = path
    return path


def _unnamed(call: OperatorCall, values: list[Value]) -> bool:
    """Say whether scale and shift lie outside the module that has the statistics."""
    mean = call.node.inputs[3].name
    owner = names.owner_of(mean, "running_mean")
    return owner is not None and not any(
        isinstance(value, Weight) and names.split(value.constant.name)[0] == owner
        for value in values
    )


def _place(call: OperatorCall, constants: list[gs.Constant], fields: tuple[str, ...]) -> str | None:
    builder = call.builder
    if any(builder.realized(constant) is not None for constant in constants[-2:]):
        return None
    # A parameter that has its place already is shared; the others say where the module is.
    own = [pair for pair in zip(constants, fields, strict=True) if not builder.realized(pair[0])]
    if not any(builder.is_parameter(constant.name) for constant, _ in own):
        return builder.free(module_name(call))
    owners = {names.owner_of(constant.name, field) for constant, field in own}
    owner = owners.pop()
    if owners or owner is None or not builder.is_free(owner, container=True):
        return None
    return owner


def _layer_norm(call: OperatorCall) -> Result:
    axis, epsilon = call.attribute("axis", -1), call.attribute("epsilon", 1e-5)
    weight, bias = call.value(1), call.inputs[2] if call.has(2) else None
    if isinstance(weight, Weight):
        shape = tuple(weight.constant.shape)
        if axis == -len(shape) or axis + len(shape) == call.rank(0):

            def make(has_bias: bool) -> nn.Module:
                return nn.LayerNorm(shape, epsilon, bias=has_bias, device="meta")

            path = layer(call, weight, bias, epsilon, make) if len(shape) == 1 else None
            if path is not None:
                return call.builder.graph.call_module(path, (call.tensor(0),))
    shift = call.tensor(2) if call.has(2) else None
    return call.function(
        normalization.layer_norm, call.tensor(0), call.tensor(1), shift, axis, epsilon
    )


def _instance_norm(call: OperatorCall) -> Result:
    return call.function(
        functional.instance_norm,
        call.tensor(0),
        weight=call.tensor(1),
        bias=call.tensor(2),
        eps=call.attribute("epsilon", 1e-5),
    )


def _group_norm(call: OperatorCall) -> Result:
    return call.function(
        normalization.group_norm,
        *call.tensors(),
        call.attribute("num_groups"),
        call.attribute("epsilon", 1e-5),
    )


def _rms_norm(call: OperatorCall) -> Result:
    return call.function(
        normalization.rms_norm,
        *call.tensors(),
        call.attribute("axis", -1),
        call.attribute("epsilon", 1e-5),
    )


def _local_response(call: OperatorCall) -> Result:
    return call.function(
        normalization.local_response,
        call.tensor(0),
        call.attribute("size"),
        call.attribute("alpha", 1e-4),
        call.attribute("beta", 0.75),
        call.attribute("bias", 1.0),
    )


def _lp(call: OperatorCall) -> Result:
    return call.function(
        normalization.lp, call.tensor(0), call.attribute("axis", -1), call.attribute("p", 2)
    )


def _mean_variance(call: OperatorCall) -> Result:
    axes = tuple(call.attribute("axes") or (0, 2, 3))
    return call.function(normalization.mean_variance, call.tensor(0), axes)


OPERATORS: dict[str, Handler] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _rms_norm,
}
