"""The table, element-wise operators of several operands: arithmetic, comparisons, logic."""

from __future__ import annotations

from typing import Any

from .lines import Known, Line, line, refined_by
from .model import Homogeneous, Integers, Kind, Movement
from .parts import EXACT, ONCE, SIGN, STRICTLY_UP, UP, WRAP, ZERO

_MANY: Known = {"elementwise": True, "operands": None, "data": None}


@refined_by()
def _from_7(opset: int) -> Known:
    """Before opset 7, attributes said how the second operand is broadcast."""
    return {} if opset >= 7 else {"elementwise": False, "operands": 0}


@refined_by()
def _from_8(opset: int) -> Known:
    """Before opset 8, operands had one shape."""
    return {} if opset >= 8 else {"keeps_shape": True, "keeps_batch": True}


@refined_by("direction")
def _shift(opset: int, direction: Any) -> Known:
    """To the right nothing leaves the range."""
    return {"integers": Integers.EXACT if direction == "RIGHT" else Integers.WRAP}


_TWO: Known = {**_MANY, "operands": 2}
_COMPARES: Known = {**_TWO, **ONCE, "comparison": True, "exact": True, "low": 0.0, "high": 1.0}
_LOGICAL: Known = {**_TWO, **ONCE, "logical": True, "exact": True}
_SYMMETRIC: Known = {"commutative": True}
_LARGEST: Known = {
    **_MANY,
    **UP,
    **SIGN,
    **ZERO,
    **EXACT,
    **_SYMMETRIC,
    "keeps_single": True,
    "keeps_uniform": True,
    "movement": Movement.SELECT,
    "homogeneous": Homogeneous.POSITIVE,
}
_AVERAGE: Known = {
    **_MANY,
    **STRICTLY_UP,
    **SIGN,
    **ZERO,
    **_SYMMETRIC,
    "keeps_single": True,
    "homogeneous": Homogeneous.ANY,
}

ARITHMETIC: dict[str, Line] = {
    "Add": line(_from_7, _AVERAGE, WRAP, ONCE, operands=2, keeps_single=False, neutral=0),
    "And": line(_from_7, _LOGICAL, _SYMMETRIC, zero=True, neutral=1),
    "BitShift": line(_shift, _LOGICAL, zero=True, neutral=0),
    "BitwiseAnd": line(None, _LOGICAL, _SYMMETRIC, zero=True, integers=Integers.EXACT),
    "BitwiseOr": line(None, _LOGICAL, _SYMMETRIC, zero=True, neutral=0, integers=Integers.EXACT),
    "BitwiseXor": line(None, _LOGICAL, _SYMMETRIC, zero=True, neutral=0, integers=Integers.EXACT),
    "Div": line(_from_7, _TWO, WRAP, ONCE, nan=True, keeps_nonnegative=True, neutral=1),
    "Equal": line(_from_7, _COMPARES, _SYMMETRIC, integers=Integers.EXACT),
    "Greater": line(_from_7, _COMPARES, zero=True, integers=Integers.EXACT),
    "GreaterOrEqual": line(None, _COMPARES, integers=Integers.EXACT),
    "Less": line(_from_7, _COMPARES, zero=True, integers=Integers.EXACT),
    "LessOrEqual": line(None, _COMPARES, integers=Integers.EXACT),
    "Max": line(_from_8, _LARGEST),
    "Mean": line(_from_8, _AVERAGE, keeps_uniform=True),
    "Min": line(_from_8, _LARGEST),
    "Mod": line(None, _TWO, SIGN, nan=True, integers=Integers.EXACT),
    "Mul": line(
        _from_7,
        _TWO,
        _SYMMETRIC,
        WRAP,
        ONCE,
        keeps_nonnegative=True,
        zero=True,
        nan=True,
        neutral=1,
    ),
    "Or": line(_from_7, _LOGICAL, _SYMMETRIC, zero=True, neutral=0),
    "PRelu": line(
        _from_7,
        _TWO,
        ZERO,
        WRAP,
        data=(0,),
        homogeneous=Homogeneous.POSITIVE,
        gives_back=Kind.NOT_NEGATIVE,
        keeps_nonnegative=True,
        keeps_shape=True,
    ),
    "Pow": line(_from_7, _TWO, integers=Integers.OVERFLOW, keeps_nonnegative=True, neutral=1),
    "StringConcat": line(None, _MANY, operands=2),
    "Sub": line(
        _from_7, _TWO, WRAP, ONCE, neutral=0, zero=True, nan=True, homogeneous=Homogeneous.ANY
    ),
    "Sum": line(_from_8, _AVERAGE),
    "SwiGLU": line(None, _TWO, keeps_shape=True, keeps_batch=True),
    "Where": line(
        None,
        _MANY,
        UP,
        SIGN,
        EXACT,
        operands=3,
        data=(1, 2),
        movement=Movement.TAKE,
        homogeneous=Homogeneous.ANY,
        keeps_uniform=True,
        zero=True,
        nan=True,
    ),
    "Xor": line(_from_7, _LOGICAL, _SYMMETRIC, zero=True, neutral=0),
}
