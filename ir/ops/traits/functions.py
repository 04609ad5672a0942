"""What element-wise operators of one operand compute, as numpy functions of float64.

Formulas as in the ONNX operators' definitions, evaluated so that nothing overflows on the way where
the result does not. Values outside an operator's domain give NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .recognized import spelled, value_of

Array = np.ndarray[Any, Any]
Function = Callable[[Array], Array]

_SQRT_2_OVER_PI, _CUBIC = math.sqrt(2 / math.pi), 0.044715
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))  # with all digits of what is small


def _bend(x: Array, alpha: float) -> Array:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _celu(x: Array, alpha: float) -> Array:
    return np.asarray(np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha)))


def _shrink(x: Array, lambd: float, bias: float) -> Array:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0.0))


def _gelu(x: Array, approximate: str) -> Array:
    if approximate == "tanh":
        inner = np.tanh(_SQRT_2_OVER_PI * (x + _CUBIC * x**3))
    else:
        inner = _erf(x / math.sqrt(2))
    return np.asarray(x * (1 + inner) / 2)


# By operator: the function and the names of the attributes that it takes.
_FUNCTIONS: dict[str, tuple[Callable[..., Array], tuple[str, ...]]] = {
    "Abs": (np.abs, ()),
    "Acos": (np.arccos, ()),
    "Acosh": (np.arccosh, ()),
    "Asin": (np.arcsin, ()),
    "Asinh": (np.arcsinh, ()),
    "Atan": (np.arctan, ()),
    "Atanh": (np.arctanh, ()),
    "Ceil": (np.ceil, ()),
    "Celu": (_celu, ("alpha",)),
    "Cos": (np.cos, ()),
    "Cosh": (np.cosh, ()),
    "Elu": (_bend, ("alpha",)),
    "Erf": (_erf, ()),
    "Exp": (np.exp, ()),
    "Floor": (np.floor, ()),
    "Gelu": (_gelu, ("approximate",)),
    "HardSigmoid": (
        lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
        ("alpha", "beta"),
    ),
    "HardSwish": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), ()),
    "Identity": (lambda x: x, ()),
    "LeakyRelu": (lambda x, alpha: np.where(x < 0, alpha * x, x), ("alpha",)),
    "Log": (np.log, ()),
    "Mish": (lambda x: x * np.tanh(np.logaddexp(x, 0)), ()),
    "Neg": (np.negative, ()),
    "Reciprocal": (lambda x: 1 / x, ()),
    "Relu": (lambda x: np.maximum(x, 0), ()),
    "Round": (np.round, ()),
    "Selu": (lambda x, alpha, gamma: gamma * _bend(x, alpha), ("alpha", "gamma")),
    "Shrink": (_shrink, ("lambd", "bias")),
    "Sigmoid": (_sigmoid, ()),
    "Sign": (np.sign, ()),
    "Sin": (np.sin, ()),
    "Sinh": (np.sinh, ()),
    "Softplus": (lambda x: np.logaddexp(x, 0), ()),
    "Softsign": (lambda x: x / (1 + np.abs(x)), ()),
    "Sqrt": (np.sqrt, ()),
    "Swish": (lambda x, alpha: x * _sigmoid(alpha * x), ("alpha",)),
    "Tan": (np.tan, ()),
    "Tanh": (np.tanh, ()),
    "ThresholdedRelu": (lambda x, alpha: np.where(x > alpha, x, 0.0), ("alpha",)),
}


def function_of(node: gs.Node, opset: int) -> Function | None:
    """Return what an element-wise node of one operand computes, None where that is not known.

    The function takes and gives float64; it leaves out what happens to integers that wrap around.
    """
    found = spelled(node)
    return None if found is None else function_with(found[0], found[1], opset)


def function_with(op: str, attributes: Mapping[str, Any], opset: int) -> Function | None:
    """Return what a standard operator computes with `attributes`, defaults for the rest."""
    if op not in _FUNCTIONS:
        return None
    function, names = _FUNCTIONS[op]
    values = {name: value_of(op, attributes, name, opset) for name in names}

    def quiet(x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(function(np.asarray(x, np.float64), **values))

    return quiet
