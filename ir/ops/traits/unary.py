"""The table, functions of one number: activations, roots, trigonometry, casts."""

from __future__ import annotations

import math
from typing import Any

from onnx import TensorProto

from .lines import Known, Line, line, refined_by
from .model import Homogeneous, Integers, Kind, Monotone, Movement
from .parts import EXACT, NOT_NEGATIVE, ONCE, SIGN, STRICTLY_UP, UP, ZERO

_UNARY: Known = {"elementwise": True, "operands": 1, "keeps_shape": True, "keeps_batch": True}
_SIGNED_ZERO: Known = {**ZERO, "negative_zero": True}
# What type float32 rounds pi to lies beyond pi.
_QUARTER, _HALF = 1.5708, 3.1416
_INF, _NAN = math.inf, math.nan


def _unary(*parts: Known, ends: tuple[float, float] | None = None, **more: object) -> Line:
    common = {"ends": ends, "nan": True, "continuous": True}
    return line(None, _UNARY, common, *parts, **more)


# A bend at zero (Elu and the like) is monotone, and keeps signs, where the slope below is not
# negative; what it gives for minus infinity is minus the slope.
@refined_by("alpha")
def _bend(opset: int, alpha: Any) -> Known:
    if alpha < 0:
        return {}
    up = STRICTLY_UP if alpha > 0 else UP
    return {**up, **SIGN, "negative_zero": True, "low": -alpha, "ends": (-alpha, _INF)}


@refined_by("alpha")
def _celu(opset: int, alpha: Any) -> Known:
    return {**STRICTLY_UP, **SIGN, "low": -alpha, "ends": (-alpha, _INF)} if alpha > 0 else {}


@refined_by("alpha", "gamma")
def _selu(opset: int, alpha: Any, gamma: Any) -> Known:
    if not (alpha >= 0 and gamma > 0):
        return {}
    up = STRICTLY_UP if alpha > 0 else UP
    # Their product, rounded up: that of two float32 numbers may round away from it.
    low = -alpha * gamma * (1 + 1e-6)
    return {**up, **SIGN, "low": low, "ends": (-alpha * gamma, _INF)}


@refined_by("alpha")
def _leaky(opset: int, alpha: Any) -> Known:
    if alpha < 0:
        return {}
    if alpha == 0:
        return {**UP, **SIGN, "negative_zero": True}
    return {**STRICTLY_UP, **SIGN, "negative_zero": True, "ends": (-_INF, _INF)}


@refined_by("alpha", "beta")
def _hard_sigmoid(opset: int, alpha: Any, beta: Any) -> Known:
    zero = {"zero": beta <= 0}
    if alpha > 0:
        return {**UP, "ends": (0.0, 1.0), **zero}
    return zero


@refined_by("lambd", "bias")
def _shrink(opset: int, lambd: Any, bias: Any) -> Known:
    if lambd < 0:
        return {}
    rises = {**UP, **SIGN} if bias <= lambd else {}
    return {"zero": True, "ends": (-_INF, _INF), **rises}


@refined_by("alpha")
def _swish(opset: int, alpha: Any) -> Known:
    # The least of x sigmoid(x) is -0.27846454.
    return {"low": -0.2785 / alpha} if alpha > 0 else {}


@refined_by("alpha")
def _thresholded(opset: int, alpha: Any) -> Known:
    if alpha < 0:
        return {"low": alpha}
    return {**UP, **SIGN, "low": 0.0, "ends": (0.0, _INF)}


@refined_by("to")
def _cast(opset: int, to: Any) -> Known:
    """The attribute `to` is a type, once by name; those that hold all integers at least nearly."""
    wide = ("FLOAT", "DOUBLE", "BFLOAT16", "BOOL")
    named = to if isinstance(to, str) else TensorProto.DataType.Name(to) if to else ""
    return {"integers": Integers.EXACT if named in wide else Integers.WRAP}


@refined_by()
def _identity(opset: int) -> Known:
    return {"pure": True}


@refined_by("is_test")
def _dropout(opset: int, is_test: Any) -> Known:
    """In training, given by attribute or input, it drops at random and scales the rest."""
    return {"trains": not (opset < 7 and is_test)}


_REAL: Known = {**STRICTLY_UP, **SIGN, **_SIGNED_ZERO}
_JUMPS: Known = {**ONCE, "exact": True, "integral": True, "continuous": False}
_STEP: Known = {
    **UP,
    **SIGN,
    **_SIGNED_ZERO,
    **_JUMPS,
    "gives_back": Kind.INTEGRAL,
    "idempotent": True,
}
_GATE: Known = {**SIGN, **_SIGNED_ZERO}
_RECTIFIER: Known = {
    **ZERO,
    "continuous": True,
    "gives_back": Kind.NOT_NEGATIVE,
    "keeps_nonnegative": True,
}

