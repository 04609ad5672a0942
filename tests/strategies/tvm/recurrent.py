"""Recurrent networks, which some networks end in."""

from __future__ import annotations

from .draft import Draft, is_float

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim == 3 and v.size > 0)
    if x is None:
        return
    op, hidden = d.pick(*_GATES), d.pick(1, 3, 4)
    direction = d.pick("forward", "bidirectional", "reverse")
    ways, wide = 1 + (direction == "bidirectional"), _GATES[op] * hidden
    w = d.constant(d.normal(ways, wide, d.values[x].shape[-1]))
    r = d.constant(d.normal(ways, wide, hidden))
    inputs = [x, w, r, *([d.constant(d.normal(ways, 2 * wide))] if d.flip() else [])]
    d.add(op, inputs, outputs=d.between(1, 2), hidden_size=hidden, direction=direction)
