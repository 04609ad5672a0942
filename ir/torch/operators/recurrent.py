"""LSTM, GRU and RNN: any directions, sequence lengths, peepholes, either layout."""

from __future__ import annotations

import functools
from typing import Any

from ..call import Handler, OperatorCall, Result
from ..functions import indexing
from ..functions.recurrent import ACTIVATIONS, recurrent
from .layers import is_all

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_FIRST_STATE = 5
_PEEPHOLES = 7


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _recurrent(states: int, usual: tuple[str, ...], call: OperatorCall) -> Result:
    """Add a layer of so many `states`; `usual` are the activations of one direction."""
    reverse = _DIRECTIONS[_text(call.attribute("direction", "forward"))]
    if call.attribute("input_forget", 0):
        call.refuse("its input and forget gates are coupled (input_forget)", "leave it out")
    made = call.function(
        recurrent,
        *(call.tensor(position) for position in range(3)),
        _given(call, 3),
        _given(call, 4),
        tuple(_state(call, _FIRST_STATE + n) for n in range(states)),
        _given(call, _PEEPHOLES),
        op=call.op,
        reverse=reverse,
        activations=_activations(call, usual, len(reverse)),
        clip=call.attribute("clip"),
        reset_after=bool(call.attribute("linear_before_reset", 0)),
        batch_first=bool(call.attribute("layout", 0)),
    )
    return [call.function(indexing.item, made, n) for n in range(1 + states)]


def _given(call: OperatorCall, position: int) -> Any:
    return call.tensor(position) if call.has(position) else None


def _state(call: OperatorCall, position: int) -> Any:
    """Return a state to begin with, None for zeros, which do not train."""
    zeros = call.has(position) and is_all(call.value(position), 0)
    return None if zeros else _given(call, position)


def _activations(
    call: OperatorCall, usual: tuple[str, ...], directions: int
) -> tuple[tuple[str, ...], ...]:
    given = call.attribute("activations") or usual * directions
    names = tuple(_text(name).lower() for name in given)
    unknown = next((name for name in names if name not in ACTIVATIONS), None)
    if unknown is not None:
        call.refuse(f"its activation {unknown} is not known", f"take {', '.join(ACTIVATIONS)}")
    if call.attribute("activation_alpha") or call.attribute("activation_beta"):
        call.refuse("its activations have parameters of their own", "take their defaults")
    each = len(usual)
    return tuple(names[each * d : each * (d + 1)] for d in range(directions))


OPERATORS: dict[str, Handler] = {
    "GRU": functools.partial(_recurrent, 1, ("sigmoid", "tanh")),
    "LSTM": functools.partial(_recurrent, 2, ("sigmoid", "tanh", "tanh")),
    "RNN": functools.partial(_recurrent, 1, ("tanh",)),
}