FUNCTIONS: dict[str, Line] = {
    "Abs": _unary(
        NOT_NEGATIVE,
        ZERO,
        ONCE,
        ends=(_INF, _INF),
        homogeneous=Homogeneous.POSITIVE,
        gives_back=Kind.NOT_NEGATIVE,
        exact=True,
        idempotent=True,
        integers=Integers.WRAP,
    ),
    "Acos": _unary(
        {"monotone": Monotone.STRICTLY_DECREASING, "keeps_nonnegative": True},
        ends=(_NAN, _NAN),
        low=0.0,
        high=_HALF,
    ),
    "Acosh": _unary(STRICTLY_UP, NOT_NEGATIVE, ends=(_NAN, _INF)),
    "Asin": _unary(_REAL, ends=(_NAN, _NAN), low=-_QUARTER, high=_QUARTER),
    "Asinh": _unary(_REAL, ends=(-_INF, _INF)),
    "Atan": _unary(_REAL, ends=(-math.pi / 2, math.pi / 2), low=-_QUARTER, high=_QUARTER),
    "Atanh": _unary(_REAL, ends=(_NAN, _NAN)),
    "BitCast": line(None, _UNARY),
    "BitwiseNot": line(
        None,
        _UNARY,
        EXACT,
        logical=True,
        involution=True,
        monotone=Monotone.STRICTLY_DECREASING,
    ),
    "Cast": line(_cast, _UNARY, ONCE, zero=True),
    "CastLike": line(None, _UNARY, ONCE, zero=True, integers=Integers.WRAP),
    "Ceil": _unary(_STEP, ends=(-_INF, _INF)),
    "Celu": line(_celu, _UNARY, _RECTIFIER),
    "Clip": line(None, _UNARY, UP, EXACT, nan=True, continuous=True),
    "Cos": _unary(ends=(_NAN, _NAN), low=-1.0, high=1.0),
    "Cosh": _unary(NOT_NEGATIVE, ends=(_INF, _INF), low=1.0),
    "Dropout": line(_dropout, _UNARY, SIGN, zero=True, trains=True),
    "Elu": line(_bend, _UNARY, _RECTIFIER),
    "Erf": _unary(_REAL, ends=(-1.0, 1.0), low=-1.0, high=1.0),
    "Exp": _unary(STRICTLY_UP, NOT_NEGATIVE, ends=(0.0, _INF)),
    "Floor": _unary(_STEP, ends=(-_INF, _INF)),
    "Gelu": _unary(_GATE, ends=(_NAN, _INF), low=-0.171),
    "HardSigmoid": line(
        _hard_sigmoid,
        _UNARY,
        keeps_nonnegative=True,
        low=0.0,
        high=1.0,
        nan=True,
        continuous=True,
    ),
    "HardSwish": _unary(_GATE, ends=(_NAN, _INF), low=-0.3751),
    "Identity": line(
        _identity,
        _UNARY,
        _REAL,
        EXACT,
        movement=Movement.RESHAPE,
        homogeneous=Homogeneous.ANY,
        keeps_uniform=True,
        gives_back=Kind.NOT_NEGATIVE,
        idempotent=True,
        involution=True,
        continuous=True,
        ends=(-_INF, _INF),
    ),
    "IsInf": line(None, _UNARY, ONCE, exact=True, low=0.0, high=1.0, zero=True),
    "IsNaN": line(None, _UNARY, ONCE, exact=True, low=0.0, high=1.0, zero=True),
    "LeakyRelu": line(_leaky, _UNARY, _RECTIFIER, homogeneous=Homogeneous.POSITIVE),
    "Log": _unary(STRICTLY_UP, ends=(_NAN, _INF)),
    "Mish": _unary(_GATE, ends=(_NAN, _INF), low=-0.309),
    "Neg": _unary(
        {"monotone": Monotone.STRICTLY_DECREASING},
        ZERO,
        ONCE,
        ends=(_INF, -_INF),
        homogeneous=Homogeneous.ANY,
        exact=True,
        involution=True,
        integers=Integers.WRAP,
    ),
    "Not": line(None, _UNARY, ONCE, exact=True, logical=True, involution=True),
    "Reciprocal": _unary(SIGN, ends=(-0.0, 0.0)),
    "RegexFullMatch": line(None, _UNARY),
    "Relu": _unary(
        UP,
        NOT_NEGATIVE,
        _RECTIFIER,
        EXACT,
        ends=(0.0, _INF),
        keeps_nonpositive=True,
        idempotent=True,
        homogeneous=Homogeneous.POSITIVE,
    ),
    "Round": _unary(_STEP, ends=(-_INF, _INF)),
    "Selu": line(_selu, _UNARY, ZERO, continuous=True),
    "Shrink": line(_shrink, _UNARY, integers=Integers.WRAP),
    "Sigmoid": _unary(
        STRICTLY_UP, ends=(0.0, 1.0), keeps_nonnegative=True, low=0.0, high=1.0, loses_tails=True
    ),
    "Sign": _unary(
        UP,
        SIGN,
        ZERO,
        EXACT,
        ends=(-1.0, 1.0),
        low=-1.0,
        high=1.0,
        integral=True,
        idempotent=True,
        continuous=False,
    ),
    "Sin": _unary(_SIGNED_ZERO, ends=(_NAN, _NAN), low=-1.0, high=1.0),
    "Sinh": _unary(_REAL, ends=(-_INF, _INF)),
    "Softplus": _unary(STRICTLY_UP, NOT_NEGATIVE, ends=(0.0, _INF)),
    "Softsign": _unary(_REAL, ends=(_NAN, _NAN)),  # in ONNX Runtime a little above 1
    "Sqrt": _unary(STRICTLY_UP, NOT_NEGATIVE, _SIGNED_ZERO, ends=(_NAN, _INF)),
    "Swish": line(_swish, _UNARY, _GATE, continuous=True),
    "Tan": _unary(_SIGNED_ZERO, ends=(_NAN, _NAN)),
    "Tanh": _unary(_REAL, ends=(-1.0, 1.0), low=-1.0, high=1.0),
    "ThresholdedRelu": line(_thresholded, _UNARY, zero=True, exact=True),
}
