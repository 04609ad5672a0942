"""Why an amount removes nothing, and from which amount on something would go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ....ir.core.counted import counted
from ...engine.context import Decline
from ...engine.reasons import reasons_in_short

# The option that a reason names where it would let the channels go.
_OPTION = "across-layernorm=true"
_BISECTIONS = 12
_SMALLEST = 1e-4


def least_amount(goes: Callable[[float], bool], amount: float) -> float | None:
    """Return about the least amount above `amount` at which something `goes`; None up to 1."""
    low, high = amount, max(2 * amount, _SMALLEST)
    while not goes(high):
        low, high = high, 2 * high
        if low >= 1:
            return None
        high = min(high, 1.0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if goes(middle) else (middle, high)
    return _rounded_up(high)


def nothing_goes(amount: float, whole: float, what: str, least: float | None) -> str:
    """Return the remark: `amount` of `whole` units called `what` is too little, or nothing may go.

    `least`: the amount to ask for; None where none would do.
    """
    if amount <= 0:
        return f"nothing goes: amount is {amount:g}; give more than 0, such as 0.3"
    asked = f"amount={amount:g} of {whole:.6g} {what} is {amount * whole:.3g}"
    if least is None:
        return f"nothing goes: {asked}, and multiple, least and exclude leave nothing that can go"
    return (
        f"nothing goes: {asked}, which rounds to nothing, since {what} go by the step; from "
        f"amount={least:g} on something does"
    )


def no_layer_can(what: str, declined: Sequence[Decline]) -> str:
    """Return the remark where no layer has `what`, channels or weights, that can go, and why.

    An option that would let some go is named however few ask for it.
    """
    text = f"there is nothing to prune: no layer has {what} that can go"
    reasons = reasons_in_short(declined)
    held = sum(_OPTION in each.reason for each in declined)
    text += f" ({reasons})" if reasons else ""
    return text + (f"; {_OPTION} lets those of {counted(held, 'site')} go" if held else "")


def _rounded_up(amount: float) -> float:
    """Return `amount` with two digits, not less than it and not above 1."""
    unit = 10.0 ** (math.floor(math.log10(amount)) - 1)
    return float(min(1.0, round(math.ceil(amount / unit - 1e-9) * unit, 12)))
