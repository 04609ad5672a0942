"""Element-wise operators: arithmetic, comparisons, activations, casts, constants."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from ...core import dtypes
from ...core.constant_nodes import dense_value_of_constant_node
from ..call import Handler, OperatorCall, Result
from ..functions import elementwise
from ..tensors import torch_dtype
from ..values import Literal, Traced

_SIXTH = float(np.float32(1 / 6))


def _unary(target: Callable[..., Any], call: OperatorCall) -> Result:
    return call.function(target, call.tensor(0))


def _binary(target: Callable[..., Any], call: OperatorCall) -> Result:
    return call.function(target, *call.operands())


def _many(target: Callable[..., Any], call: OperatorCall) -> Result:
    """Sum, Min and Max of any number of operands, which broadcast."""
    operands = call.tensors()
    result = operands[0]
    for other in operands[1:]:
        result = call.function(target, result, other)
    return result


def _mean(call: OperatorCall) -> Result:
    total = _many(torch.add, call)
    return call.function(torch.div, total, len(call.inputs))


def _mod(call: OperatorCall) -> Result:
    return call.function(
        torch.fmod if call.attribute("fmod", 0) else torch.remainder, *call.operands()
    )


def _where(call: OperatorCall) -> Result:
    return call.function(torch.where, call.tensor(0), call.tensor(1), call.tensor(2))


def _pow(call: OperatorCall) -> Result:
    return call.function(elementwise.power, *call.operands())


def _identity(call: OperatorCall) -> Result:
    return call.value(0)


def _dropout(call: OperatorCall) -> Result:
    if call.has(2) and (call.static(2) is None or bool(call.static(2))):
        call.refuse("it drops elements in inference too (training_mode)", "leave that input out")
    ratio = call.static(1) if call.has(1) else np.asarray(call.attribute("ratio", 0.5))
    if ratio is None:
        call.refuse("its ratio is computed", "make it a constant")
    return call.module(nn.Dropout(float(ratio)), call.tensor(0))


def _cast(call: OperatorCall) -> Result:
    return _cast_to(call, dtypes.numpy_dtype(call.attribute("to")))


def _cast_like(call: OperatorCall) -> Result:
    known = call.dtype(call.node.inputs[1])
    if known is not None:
        return _cast_to(call, known)
    return call.function(elementwise.cast_like, call.tensor(0), call.tensor(1))


def _cast_to(call: OperatorCall, dtype: np.dtype[Any]) -> Result:
    value = call.value(0)
    if isinstance(value, Literal) and value.array.dtype.kind in "fiub" and dtype.kind in "fiub":
        return Literal(value.array.astype(dtype))
    kind = torch_dtype(dtype)
    if kind is None:
        call.refuse(f"PyTorch has no type {dtype}", "leave this conversion out")
    if call.dtype(call.node.inputs[0]) == dtype and isinstance(value, Traced) and not value.numbers:
        return value
    return call.builder.method("to", call.tensor(0), kind)


def _constant(call: OperatorCall) -> Result:
    value = dense_value_of_constant_node(call.node)
    if value is None or value.dtype.kind == "O":
        call.refuse("its value is text", "leave out what computes on text")
    return Literal(value)


def _clip(call: OperatorCall) -> Result:
    low, high = (_bound(call, position, name) for position, name in ((1, "min"), (2, "max")))
    x = call.tensor(0)
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        return call.function(elementwise.clip, x, low, high)
    if low == 0 and high == 6:
        return call.module(nn.ReLU6(), x)
    if low == 0 and high is None:
        return call.module(nn.ReLU(), x)
    if low is not None and high is not None and low < high:
        return call.module(nn.Hardtanh(low, high), x)
    return x if low is None and high is None else call.function(torch.clamp, x, low, high)


def _bound(call: OperatorCall, position: int, attribute: str) -> Any:
    if attribute in call.attributes:
        return call.attributes[attribute]
    if not call.has(position):
        return None
    held = call.static(position)
    # A bound is part of the activation, which training does not move.
    return held.item() if held is not None and held.size == 1 else call.tensor(position)


def _prelu(call: OperatorCall) -> Result:
    return call.function(elementwise.prelu, call.tensor(0), call.tensor(1))


def _activation(
    make: Callable[[OperatorCall], nn.Module | None], target: Any, call: OperatorCall
) -> Result:
    module = make(call)
    if module is not None:
        return call.module(module, call.tensor(0))
    named = {name: value for name, value in call.attributes.items() if name in _PARAMETERS}
    return call.function(target, call.tensor(0), **named)


_PARAMETERS = frozenset({"alpha", "beta", "gamma", "lambd", "bias"})


def _is(call: OperatorCall, **defaults: float) -> bool:
    return all(
        abs(call.attribute(name, value) - value) <= 1e-6 * abs(value)
        for name, value in defaults.items()
    )


def _hard_sigmoid(call: OperatorCall) -> nn.Module | None:
    sixth = abs(call.attribute("alpha", 0.2) - _SIXTH) < 1e-7
    return nn.Hardsigmoid() if sixth and call.attribute("beta", 0.5) == 0.5 else None


def _selu(call: OperatorCall) -> nn.Module | None:
    return nn.SELU() if _is(call, alpha=1.6732632, gamma=1.0507010) else None


def _gelu(call: OperatorCall) -> nn.Module:
    kind = call.attribute("approximate", "none")
    return nn.GELU(kind.decode() if isinstance(kind, bytes) else kind)


def _always(module: Callable[[], nn.Module]) -> Handler:
    return functools.partial(_activation, lambda call: module(), None)


_UNARY: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseNot": torch.bitwise_not,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
}
_BINARY: dict[str, Callable[..., Any]] = {
    # Python's operators: they take numbers on either side.
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": elementwise.divide,
    "And": operator.and_,
    "Or": operator.or_,
    "Xor": operator.xor,
    "BitwiseAnd": operator.and_,
    "BitwiseOr": operator.or_,
    "BitwiseXor": operator.xor,
    "Equal": operator.eq,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
}

OPERATORS: dict[str, Handler] = {
    **{op: functools.partial(_unary, target) for op, target in _UNARY.items()},
    **{op: functools.partial(_binary, target) for op, target in _BINARY.items()},
    "Cast": _cast,
    "CastLike": _cast_like,
    "Celu": functools.partial(_activation, lambda c: nn.CELU(c.attribute("alpha", 1.0)), None),
    "Clip": _clip,
    "Constant": _constant,
    "Dropout": _dropout,
    "Elu": functools.partial(_activation, lambda c: nn.ELU(c.attribute("alpha", 1.0)), None),
    "Gelu": functools.partial(_activation, _gelu, None),
    "HardSigmoid": functools.partial(_activation, _hard_sigmoid, elementwise.hard_sigmoid),
    "HardSwish": _always(nn.Hardswish),
    "Identity": _identity,
    "LeakyRelu": functools.partial(
        _activation, lambda c: nn.LeakyReLU(c.attribute("alpha", 0.01)), None
    ),
    "Max": functools.partial(_many, torch.maximum),
    "Mean": _mean,
    "Min": functools.partial(_many, torch.minimum),
    "Mish": _always(nn.Mish),
    "Mod": _mod,
    "PRelu": _prelu,
    "Pow": _pow,
    "Relu": _always(nn.ReLU),
    "Selu": functools.partial(_activation, _selu, elementwise.selu),
    "Shrink": functools.partial(_activation, lambda c: None, elementwise.shrink),
    "Sigmoid": _always(nn.Sigmoid),
    "Softplus": _always(nn.Softplus),
    "Softsign": _always(nn.Softsign),
    "Sum": functools.partial(_many, torch.add),
    "Swish": functools.partial(_activation, lambda c: None, elementwise.swish),
    "Tanh": _always(nn.Tanh),
    "ThresholdedRelu": functools.partial(
        _activation, lambda c: nn.Threshold(c.attribute("alpha", 1.0), 0.0), None
    ),
    "Where": _where,
}
