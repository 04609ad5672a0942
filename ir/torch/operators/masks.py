"""A weight times its mask: one value, which a layer takes in whole."""

from __future__ import annotations

from ...ops.masks import read_masked
from ..call import Handler, OperatorCall, Result
from ..values import MaskedWeight, Weight
from .elementwise import OPERATORS as ELEMENTWISE


def _mul(call: OperatorCall) -> Result:
    if all(isinstance(value, Weight) for value in call.inputs):
        found = read_masked(call.node)
        if found is not None:
            return MaskedWeight(found.weight, found.mask)
    return ELEMENTWISE["Mul"](call)


OPERATORS: dict[str, Handler] = {"Mul": _mul}
